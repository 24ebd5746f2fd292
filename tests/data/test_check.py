"""`llave data check`: every kind of problem is found, with its file and row."""

import json
from pathlib import Path
from typing import Any

import pytest

from llave.data.check import check_folder, summarise
from tests.data.films import frames
from tests.shapes import make_folder

PICTURE = "<|image_1|>"


def test_a_good_folder_has_no_problems(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    assert check_folder(root, progress=False) == []
    summary = {(row["split"], row["data set"]): row for row in summarise(root)}
    assert summary["train", "t2i"]["rows"] == 16
    assert summary["train", "t2i"]["candidates"] == "16 hard negatives"
    assert summary["eval", "t2i"]["candidates"] == "16 to 16"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"qry": "", "qry_image_path": ""}, "empty-query"),
        ({"pos_text": "", "pos_image_path": ""}, "empty-positive"),
        ({"pos_image_path": "nothing.png"}, "missing-image"),
        ({"pos_image_path": "broken.png"}, "broken-image"),
        ({"pos_image_path": "../train/t2i.json"}, "escaping-path"),
        ({"pos_image_path": "/etc/passwd"}, "escaping-path"),
        ({"qry": PICTURE}, "placeholder-without-image"),
        ({"pos_text": "a circle"}, "image-without-placeholder"),
        ({"qry": ["a"]}, "wrong-type"),
    ],
)
def test_problems_of_training_rows(tmp_path: Path, change: dict[str, Any], kind: str) -> None:
    root = make_folder(tmp_path)
    (root / "images" / "broken.png").write_bytes((root / "images" / "red_circle.png").read_bytes()[:60])
    path = root / "train" / "t2i.json"
    rows = json.loads(path.read_text())
    rows[5] |= change
    path.write_text(json.dumps(rows))
    problems = check_folder(root, progress=False)
    assert {(p.file, p.row) for p in problems} == {(str(path), 5)}
    assert kind in {p.kind for p in problems}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"tgt_text": [], "tgt_img_path": []}, "empty-positive"),
        ({"tgt_text": ["", "a"], "tgt_img_path": ["", ""]}, "empty-positive"),
        ({"tgt_text": ["a", "b", "b"], "tgt_img_path": ["", "", ""]}, "duplicate-candidate"),
        ({"tgt_text": ["a", "b", "a"], "tgt_img_path": ["", "", ""]}, "candidate-is-positive"),
        ({"tgt_text": ["a", "b"], "tgt_img_path": [""]}, "unequal-lengths"),
        ({"tgt_text": "a", "tgt_img_path": ""}, "wrong-type"),
        ({"tgt_text": None}, "wrong-type"),
    ],
)
def test_problems_of_evaluation_rows(tmp_path: Path, change: dict[str, Any], kind: str) -> None:
    root = make_folder(tmp_path)
    path = root / "eval" / "naming.json"
    rows = json.loads(path.read_text())
    rows[3] |= change
    path.write_text(json.dumps(rows))
    problems = check_folder(root, progress=False)
    assert {(p.file, p.row, p.kind) for p in problems} == {(str(path), 3, kind)}


def test_missing_columns_and_unreadable_files(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    rows = json.loads((root / "train" / "t2i.json").read_text())
    del rows[2]["pos_text"]
    (root / "train" / "t2i.json").write_text(json.dumps(rows))
    (root / "train" / "naming.json").write_text("[")
    (root / "eval" / "naming.json").write_text("[]")
    found = [(Path(p.file).name, p.row, p.kind) for p in check_folder(root, progress=False)]
    assert found == [
        ("naming.json", None, "unreadable"),
        ("t2i.json", 2, "missing-column"),
        ("naming.json", None, "empty"),
    ]


def test_videos_and_pages(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "videos").mkdir()
    first, *rest = frames(3)
    first.save(root / "videos" / "a.gif", save_all=True, append_images=rest)
    (root / "videos" / "broken.gif").write_bytes((root / "videos" / "a.gif").read_bytes()[:40])
    first.save(root / "images" / "d.pdf", save_all=True, append_images=rest)
    page = {"tgt_text": [PICTURE, PICTURE], "tgt_img_path": ["d.pdf#page=1", "d.pdf#page=3"]}
    query = {"qry_text": "a", "qry_img_path": ""}
    none = {"tgt_text": ["", ""], "tgt_img_path": ["", ""]}
    path = root / "eval" / "media.json"
    rows: list[dict[str, Any]] = [
        {"qry_text": "", "qry_img_path": "", "qry_video_path": "a.gif", **page},
        {**query, **page, "tgt_img_path": ["d.pdf#page=4", "e.pdf#page=1"]},
        {**query, **none, "tgt_video_path": ["a.gif", "broken.gif"]},
        {**query, **none, "tgt_video_path": ["gone", "../images/d.pdf"]},
        {**query, **page, "tgt_video_path": ["a.gif", ""]},
        {**query, **none, "tgt_video_path": ["a.gif"]},
    ]
    path.write_text(json.dumps(rows))
    found = [(problem.row, problem.kind) for problem in check_folder(root, progress=False)]
    assert found == [
        (1, "broken-image"),
        (1, "missing-image"),
        (2, "broken-video"),
        (3, "missing-video"),
        (3, "escaping-path"),
        (4, "two-media"),
        (5, "unequal-lengths"),
    ]
    assert (1, "broken-image") not in [(p.row, p.kind) for p in check_folder(root, decode=False, progress=False)]


def test_a_line_that_cannot_be_read_is_counted_and_ends_nothing(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    rows = json.loads((root / "eval" / "t2i.json").read_text())
    (root / "eval" / "lines.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{\n")
    (problem,) = check_folder(root, progress=False)
    assert (problem.row, problem.kind) == (len(rows), "unreadable")
    summary = {(row["split"], row["data set"]): row for row in summarise(root)}
    assert summary["eval", "lines"]["unusable"] == 1
    assert summary["eval", "lines"]["rows"] == len(rows) + 1
