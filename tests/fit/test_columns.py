"""Columns are guessed as a person would, said, and can be named."""

from pathlib import Path
from typing import Any

import pytest

from llave.errors import UserError
from llave.fit.columns import Asked, choose_columns
from llave.fit.rows import read_rows
from tests.fit.conftest import WriteTable, pairs

PATH = Path("pairs.csv")

GUESSES: list[tuple[dict[str, Any], str]] = [
    (
        {"id": 1, "photo": "a.png", "caption": "a cat"},
        "pairs: pictures from `photo`, texts from `caption`; not used: `id`",
    ),
    ({"filepath": "x/a.JPG", "title": "a cat"}, "pairs: pictures from `filepath`, texts from `title`"),
    ({"Image": {"bytes": b"x", "path": None}, "text": "t"}, "pairs: pictures from `Image`, texts from `text`"),
    (
        {"url": "https://x.y/a.png", "file": "a.png", "caption": "c"},
        "pairs: pictures from `file`, texts from `caption`; not used: `url`",
    ),
    (
        {"anchor": "a", "positive": "b", "negative": "c"},
        "triplets: queries from `anchor`, positives from `positive`, negatives from `negative`",
    ),
    (
        {"query": "a", "positive": "x.png", "negative_1": "y.png", "negative_2": "z.png"},
        "triplets: queries from `query`, positives from `positive`, negatives from `negative_1`; "
        "not used: `negative_2`",
    ),
    ({"anchor": "a.png", "positive": "b.png"}, "pairs: queries from `anchor`, positives from `positive`"),
    ({"question": "why?", "answer": "so."}, "pairs: queries from `question`, positives from `answer`"),
    ({"question": "why?", "picture": "a.webp"}, "pairs: pictures from `picture`, texts from `question`"),
    ({"front": "a.png", "back": "b.png"}, "pairs: queries from `front`, positives from `back`"),
    ({"headline": "some words", "body": "more words"}, "pairs: queries from `headline`, positives from `body`"),
    (
        {"sentence1": "a", "sentence2": "b", "label": 1},
        "pairs: queries from `sentence1`, positives from `sentence2`; only rows whose `label` is 1",
    ),
    ({"img": "a.png", "label": "cat"}, "classes: pictures from `img`, labels from `label`"),
    (
        {"img": "a.png", "label": 3, "label_text": "cat"},
        "classes: pictures from `img`, labels from `label_text`; not used: `label`",
    ),
    ({"review": "good", "label": 1}, "classes: texts from `review`, labels from `label`"),
    (
        {"img": "a.png", "caption": "a cat", "category": "animals"},
        "pairs: pictures from `img`, texts from `caption`; not used: `category`",
    ),
    ({"img": "a.png", "sku": 7, "words": "aa bb"}, "pairs: pictures from `img`, texts from `words`; not used: `sku`"),
    (
        {
            "qry": "find",
            "qry_image_path": "",
            "pos_text": "",
            "pos_image_path": "a.png",
            "neg_text": "",
            "neg_image_path": "",
        },
        "pairs: texts from `qry`, pictures from `pos_image_path`; "
        "not used: `qry_image_path`, `pos_text`, `neg_text`, `neg_image_path`",
    ),
    (
        {"qry": "find", "qry_image_path": "q.png", "pos_text": "yes", "pos_image_path": "", "neg_text": "no"},
        "triplets: queries from `qry_image_path` and `qry`, positives from `pos_text`, negatives from `neg_text`; "
        "not used: `pos_image_path`",
    ),
]


@pytest.mark.parametrize(("row", "said"), GUESSES, ids=[" ".join(row) for row, _ in GUESSES])
def test_a_guess(row: dict[str, Any], said: str) -> None:
    # Two rows of other values, so that a text beside a picture is no label.
    other = {name: f"2{value}" if isinstance(value, str) and value else value for name, value in row.items()}
    assert str(choose_columns(PATH, [row, other], Asked())) == said


