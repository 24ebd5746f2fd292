"""Search over HTTP finds what the index finds, and gives nothing of the machine away."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.collection.open import open_collection
from llave.encode.cache import model_fingerprint
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.options import BuildOptions
from llave.search.query import embed_query
from llave.search.update import update_index
from llave.serving.app import AppOptions
from tests.serving.running import Running, encoded, running

EVIL = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, one with a name that is HTML, and a table with fields; beside the folder, a secret."""
    root = tmp_path_factory.mktemp("searched") / "folder"
    (root / "red").mkdir(parents=True)
    (root.parent / "secret.png").write_bytes(encoded(Image.new("RGB", (40, 40), "black")))
    for number, name in enumerate(["a.png", "b.png", EVIL]):
        Image.new("RGB", (60, 40 + number), (250 - 80 * number, 30, 10)).save(root / "red" / name)
    Image.new("RGB", (300, 500), "green").save(root / "c.jpg")
    rows: list[dict[str, Any]] = [
        {"id": "a", "image": "red/a.png", "text": "", "artist": "ann", "year": 1990},
        {"id": "b", "image": "red/b.png", "text": "", "artist": "bob", "year": 2001},
        {"id": "evil", "image": f"red/{EVIL}", "text": "", "artist": "ann", "year": 2005},
        {"id": "c", "image": "c.jpg", "text": "a tall one", "artist": "cy", "year": 2010},
        {"id": "t", "image": "", "text": "notes about a garden", "artist": "cy", "year": 2020},
    ]
    (root / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="module")
def index(nano_untouched: SentenceTransformer, folder: Path) -> Index:
    info = IndexInfo(
        model="nano",
        fingerprint=model_fingerprint(nano_untouched),
        dimension=384,
        prompts={"item": "", "query": "look for: "},
    )
    index, table = Index.create(folder.parent / "index", info), folder / "items.jsonl"
    report = update_index(index, nano_untouched, open_collection(table), table, BuildOptions(progress=False))
    assert not report.errors
    return index


@pytest.fixture(scope="module")
def server(nano_untouched: SentenceTransformer, index: Index) -> Iterator[Running]:
    with running(nano_untouched, AppOptions(index=index)) as found:
        yield found


@pytest.fixture(scope="module")
def ids(index: Index) -> dict[str, str]:
    """By year, which is unique."""
    rows = index.store.column(["id", "year"])
    names = {1990: "a", 2001: "b", 2005: "evil", 2010: "c", 2020: "t"}
    return {names[int(year)]: row_id for row_id, year in zip(rows["id"], rows["year"], strict=True)}


def ask(server: Running, **body: Any) -> Any:
    response = server.client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_text_picture_and_both(server: Running, index: Index, nano_untouched: SentenceTransformer) -> None:
    image = Image.new("RGB", (50, 50), (240, 30, 20))
    address = "data:image/png;base64," + base64.b64encode(encoded(image)).decode()
    for body, options in (
        ({"text": "a garden"}, {"query": "a garden"}),
        ({"image": address}, {"image": image}),
        ({"text": "green", "image": address}, {"query": "green", "image": image}),
        ({"text": "green", "image": address, "weight": 0.3}, {"query": "green", "image": image, "weight": 0.3}),
    ):
        query_D = embed_query(nano_untouched, prompt="look for: ", **options)  # type: ignore[arg-type]
        wanted = index.search(query_D, limit=24)
        found = ask(server, **body)
        assert [hit["id"] for hit in found["results"]] == [hit.id for hit in wanted]
        np.testing.assert_allclose([hit["score"] for hit in found["results"]], [hit.score for hit in wanted], atol=1e-5)
        assert found["count"] == 5


