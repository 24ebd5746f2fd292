"""Training, evaluation and ``encode`` of one row are the same input, token by token."""

from pathlib import Path
from typing import Any

import pytest

from llave import load_model
from llave.data.corpus import Corpus
from llave.data.mmeb import MMEBFolder
from llave.data.sources import find_source
from llave.data.train_table import open_table
from llave.encode.item import Reading
from llave.encode.table import ItemTable
from llave.files import write_json
from llave.models.model import EmbeddingModel
from llave.training.rows import Collator, Use
from tests.models.tiny_backbones import BACKBONES, build
from tests.models.tiny_encoders import bert
from tests.shapes import make_folder

QUERIES = ("<|image_1|>\nWhat is it?\n", "<|image_1|> a title ", "cafe\u0301 <image>\n")


@pytest.mark.parametrize("name", [*sorted(BACKBONES), "nano", "bert"])
@pytest.mark.parametrize("original", [False, True], ids=["stripped", "as the original"])
def test_one_row_is_one_input(name: str, original: bool, tmp_path: Path) -> None:
    make_folder(tmp_path / "data")
    pictures = ["red_circle.png", "", ""] if name != "bert" else ["", "", ""]
    rows: list[dict[str, Any]] = [
        {"qry": text, "qry_image_path": image, "pos_text": "a\n", "pos_image_path": ""}
        for text, image in zip(QUERIES, pictures, strict=True)
    ]
    write_json(tmp_path / "data" / "train" / "rows.json", rows)
    place = name if name == "nano" else bert(tmp_path / name) if name == "bert" else build(name, tmp_path)
    model: EmbeddingModel = load_model(place, device="cpu")
    quirks = {"verbatim": original, "blank": original and name != "bert"}
    corpus = Corpus({"rows": open_table(find_source(tmp_path / "data", "rows"))})
    uses = {"rows": Use("find: ", None)}
    trained = Collator(model.preprocess, corpus, uses=uses, **quirks)([{"row": row} for row in range(len(rows))])
    folder = MMEBFolder(tmp_path / "data")
    items = ItemTable(**quirks)
    entries = [items.item(items.add(folder, row.query)).load(Reading()) for row in folder.train("rows")]
    evaluated = model.preprocess(entries, prompt="find: ")
    assert trained["query_input_ids"].tolist() == evaluated["input_ids"].tolist()
    assert set(trained) >= {f"query_{key}" for key in evaluated}
    texts = [text.replace("<|image_1|>", "").removeprefix("\n") for text in QUERIES]
    texts = texts if original else [text.strip() for text in texts]
    if not original:
        image = tmp_path / "data" / "images" / "red_circle.png"
        given = [{"text": texts[0], "image": str(image)}, *texts[1:]] if pictures[0] else texts
        assert model.preprocess(given, prompt="find: ")["input_ids"].tolist() == evaluated["input_ids"].tolist()
    if original and name not in ("nano", "bert"):  # WordPiece has no white space
        assert "What is it?\n" in model.tokenizer.decode(trained["query_input_ids"][0])