def test_a_text_that_repeats_is_a_label() -> None:
    rows = [{"scan": f"{number}.png", "species": ("oak", "elm")[number % 2]} for number in range(10)]
    assert str(choose_columns(PATH, rows, Asked())) == "classes: pictures from `scan`, labels from `species`"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(picture="b", text="y"), "pairs: pictures from `b`, texts from `y`; not used: `a`, `x`"),
        (Asked(text="y"), "pairs: pictures from `a`, texts from `y`; not used: `b`, `x`"),
        (Asked(query="x", positive="a"), "pairs: texts from `x`, pictures from `a`; not used: `b`, `y`"),
        (
            Asked(query="x", positive="a", negative="b"),
            "triplets: queries from `x`, positives from `a`, negatives from `b`; not used: `y`",
        ),
        (Asked(label="x", picture="b"), "classes: pictures from `b`, labels from `x`; not used: `a`, `y`"),
        (Asked(label="x"), "classes: pictures from `a`, labels from `x`; not used: `b`, `y`"),
        (Asked(label="x", text="y"), "classes: texts from `y`, labels from `x`; not used: `a`, `b`"),
    ],
    ids=str,
)
def test_what_is_named_is_taken(asked: Asked, said: str) -> None:
    rows = [{"a": f"{n}.png", "b": f"{n}b.png", "x": f"word {n}", "y": f"longer words {n}"} for n in range(4)]
    assert str(choose_columns(PATH, rows, asked)) == said


@pytest.mark.parametrize(
    ("row", "asked", "message"),
    [
        ({"a": 1, "b": 2}, Asked(), r"which columns belong together\? --picture and --text.*there are: a, b"),
        ({"a": "x y", "b": "z", "c": "w"}, Asked(picture="q"), r"no column 'q' for --picture; there are: a, b, c"),
        ({"url": "https://x.y/a.png", "n": 1}, Asked(), r"url: addresses, and nothing is fetched"),
        ({"sentence1": "a", "sentence2": "b", "score": 0.7}, Asked(), r"`score` grades the pairs.*--query sentence1"),
        ({"a": "x y", "b": "z", "c": "w"}, Asked(query="a"), r"--query and --positive go together"),
        ({"label": "a"}, Asked(label="label"), r"what has the label\? --picture or --text"),
    ],
)
def test_no_guess_names_the_columns_and_the_options(row: dict[str, Any], asked: Asked, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_columns(PATH, [row], asked)


def test_a_table_of_open_clip(drawings: Path) -> None:
    """It is called .csv and has tabs."""
    rows = [f"{row['photo']}\t{row['caption']}, drawn" for row in pairs(60)]
    path = drawings / "open_clip.csv"
    path.write_text("\n".join(["filepath\ttitle", *rows]) + "\n")
    found = read_rows(path, Asked(), progress=False)
    assert len(found.rows) == 60
    assert found.rows[0].positive.text == "a red circle, drawn"
    assert Path(found.rows[0].query.image) == drawings / "0.png"


def test_a_bad_row_costs_itself(table: WriteTable, drawings: Path) -> None:
    (drawings / "broken.png").write_bytes(b"no picture")
    bad = [
        {"id": 70, "photo": "nowhere.png", "caption": "not there"},
        {"id": 71, "photo": "broken.png", "caption": "broken"},
        {"id": 72, "photo": "1.png", "caption": "  "},
        {"id": 73, "photo": "https://x.y/z.png", "caption": "elsewhere"},
        {"id": 74, "photo": "2.png", "caption": pairs()[2]["caption"]},
    ]
    found = read_rows(table("bad.csv", [*pairs(10), *bad]), Asked(), progress=False)
    assert len(found.rows) == 10
    assert found.read == 15
    assert {each.where: each.kind for each in found.left_out} == {
        "row 11": "a picture that cannot be opened",
        "row 12": "a picture that cannot be opened",
        "row 13": "an empty cell",
        "row 14": "a row that cannot be read",
        "row 15": "duplicates",
    }
    assert {each.where: each.reason for each in found.left_out}["row 15"] == "the same content as row 3"


@pytest.mark.parametrize("values", [(1, 0), (True, False), (1.0, 0.0)])
def test_pairs_that_are_none_are_left_out(table: WriteTable, values: tuple[float, float]) -> None:
    rows = [{"sentence1": f"a {n}", "sentence2": f"b {n}", "label": values[n % 3 == 0]} for n in range(9)]
    found = read_rows(table("graded.csv", rows), Asked(), progress=False)
    assert [row.where for row in found.rows] == [f"row {n + 1}" for n in range(9) if n % 3]
    assert {each.kind for each in found.left_out} == {"`label` is not 1"}


def test_pictures_in_the_images_folder(drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(drawings)
    path = tmp_path / "pairs.csv"
    path.write_text("photo,caption\n" + "".join(f"{row['photo']},{row['caption']}\n" for row in pairs(5)))
    assert len(read_rows(path, Asked(), progress=False).rows) == 5
    with pytest.raises(UserError, match=r"no usable row .*no such picture.*--images names the folder"):
        read_rows(path, Asked(), tmp_path / "elsewhere", progress=False)