def test_words_and_both(server: Running, index: Index, nano_untouched: SentenceTransformer) -> None:
    query_D = embed_query(nano_untouched, prompt="look for: ", query="gardn notes")
    for mode in ("vector", "words", "hybrid"):
        vector = None if mode == "words" else query_D
        wanted = index.search(vector, words="gardn notes", mode=mode)
        found = ask(server, text="gardn notes", mode=mode, histogram=True)
        assert [hit["id"] for hit in found["results"]] == [hit.id for hit in wanted]
        for one, hit in zip(found["results"], wanted, strict=True):
            assert one["score"] == pytest.approx(hit.score, abs=1e-5)
            assert one["scores"] == pytest.approx(dict(hit.scores), abs=1e-5)
            assert one["ranks"] == dict(hit.ranks)
        assert mode in found["stages"]
        assert (found["histogram"] is None) == (mode == "words")
    assert found["results"][0]["text"] == "notes about a garden"
    one_each = ask(server, text="red", one_per="artist")["results"]
    assert [hit["fields"]["artist"] for hit in one_each] == list(dict.fromkeys(h["fields"]["artist"] for h in one_each))
    about = server.client.get("/v1/index").json()
    assert about["words"] is True
    assert about["pipeline"]["mode"] == "vector"  # five items are too few to measure more
    for body, param in (({"text": " ", "mode": "words"}, None), ({"text": "x", "one_per": "shape"}, "one_per")):
        refused = server.client.post("/v1/search", json=body)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == param or param is None


def test_more_like_an_item(server: Running, index: Index, ids: dict[str, str]) -> None:
    found = [hit["id"] for hit in ask(server, id=ids["a"])["results"]]
    vector_D = index.vector(ids["a"])
    assert vector_D is not None
    assert found == [hit.id for hit in index.search(vector_D, exclude=[ids["a"]])]
    assert ids["a"] not in found
    missing = server.client.post("/v1/search", json={"id": "nothing"})
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "id")


def test_filters_pages_and_histogram(server: Running, ids: dict[str, str]) -> None:
    both = {ids["a"], ids["evil"]}
    for given in ("artist = ann", {"artist": ["ann"]}, {"year": {"<": 2006}, "artist": "ann"}):
        found = ask(server, text="red", filter=given, histogram=True)
        assert {hit["id"] for hit in found["results"]} == both
        assert found["count"] == 2
        assert sum(found["histogram"]["counts"]) == 2
        assert len(found["histogram"]["edges"]) == 41
    whole = [hit["id"] for hit in ask(server, text="red")["results"]]
    assert [hit["id"] for hit in ask(server, text="red", limit=2, offset=1)["results"]] == whole[1:3]
    assert ask(server, text="red", filter="artist = nobody", histogram=True)["results"] == []
    assert ask(server, text="red", filter="artist = annn")["hint"].startswith('artist has no "annn"; near: ')


@pytest.mark.parametrize(
    "given",
    ["artist = 'ann' or 1 = 1", "artist = ann'; DROP TABLE items; --", {"no such": 1}, {"artist": {"near": "%"}}, "("],
)
def test_a_filter_is_no_way_in(server: Running, given: Any) -> None:
    response = server.client.post("/v1/search", json={"text": "red", "filter": given})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "filter")
    assert ask(server, text="red")["count"] == 5


def test_a_value_with_quotes_is_a_value(server: Running) -> None:
    assert ask(server, text="red", filter={"artist": "ann' OR '1'='1"})["count"] == 0


