"""What a notebook shows of hits and of an index."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.search.build import build_index
from llave.search.index import Index


@pytest.fixture
def index(nano_untouched: SentenceTransformer, tmp_path: Path, picture: Callable[[int], Image.Image]) -> Index:
    things = tmp_path / "things"
    things.mkdir()
    for number in range(4):
        picture(number).save(things / f"{number}.png")
    (things / "a circle.txt").write_text("a round <thing>")
    index, _ = build_index(tmp_path / "index", nano_untouched, things)
    return index


def test_hits_are_cards_with_their_pictures(index: Index) -> None:
    hits = index.search("a circle", limit=5)
    html = hits._repr_html_()
    assert html.count("data:image/webp;base64,") == sum(hit.kind == "image" for hit in hits) > 0
    assert all(hit.path in html for hit in hits)
    assert f"<b>{hits[0].score:.3f}</b>" in html
    assert "a round &lt;thing&gt;" in html
    assert "<b>nan" not in index.browse(limit=3)._repr_html_()


def test_an_index_says_what_it_is(index: Index) -> None:
    html = index._repr_html_()
    assert str(index.path) in html
    assert f"{index.kinds()['image']:,} image" in html
