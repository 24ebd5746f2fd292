"""The snippets of docs/python.md, run one after the other as their reader would."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

PAGE = Path(__file__).parent.parent / "docs" / "python.md"


@pytest.fixture
def place(tmp_path: Path, nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]) -> Path:
    """What the page says is there: a model, photos, a benchmark."""
    nano_untouched.save_pretrained(str(tmp_path / "model"))
    for folder in ("photos", "bench/eval", "bench/images"):
        (tmp_path / folder).mkdir(parents=True)
    for number, name in enumerate(("red", "blue", "green")):
        picture(number).save(tmp_path / "photos" / f"{name}.png")
        picture(number).save(tmp_path / "bench" / "images" / f"{name}.png")
    names = ["red.png", "blue.png", "green.png"]
    rows = [
        {"qry_text": f"the {name}", "qry_img_path": "", "tgt_text": ["", "", ""], "tgt_img_path": [name, *rest]}
        for name in names
        if (rest := [other for other in names if other != name])
    ]
    (tmp_path / "bench" / "eval" / "pairs.json").write_text(json.dumps(rows))
    return tmp_path


def test_the_page_on_python(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(snippets) >= 6
    names: dict[str, object] = {}
    for number, snippet in enumerate(snippets):
        exec(compile(snippet, f"{PAGE.name}, snippet {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "(3, 384)" in printed
    assert "missing.png: cannot read (No such file or directory)" in printed
    assert names["result"].errors == []  # type: ignore[attr-defined]
    assert len(names["hits"]) == 3  # type: ignore[arg-type]
