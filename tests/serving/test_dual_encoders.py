"""A CLIP and a SigLIP all the way: `llave index`, search by text, picture and both, the server, `llave eval`."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llave import Encoder, Item, load_model
from llave.cli.main import main
from llave.search.index import Index
from llave.serving.engine import Engine
from tests.data.films import frames
from tests.models.tiny_encoders import DUAL
from tests.serving.running import encoded, running
from tests.shapes import make_folder


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_index_search_and_serve(
    name: str, tmp_path: Path, picture: Callable[[int], Image.Image], capsys: pytest.CaptureFixture[str]
) -> None:
    source = DUAL[name](tmp_path / "model")
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        picture(number).save(folder / f"p{number}.png")
    (folder / "note.txt").write_text("the cat")
    rows = [{"text": f"the cat {number}", "image": f"photos/p{number}.png"} for number in range(4)]
    table = tmp_path / "captions.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = str(tmp_path / "index")
    assert main(["index", str(source), str(folder), "--index", index]) == 0
    assert main(["index", str(source), str(table), "--index", index]) == 0
    capsys.readouterr()
    query = ["--index", index, "--image", str(folder / "p2.png"), "--limit", "1", "--json", "true"]
    assert main(["search", *query]) == 0
    assert "p2.png" in capsys.readouterr().out
    assert main(["search", "the cat 2", *query]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert hit["text"] == "the cat 2"  # the same picture without its caption is farther
    assert hit["score"] == pytest.approx(1, abs=1e-5)

    model = load_model(source, device="cpu").eval()
    found = Index.open(index).search(model.encode(picture(3)), limit=1)[0]
    assert found.path == "p3.png"
    address = "data:image/png;base64," + base64.b64encode(encoded(picture(1))).decode()
    seen = {"type": "image_url", "image_url": {"url": address}}
    both = {"content": [{"type": "text", "text": "the cat"}, seen]}
    stills = frames(4)
    stills[0].save(tmp_path / "moving.gif", save_all=True, append_images=stills[1:])
    film = "data:image/gif;base64," + base64.b64encode((tmp_path / "moving.gif").read_bytes()).decode()
    with running(Engine(model, name=name)) as server:
        vectors = server.vectors(["the cat", {"content": [seen]}, both])
        moving = server.vectors([{"video": film}])
    expected = model.encode(["the cat", picture(1), {"image": picture(1), "text": "the cat"}])
    assert np.allclose(vectors, expected, atol=1e-5)
    (outcome,) = Encoder(model)([Item(video=tmp_path / "moving.gif")])
    assert np.allclose(moving, outcome, atol=1e-5)


def test_evaluate(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    source = DUAL["clip"](tmp_path / "model")
    assert main(["eval", str(source), "--benchmark", str(data), "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all(score["queries"] > 0 for score in results["datasets"].values())
