"""``llave dups``, ``classify``, ``cluster`` and ``index field`` as a person uses them."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from llave.cli.main import main
from llave.search.index import Index
from tests.report.pages import check_in_chromium, check_self_contained, parse
from tests.sorting.pictures import draw, save_copy

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sorting") / "photos"
    folder.mkdir()
    for seed in range(7):
        draw(seed).save(folder / f"{seed}.png")
    save_copy(draw(2), "q50.jpg", folder / "copy <2>.jpg")
    (folder / "again.png").write_bytes((folder / "5.png").read_bytes())
    (folder / "a.txt").write_text("red things")
    return folder


@pytest.fixture(scope="module")
def index(photos: Path) -> Path:
    path = photos.parent / "the.index"
    assert main(["index", "nano", str(photos), "--index", str(path), "--device", "cpu"]) == 0
    return path


def names(groups: list[dict[str, list[dict[str, str]]]]) -> list[list[str]]:
    return [[copy["name"] for copy in group["copies"]] for group in groups]


def test_duplicates_of_a_folder(photos: Path, tmp_path: Path, capsys: Captured) -> None:
    page, table = tmp_path / "dups.html", tmp_path / "dups.csv"
    assert main(["dups", str(photos), "--html", str(page), "--csv", str(table)]) == 0
    out = capsys.readouterr().out
    assert "2 groups of duplicates among 10 items: 2 copies besides the best, " in out
    assert "2.png  (near, difference " in out
    assert "again.png  (same bytes, 160×120" in out
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert [row["evidence"] for row in rows] in (["", "bytes", "", "near"], ["", "near", "", "bytes"])
    check_self_contained(page)
    check_in_chromium(page, tmp_path / "profile", dark=True)
    assert "copy <2>.jpg" in parse(page).text
    assert sum(tag == "img" for tag, _ in parse(page).tags) == 4
    assert len(list(photos.iterdir())) == 10  # nothing is deleted


def test_duplicates_of_an_index_into_a_field(index: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["dups", "--index", str(index), "--json", "--field", "copies"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert sorted(map(sorted, names(found["groups"]))) == [["2.png", "copy <2>.jpg"], ["5.png", "again.png"]]
    cosines = {copy["evidence"]: copy["cosine"] for group in found["groups"] for copy in group["copies"]}
    assert cosines["bytes"] == pytest.approx(1, abs=1e-4)
    assert 0 < cosines["near"] < 1
    assert 'llave search --filter "copies = ' in captured.err
    opened = Index.open(index)
    assert opened.count("copies = 1") == 2
    assert opened.count("copies is null") == 6
    assert main(["dups", str(index), "--cosine", "-1", "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert len(group["copies"]) == 10  # everything is close enough
    assert main(["search", "--filter", "copies is not null", "--index", str(index), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4


def test_limits_from_judged_pairs(index: Path, tmp_path: Path, capsys: Captured) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("a,b,same\n2.png,copy <2>.jpg,yes\n5.png,again.png,yes\n1.png,3.png,no\ngone.png,1.png,no\n")
    assert main(["dups", "--index", str(index), "--labels", str(table), "--json"]) == 0
    captured = capsys.readouterr()
    assert "2 of the 2 pairs that pass are the same (34.2% to 100.0%)" in captured.err
    assert "--near" in captured.err
    assert "--cosine" in captured.err
    assert "1 judged pairs name an item that is not there" in captured.err
    assert len(json.loads(captured.out)["groups"]) >= 2


def test_labels_by_prompts_and_examples(index: Path, photos: Path, tmp_path: Path, capsys: Captured) -> None:
    table = tmp_path / "labels.csv"
    common = ["classify", "--index", str(index), "--device", "cpu"]
    assert main([*common, "--labels", "red, green", "--prompt", "a {label} one", "--prompt", "{label}",
                 "--field", "colour", "--csv", str(table)]) == 0  # fmt: skip
    captured = capsys.readouterr()
    assert "10 items by zero-shot, temperature 0.02" in captured.out
    rows = {row["name"]: row["label"] for row in csv.DictReader(table.read_text("utf-8").splitlines())}
    assert rows["a.txt"] == "red"
    assert len(rows) == 10
    assert Index.open(index).count("colour = red") == list(rows.values()).count("red")
    examples = tmp_path / "examples.csv"
    examples.write_text("item,label\n" + "".join(f"{n}.png,{'odd' if n % 2 else 'even'}\n" for n in range(7)))
    assert main([*common, "--labels", str(examples), "--json", "--threshold", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == ["even", "odd"]
    assert {item["name"]: item["label"] for item in found["items"] if item["given"]}["3.png"] == "odd"
    assert found["counts"]["none"] == 3
    assert "too few" in found["notes"][0]


def test_labels_of_a_folder_by_folders(photos: Path, tmp_path: Path, capsys: Captured) -> None:
    for seed in range(12):
        folder = tmp_path / "examples" / ("flat" if seed % 2 else "busy")
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (64, 64), (20 * seed, 80, 90)) if seed % 2 else draw(seed)
        image.save(folder / f"{seed}.png")
    draw(50).save(tmp_path / "examples" / "loose.png")
    argv = ["classify", str(photos), "--model", "nano", "--device", "cpu", "--labels", str(tmp_path / "examples")]
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert "1 items of" in captured.err
    assert "10 items by probe" in captured.out
    assert "probe: 100.0% (75.8% to 100.0%) of 12 examples right" in captured.out
    assert "busy" in captured.out


def test_groups(index: Path, tmp_path: Path, capsys: Captured) -> None:
    page, words = tmp_path / "groups.html", tmp_path / "words.txt"
    words.write_text("circles\nsquares\nredness\n")
    argv = ["cluster", str(index), "--k", "3", "--names", str(words), "--html", str(page), "--field", "cluster"]
    assert main([*argv, "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(len(cluster["ids"]) for cluster in found["clusters"]) == 10
    assert {cluster["name"] for cluster in found["clusters"]} <= {"circles", "squares", "redness"}
    opened = Index.open(index)
    first = found["clusters"][0]
    assert opened.count(f"cluster = '1 {first['name']}'") == len(first["ids"])
    check_self_contained(page)
    check_in_chromium(page, tmp_path / "profile", dark=True)
    assert main(["cluster", str(index), "--k", "2"]) == 0
    assert "cluster:" not in capsys.readouterr().out  # groups are not named by those of before
    assert main(["cluster", str(index), "--k", "2", "--names", "folder"]) == 0
    assert "2 groups among 10 items (k-means)" in capsys.readouterr().out


def test_a_field_from_a_table(index: Path, tmp_path: Path, capsys: Captured) -> None:
    table = tmp_path / "t.csv"
    table.write_text("item,stars\n1.png,5\n2.png,3\ngone.png,1\n")
    assert main(["index", "field", str(index), "stars", str(table)]) == 0
    assert "field stars of 2 items is set; 1 that are not there are left out, such as 'gone.png'" in (
        capsys.readouterr().out
    )
    assert [hit.path for hit in Index.open(index).browse(filter="stars >= 4")] == ["1.png"]
    assert main(["index", "field", str(index), "stars", "--remove"]) == 0
    assert "stars" not in {field.name for field in Index.open(index).fields()}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("dups {photos} --field copies", "no index, so that there is nothing to write --field copies into"),
        ("dups {photos} --cosine 0.9", "has no vectors; say --model"),
        ("dups {photos} --index {index}", "one of them"),
        ("dups {photos} --filter x=1", "--filter is for the items of an index"),
        ("dups {index} --field path", "none of the index's own"),
        ("dups {index} --field folder", "the items have it from their folder or table"),
        ("dups {index} --cosine 2", "from -1 to 1"),
        ("dups {index} --labels gone.csv", "gone.csv"),
        ("dups gone", "gone"),
        ("classify {photos} --labels a,b", "a model is wanted: --model"),
        ("classify {index} --labels gone.csv", "no table of examples"),
        ("classify {index} --labels a,b --threshold 2", "threshold 2"),
        ("classify {index}", "labels"),
        ("cluster {photos}", "no index; make one first"),
        ("cluster {index} --k 99", "k 99: from 2 to the number of items"),
        ("cluster {index} --names colours", "no item has a field 'colours'"),
        ("cluster {index} --names gone.txt", "no such file of names"),
        ("index field {index} stars", "name a table with its values, or say --remove"),
        ("index field {index} nothing --remove", "no field 'nothing' that was given"),
    ],
)
def test_mistakes_are_one_line(line: str, why: str, index: Path, photos: Path, capsys: Captured) -> None:
    assert main([word.format(index=index, photos=photos) for word in line.split()]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
