"""``llave index`` and ``llave search`` as a person uses them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from llave.cli.main import main
from tests.report.pages import check_in_chromium, check_self_contained, parse

Draw = Callable[[int], Image.Image]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def index(tmp_path: Path, picture: Draw, capsys: Captured) -> Path:
    source = tmp_path / "things"
    source.mkdir()
    rows = []
    for number in range(8):
        picture(number).save(source / f"p{number}.png")
        rows.append({"image": f"p{number}.png", "id": f"id-{number}", "artist": "me" if number % 2 else "you"})
    rows.append({"image": "", "id": "words", "caption": "<b>[red]circle</b>", "artist": None})
    (source / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "the.index"
    assert main(["index", "nano", str(source / "t.jsonl"), "--index", str(path), "--device", "cpu"]) == 0
    assert f"{path}: 9 items; 9 added" in capsys.readouterr().out
    return path


def test_search(index: Path, tmp_path: Path, capsys: Captured) -> None:
    image = tmp_path / "things" / "p3.png"
    common = ["--index", str(index), "--device", "cpu"]
    assert main(["search", "--image", str(image), "--json", "--limit", "3", *common]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert len(hits) == 3
    assert (hits[0]["path"], hits[0]["fields"]) == ("p3.png", {"artist": "me"})
    assert hits[0]["score"] == pytest.approx(1, abs=1e-5)
    assert (
        main(["search", "red circle", "--image", str(image), "--weight", "0.9", "--filter", "artist = you", *common])
        == 0
    )
    out = capsys.readouterr().out
    assert "artist: you" in out
    assert "artist: me" not in out
    assert main(["search", "--like", "p3.png", "--json", *common]) == 0
    assert "p3.png" not in {hit["path"] for hit in json.loads(capsys.readouterr().out)}
    by_name = ["search", "--like", "p3.png", "--json", *common]
    assert main(by_name) == 0
    near = capsys.readouterr().out
    assert main([*by_name[:2], str(image), *by_name[3:]]) == 0  # the same item by another path
    assert capsys.readouterr().out == near
    other = tmp_path / "other.png"
    other.write_bytes(image.read_bytes())
    assert main([*by_name[:2], str(other), *by_name[3:]]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["path"] == "p3.png"
    assert err == f"{other}: no item of this index; searched for as a picture (--image)\n"
    assert main(["search", "circle", "--filter", "kind = text", *common]) == 0
    assert "<b>[red]circle</b>" in capsys.readouterr().out  # no markup
    assert main(["search", "circle", "--filter", "artist = nobody", *common]) == 0
    assert "no hits pass the filter" in capsys.readouterr().out
    assert main(["search", "circle", "--filter", "artist = yuo", *common]) == 0
    assert capsys.readouterr().err == 'artist has no "yuo"; near: you\n'


def test_modes_and_stages(index: Path, tmp_path: Path, capsys: Captured) -> None:
    common = ["--index", str(index), "--device", "cpu"]
    assert main(["search", "cirle", "--mode", "words", "--json", *common]) == 0  # misspelt
    (hit,) = json.loads(capsys.readouterr().out)
    assert hit["path"] == "words"
    assert (list(hit["scores"]), hit["ranks"]) == (["words"], {"words": 1})
    assert main(["search", "circle", "--mode", "hybrid", "--stages", "--limit", "3", *common]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["score", "vector", "words", "hybrid", "item", "about"]
    assert " ms, hybrid " in out.splitlines()[-1]
    assert main(["search", "circle", "--mode", "hybrid", "--one_per", "artist", "--json", *common]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3  # one of each, and the one without
    assert main(["search", "--image", str(tmp_path / "things" / "p3.png"), "--mode", "words", *common]) == 2
    assert "mode words: there is no text to compare" in capsys.readouterr().err
    table = str(tmp_path / "things" / "t.jsonl")
    assert main(["index", "nano", table, "--words", "artist", *common]) == 0
    capsys.readouterr()
    assert main(["search", "circle", "--mode", "words", *common]) == 0
    assert capsys.readouterr().out == "no hits\n"
    assert main(["index", "nano", table, "--words_language", "Latin", *common]) == 2
    assert "words: no language 'Latin'" in capsys.readouterr().err


def test_the_pipeline_of_an_index(index: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["index", "pipeline", str(index)]) == 0
    assert capsys.readouterr().out == f"{index}: vector\n"
    assert main(["index", "pipeline", str(index), "--mode", "words", "--one_per", "artist", "--mmr", "0.2"]) == 0
    assert capsys.readouterr().out == f"{index}: words → mmr 0.2 → one per artist\n"
    assert main(["search", "circle", "--index", str(index), "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert hit["ranks"] == {"words": 1, "diversify": 1}
    assert main(["index", "nano", str(tmp_path / "things" / "t.jsonl"), "--index", str(index)]) == 0
    capsys.readouterr()
    assert main(["index", "pipeline", str(index), "--one_per", "none", "--mmr", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pipeline"]["mode"] == "words"  # what the user says stays
    assert main(["index", "pipeline", str(index), "--measure"]) == 2
    assert "too few items with a name or text of their own" in capsys.readouterr().err
    assert main(["index", "pipeline", str(index), "--mode", "fuzzy"]) == 2
    assert "mode 'fuzzy': one of vector, words, hybrid" in capsys.readouterr().err


def test_browse(index: Path, tmp_path: Path, capsys: Captured) -> None:
    common = ["--index", str(index), "--json"]
    some = ["--sort", "-path", "--limit", "2", "--offset", "1"]
    assert main(["search", "--filter", "artist = you", *some, *common]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert [(hit["path"], hit["score"]) for hit in hits] == [("p4.png", None), ("p2.png", None)]
    assert main(["search", "--sort", "artist", "--limit", "9", *common]) == 0
    assert [hit["fields"]["artist"] for hit in json.loads(capsys.readouterr().out)] == ["me"] * 4 + ["you"] * 4 + [None]
    html = tmp_path / "items.html"
    assert main(["search", "--filter", "kind = image", "--html", str(html), "--index", str(index)]) == 0
    assert "<b>nan" not in html.read_text("utf-8")
    assert main(["search", "circle", "--sort", "artist", *common]) == 2
    assert "--sort lists items without a search" in capsys.readouterr().err


def test_errors_are_one_line(index: Path, tmp_path: Path, capsys: Captured) -> None:
    common = ["--index", str(index), "--device", "cpu"]
    cases = {
        "nothing to search for": ["search", *common],
        "no item 'nothing.png'": ["search", "--like", "nothing.png", *common],
        "stands alone": ["search", "words", "--like", "p1.png", *common],
        "no field 'colour'": ["search", "x", "--filter", "colour = red", *common],
        "no index here": ["search", "x", "--index", str(tmp_path / "none")],
        "none.png: cannot read": ["search", "--image", str(tmp_path / "none.png"), *common],
        "no such folder or file": ["index", "nano", str(tmp_path / "none"), *common],
        "was made with item_prompt '', not 'Find: '": [
            *("index", "nano", str(tmp_path / "things" / "t.jsonl"), "--item_prompt", "Find: "),
            *common,
        ],
        "at least 1 hit": ["search", "x", "--limit", "0", *common],
        "no item '\\udcff'": ["search", "--like", "\udcff", *common],
        "queries 0": ["index", "check", str(index), "--queries", "0"],
        "seed -1": ["index", "nano", str(tmp_path / "things"), "--seed", "-1", *common],
    }
    for message, words in cases.items():
        assert main(words) == 2, message
        captured = capsys.readouterr()
        assert message in captured.err
        assert len(captured.err.strip().splitlines()) == 1


def test_a_disk_that_takes_nothing(index: Path, tmp_path: Path, capsys: Captured) -> None:
    """Here a file stands where a folder would be."""
    source = str(tmp_path / "things" / "t.jsonl")
    (tmp_path / "file").write_text("")
    for words in (
        ["index", "nano", source, "--index", str(tmp_path / "file")],
        ["index", "nano", source, "--index", str(tmp_path / "file" / "x")],
        ["search", "--like", "p3.png", "--index", str(index), "--html", str(tmp_path)],
    ):
        assert main(words) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_names_cannot_move_the_cursor(index: Path, tmp_path: Path, capsys: Captured) -> None:
    source = tmp_path / "odd"
    source.mkdir()
    (source / "a\x1b[2J\nb.png").write_bytes(b"broken")
    (source / os.fsdecode(b"caf\xe9.png")).write_bytes(b"broken")
    assert main(["index", "nano", str(source), "--index", str(index), "--device", "cpu", "--json"]) == 1
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["errors"]) == 2
    assert "\x1b" not in captured.err
    assert len(captured.err.splitlines()) == 3


def test_a_model_that_has_moved(index: Path, capsys: Captured) -> None:
    info = index / "index.json"
    info.write_text(info.read_text().replace('"nano"', '"/nowhere/model"'))
    assert main(["search", "x", "--index", str(index), "--device", "cpu"]) == 2
    assert "/nowhere/model: no such directory" in (error := capsys.readouterr().err)
    assert "say --model, if it has moved" in error
    assert main(["search", "x", "--index", str(index), "--device", "cpu", "--model", "nano"]) == 0


def test_the_page_of_like_shows_what_is_meant(index: Path, tmp_path: Path) -> None:
    page = tmp_path / "like.html"
    assert main(["search", "--like", "p3.png", "--index", str(index), "--html", str(page), "--limit", "8"]) == 0
    assert sum(tag == "img" for tag, _ in parse(page).tags) == 8  # seven other pictures, and itself


def test_a_bad_item_is_reported(index: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "things" / "p1.png").write_bytes(b"broken")
    words = ["index", "nano", str(tmp_path / "things" / "t.jsonl"), "--index", str(index), "--device", "cpu", "--json"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["errors"].keys() == {"id-1"}
    assert "left out id-1" in captured.err


def test_check(index: Path, capsys: Captured) -> None:
    assert main(["index", "check", str(index), "--queries", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["recall"] == 1
    assert main(["index", "check", str(index), "--queries", "5"]) == 0
    assert "exact: all items compared" in capsys.readouterr().out


@pytest.mark.browser
def test_the_page_of_results(index: Path, tmp_path: Path, capsys: Captured) -> None:
    page = tmp_path / "hits.html"
    image = tmp_path / "things" / "p3.png"
    words = ["search", "a circle", "--image", str(image), "--index", str(index), "--html", str(page), "--device", "cpu"]
    assert main([*words, "--limit", "9"]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    check_self_contained(page)
    parsed = parse(page)
    assert sum(tag == "img" for tag, _ in parsed.tags) == 9  # eight pictures and the query
    assert "<b>[red]circle</b>" in parsed.text
    for dark in (False, True):
        check_in_chromium(page, tmp_path / "profile", dark=dark)


def test_what_is_taken_when_nothing_is_named(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    from llave.cli.serve import ServeConfig, with_defaults

    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for words in (["search", "circle"], ["index", "check"], ["serve"]):
        assert main(words) == 2
        assert "llave index MODEL FOLDER" in capsys.readouterr().err
    quickstart = tmp_path / "empty" / "runs" / "quickstart"
    quickstart.mkdir(parents=True)
    index.rename(quickstart / "index")
    (quickstart / "report.html").write_text("the gallery")
    found = with_defaults(ServeConfig())
    assert found.model == "nano"
    assert found.index == Path("runs/quickstart/index")
    assert found.gallery == Path("runs/quickstart/report.html")
    assert main(["search", "circle", "--limit", "1", "--device", "cpu"]) == 0
    (quickstart / "index").rename("index")
    assert with_defaults(ServeConfig()).index == Path("index")
    assert with_defaults(ServeConfig()).gallery is None
    assert with_defaults(ServeConfig(model="nano")) == ServeConfig(model="nano")