def test_items_and_their_pictures(server: Running, ids: dict[str, str], folder: Path) -> None:
    order = [ids["t"], ids["c"], "unknown", ids["a"]]
    found = server.client.post("/v1/items", json={"ids": order}).json()["data"]
    assert [entry["id"] for entry in found] == [ids["t"], ids["c"], ids["a"]]
    assert found[0]["thumbnail"] is None
    one = server.client.get(f"/v1/items/{ids['c']}").json()
    assert one == found[1]
    assert one["score"] is None
    assert (one["kind"], one["text"], one["fields"]["artist"]) == ("image", "a tall one", "cy")
    small = server.client.get(one["thumbnail"])
    assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
    assert "immutable" in small.headers["cache-control"]
    again = server.client.get(one["thumbnail"], headers={"if-none-match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    whole = server.client.get(f"/v1/items/{ids['c']}/content")
    assert whole.content == (folder / "c.jpg").read_bytes()
    assert (whole.headers["content-type"], whole.headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
    for path in (ids["t"] + "/content", ids["t"] + "/thumbnail", "unknown", "unknown/content", "unknown/thumbnail"):
        assert server.client.get(f"/v1/items/{path}").status_code == 404


def test_files_that_nobody_here_has_indexed_are_withheld(
    nano_untouched: SentenceTransformer, index: Index, ids: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    """As of a foreign index, whose rows could name any folder; thumbnails are its own."""
    foreign = shutil.copytree(index.path, tmp_path / "foreign")
    for allowed, status in (((), 403), ((folder,), 200)):
        opened = Index.open(foreign, allow_sources=allowed)
        with running(nano_untouched, AppOptions(index=opened)) as found:
            response = found.client.get(f"/v1/items/{ids['c']}/content")
            assert response.status_code == status
            assert str(folder) not in response.text if status == 403 else response.content
            assert found.client.get(f"/v1/items/{ids['c']}/thumbnail").status_code == 200


def test_a_name_that_is_html_stays_text(server: Running, ids: dict[str, str]) -> None:
    response = server.client.get(f"/v1/items/{ids['evil']}")
    assert response.headers["content-type"] == "application/json"
    assert EVIL in response.json()["path"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_no_way_out_of_the_folder(server: Running, ids: dict[str, str], folder: Path) -> None:
    for path in (
        "..%2f..%2fsecret.png",
        "../../secret.png",
        "%2e%2e/secret.png",
        "..%252f..%252fsecret.png",
        f"{ids['a']}%2f..%2f..%2fsecret.png",
        "..\\..\\secret.png",
    ):
        for route in (f"/v1/items/{path}/content", f"/v1/items/{path}", f"/{path}"):
            response = server.client.get(route)
            assert response.status_code in {400, 404}, route
            assert b"PNG" not in response.content
    target = folder / "red" / "a.png"
    data = target.read_bytes()
    target.unlink()
    target.symlink_to(folder.parent / "secret.png")
    try:
        assert server.client.get(f"/v1/items/{ids['a']}/content").status_code == 404
    finally:
        target.unlink()
        target.write_bytes(data)
    target.write_bytes(b"<script>alert(1)</script>")
    try:
        assert server.client.get(f"/v1/items/{ids['a']}/content").status_code == 404
    finally:
        target.write_bytes(data)


def test_the_index_and_its_map(server: Running, index: Index, folder: Path) -> None:
    about = server.client.get("/v1/index").json()
    assert (about["model"], about["count"], about["dimension"]) == ("nano", 5, 384)
    assert about["kinds"] == {"image": 4, "text": 1}
    fields = {field["name"]: field for field in about["fields"]}
    assert (fields["year"]["low"], fields["year"]["high"]) == (1990, 2020)
    assert {"value": "cy", "count": 2} in fields["artist"]["values"]
    assert str(folder.parent) not in json.dumps(about)
    drawn = server.client.get("/v1/map").json()
    found = index.map()
    assert found is not None
    assert drawn["ids"] == found.ids
    np.testing.assert_allclose(np.stack([drawn["x"], drawn["y"]], 1), found.xy_N2, atol=1e-4)
    artists = drawn["fields"]["artist"]
    rows = index.store.column(["id", "artist"])
    wanted = dict(zip(rows["id"], rows["artist"], strict=True))
    assert [artists["values"][code] for code in artists["codes"]] == [wanted[row_id] for row_id in drawn["ids"]]
    assert [drawn["kinds"][code] for code in drawn["kind"]].count("text") == 1


def test_without_a_query_items_are_listed(server: Running, ids: dict[str, str]) -> None:
    whole = ask(server)
    assert (len(whole["results"]), whole["count"], whole["histogram"]) == (5, 5, None)
    assert {hit["score"] for hit in whole["results"]} == {None}
    for filter in ("artist = ann", {"artist": ["ann"]}, {"artist": "ann"}):
        assert {hit["id"] for hit in ask(server, filter=filter, histogram=True)["results"]} == {ids["a"], ids["evil"]}
    nulls = dict.fromkeys(("text", "image", "id", "weight", "filter", "sort", "limit", "offset", "histogram"))
    assert ask(server, **nulls)["results"] == whole["results"]
    assert ask(server, text=" ")["results"] == whole["results"]


def test_a_value_that_nobody_has_is_hinted_at(server: Running) -> None:
    assert ask(server, filter="artist = ann")["hint"] is None
    hint = ask(server, filter={"artist": ["anm"]})["hint"]
    assert "anm" in hint
    assert "near: ann" in hint


def test_items_are_ordered_by_a_field_and_paged(server: Running) -> None:
    years = [1990, 2001, 2005, 2010, 2020]

    def listed(**body: Any) -> list[float]:
        return [hit["fields"]["year"] for hit in ask(server, **body)["results"]]

    assert listed(sort="year") == listed(sort={"field": "year"}) == years
    assert listed(sort="-year") == listed(sort={"field": "year", "order": "desc"}) == years[::-1]
    assert listed(sort="-year", filter="year >= 2001", limit=2, offset=1) == [2010, 2005]
    pages = [listed(sort="year", limit=2, offset=offset) for offset in (0, 2, 4, 6, 2**31)]
    assert pages == [years[:2], years[2:4], years[4:], [], []]
    in_place = [hit["id"] for hit in ask(server)["results"]]
    assert in_place == [hit["id"] for hit in ask(server, sort="key")["results"]]
    assert in_place[::-1] == [hit["id"] for hit in ask(server, sort="-key")["results"]]


def test_what_a_search_cannot_be(server: Running) -> None:
    deep: Any = "a"
    for _ in range(50):
        deep = {"not": deep}
    for body, param in (
        ({"text": "a", "id": "b"}, None),
        ({"text": "a", "weight": 0.5}, None),
        ({"weight": 0.5}, None),
        ({"text": "a", "limit": 0}, "limit"),
        ({"text": "a", "limit": 1000}, "limit"),
        ({"text": "a", "image": "not base64!"}, "query"),
        ({"text": "a", "sort": "year"}, None),
        ({"text": "a", "offset": 10_001}, None),
        ({"offset": -1}, "offset"),
        ({"sort": "size"}, "sort"),
        ({"sort": ["year"]}, "sort"),
        ({"sort": {"field": "year", "order": "up"}}, "sort.order"),
        ({"sort": "y" * 201}, "sort"),
        ({"id": "x" * 201}, "id"),
        ({"text": "x" * 200_001}, "text"),
        ({"filter": "x" * 20_001}, "filter"),
        ({"filter": {"artist": ["x"] * 5001}}, "filter"),
        ({"filter": {"artist": ["x" * 1000] * 21}}, "filter"),
        ({"filter": deep}, "filter"),
        ({"filter": 7}, "filter"),
    ):
        response = server.client.post("/v1/search", json=body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param), body
    unknown = server.client.post("/v1/search", json={"sort": "-size"}).json()["error"]["message"]
    assert "year" in unknown
    assert "artist" in unknown
    too_many = server.client.post("/v1/items", json={"ids": ["x"] * 1001})
    assert too_many.status_code == 400


def test_without_an_index(nano_untouched: SentenceTransformer) -> None:
    with running(nano_untouched) as bare:
        for response in (bare.client.get("/v1/index"), bare.client.post("/v1/search", json={"text": "a"})):
            assert (response.status_code, response.json()["error"]["code"]) == (404, "no_index")
