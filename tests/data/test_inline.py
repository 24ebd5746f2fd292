"""Base64 as tools write it, in a table's cell and in a request."""

import base64
import json
import quopri
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from llave.data.inline import inline_bytes, read_inline
from llave.data.mmeb import MMEBFolder
from llave.errors import DataError
from llave.models.pictures import fit_picture
from tests.serving.running import encoded

PICTURE = encoded(Image.effect_noise((50, 40), 90).convert("RGB")) + b"\xff"
"""Its base64 ends in padding and has signs in which the two alphabets differ."""
PLAIN = base64.b64encode(PICTURE).decode()
LINES = base64.encodebytes(PICTURE).decode()
URL_SAFE = base64.urlsafe_b64encode(PICTURE).decode()
FORMS = {
    "plain": PLAIN,
    "lines": LINES,
    "lines of mail": LINES.replace("\n", "\r\n"),
    "a newline at the end": PLAIN + "\n",
    "white space around": f" \t{PLAIN} ",
    "no padding": PLAIN.rstrip("="),
    "URL-safe": URL_SAFE,
    "URL-safe without padding": URL_SAFE.rstrip("="),
    "data:": "data:image/png;base64," + PLAIN,
    "data: with a name": "data:image/png;name=my%20photo.png;base64," + PLAIN,
    "data: without a kind": "data:;base64," + PLAIN,
    "data: with a charset": "data:image/png;charset=utf-8; base64," + PLAIN,
    "DATA:": "DATA:IMAGE/PNG;BASE64," + PLAIN,
    "data: with lines": "data:image/png;base64,\n" + LINES,
    "data: after white space": "\n  data:image/png;base64," + PLAIN,
    "data: percent-encoded": "data:image/png;base64," + quote(PLAIN, safe=""),
    "data: of bytes": "data:image/png," + quote(PICTURE, safe=""),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_bytes(form: str) -> None:
    assert PLAIN.endswith("=")
    assert set(PLAIN) & set("+/")
    assert read_inline(FORMS[form]) == PICTURE
    assert inline_bytes(FORMS[form]) == PICTURE
    assert fit_picture(FORMS[form]).size == (50, 40)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_small_picture_is_no_path(kind: str) -> None:
    small = encoded(Image.new("RGB", (16, 16), "red"), kind)
    text = base64.b64encode(small).decode()
    assert len(text) < 4096
    assert inline_bytes(text) == small


@pytest.mark.parametrize("path", ["photo.png", "/9j/photo.jpg", "a/b.jpg", "", "iVBORw0KGgo.png", "/" * 4096])
def test_a_path_is_none(path: str) -> None:
    assert inline_bytes(path) is None


WRONG = ["not base64!", "aGVsbG8gd", "aGVs,bG8=", "=aGVs", "data:image/png;base64,@@@@", "data:", "data:;base64"]


@pytest.mark.parametrize("text", [*WRONG, "ü" * 9000, quopri.encodestring(PICTURE).decode()])
def test_what_is_none_of_these_is_not_repeated(text: str) -> None:
    with pytest.raises(DataError, match="base64") as caught:
        read_inline(text)
    assert len(str(caught.value)) < 100
    if len(text) > 4096:
        with pytest.raises(DataError) as caught:
            inline_bytes(text)
        assert len(str(caught.value)) < 200


def test_rows_of_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVE_CACHE", str(tmp_path / "cache"))
    row = {"qry_text": "what is it?", "tgt_text": ["red", ""], "tgt_img_path": ["", FORMS["data: with lines"]]}
    (tmp_path / "eval").mkdir()
    lines = [
        json.dumps({**row, "qry_img_path": image}) for image in (FORMS["lines"], "a.png", "data:;base64,@" + PLAIN)
    ]
    (tmp_path / "eval" / "t.jsonl").write_text("\n".join(lines))
    folder = MMEBFolder(tmp_path)
    bad: list[DataError] = []
    inline, named = folder.eval("t", bad)
    for item in (inline.query, inline.candidates[1]):
        path = folder.image(item)
        assert path is not None
        assert path.read_bytes() == PICTURE
    assert folder.image(named.query) == tmp_path / "images" / "a.png"
    assert len(bad) == 1
    assert len(str(bad[0])) < 300
