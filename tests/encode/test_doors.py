"""A picture has one vector, whichever door it comes in by: encode in every form, Encoder, training, evaluation, index,
search and server."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device

from llave import Encoder, Item, build_index, load_model
from llave.data.corpus import Corpus
from llave.data.sources import find_source
from llave.data.train_table import open_table
from llave.encode.forward import Refused
from llave.encode.table import ItemTable, encode_table
from llave.evaluation.benchmarks import get_benchmark
from llave.search.options import BuildOptions
from llave.search.query import embed_query
from llave.training.rows import Collator
from tests.models.tiny_backbones import build
from tests.serving.running import running

ODD_EXIF = (
    b"Exif\0\0II*\0\x08\0\0\0\x02\0"
    + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)  # turned
    + struct.pack("<HHI4s", 0x11A, 2, 3, b"72\0\0")  # a resolution as text
    + b"\0" * 4
)


def drawing() -> Image.Image:
    image = Image.new("RGB", (96, 80), "white")
    ImageDraw.Draw(image).ellipse((20, 10, 70, 60), fill="red")
    ImageDraw.Draw(image).rectangle((50, 40, 90, 75), fill="navy")
    return image


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One drawing in every mode that a file may have."""
    folder = tmp_path_factory.mktemp("doors") / "images"
    folder.mkdir()
    plain = drawing()
    clear = plain.copy()
    mask = Image.new("L", plain.size, 0)
    ImageDraw.Draw(mask).ellipse((15, 5, 85, 75), fill=255)
    clear.paste((0, 90, 0), mask=mask.point(lambda value: 255 - value))  # nobody may see what transparency hides
    clear.putalpha(mask)
    palette = plain.quantize(8)
    grey = np.asarray(plain.convert("L"))
    plain.save(folder / "rgb.png")
    clear.save(folder / "rgba.png")
    clear.convert("LA").save(folder / "la.png")
    clear.save(folder / "rgba.webp", lossless=True)
    plain.convert("L").save(folder / "l.png")
    palette.save(folder / "p.png", transparency=palette.getpixel((0, 0)))
    plain.convert("1").save(folder / "one.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    plain.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    plain.save(folder / "turned.jpg", quality=95, exif=ODD_EXIF)
    Image.fromarray(grey.astype(np.float32)).save(folder / "float.tif")
    return folder


def unit(vectors: Any) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def trained(model: SentenceTransformer, root: Path, names: list[str]) -> np.ndarray:
    """The vectors that a training step gives them."""
    (root / "train").mkdir(exist_ok=True)
    rows = [{"qry": "x", "qry_image_path": "", "pos_text": "<|image_1|>", "pos_image_path": name} for name in names]
    (root / "train" / "t.json").write_text(json.dumps(rows))
    corpus = Corpus({"t": open_table(find_source(root, "t"), progress=False)})
    batch = Collator(model.preprocess, corpus)([{"row": row} for row in range(len(names))])
    features = {key.removeprefix("positive_"): value for key, value in batch.items() if key.startswith("positive_")}
    return model(batch_to_device(features, model.device))["sentence_embedding"].detach().numpy()


def evaluated(model: SentenceTransformer, root: Path, names: list[str]) -> np.ndarray:
    (root / "eval").mkdir(exist_ok=True)
    row = {"qry_text": "x", "qry_img_path": "", "tgt_text": [""] * len(names), "tgt_img_path": names}
    (root / "eval" / "t.json").write_text(json.dumps([row]))
    (task,) = get_benchmark(root).tasks
    table = ItemTable()
    numbers = [table.add(task.folder, candidate) for candidate in task.rows()[0].candidates]
    return encode_table(Encoder(model), table, progress=False).embedding_UD[numbers]


@pytest.mark.parametrize("family", ["nano", "qwen2_vl"])
def test_one_picture_one_vector(family: str, photos: Path, tmp_path: Path) -> None:
    model = load_model("nano" if family == "nano" else build(family, tmp_path), device="cpu").eval()
    names = sorted(path.name for path in photos.iterdir())
    paths = [photos / name for name in names]
    outcomes = Encoder(model)([Item(image=path) for path in paths])
    assert not [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    wanted = unit(outcomes)

    def same(found: Any, door: str, chosen: slice | list[int] = slice(None)) -> None:
        np.testing.assert_allclose(unit(found), wanted[chosen], atol=1e-5, err_msg=door)

    forms: dict[str, Callable[[Path], Any]] = {
        "an open picture": Image.open,
        "a path": Path,
        "bytes": Path.read_bytes,
        "a dictionary": lambda path: {"image": str(path)},
        "a dictionary of an open picture": lambda path: {"image": Image.open(path)},
    }
    for name, form in forms.items():
        same([model.encode([form(path)])[0] for path in paths], name)
    shown = [place for place, path in enumerate(paths) if path.suffix != ".tif"]  # sentence-transformers' own suffixes
    same([model.encode(str(paths[place])) for place in shown], "a path as text", shown)
    same(Encoder(model)([Item(image=path.read_bytes()) for path in paths]), "an item of bytes")
    same(trained(model, photos.parent, names), "training")
    same(evaluated(model, photos.parent, names), "evaluation")
    index, _ = build_index(tmp_path / "index", model, photos, options=BuildOptions(make_map=False, progress=False))
    same([index.vector(index.find(name) or "") for name in names], "index")
    same([embed_query(model, image=path) for path in paths], "search --image")
    served = [place for place, path in enumerate(paths) if path.suffix != ".tif"]
    with running(model) as server:
        pictures = [{"image": base64.b64encode(paths[place].read_bytes()).decode()} for place in served]
        same(server.vectors(pictures), "server", served)
    assert np.abs(wanted[names.index("rgb.png")] - wanted[names.index("turned.jpg")]).max() > 1e-3  # it was turned
