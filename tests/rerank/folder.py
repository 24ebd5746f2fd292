"""A folder in MMEB's format of a few coloured squares, for training and evaluation."""

import json
from pathlib import Path

from PIL import Image

COLOURS = {
    "red": (220, 20, 20), "green": (20, 180, 20), "blue": (20, 40, 220), "yellow": (240, 220, 20),
    "white": (250, 250, 250), "black": (5, 5, 5), "purple": (140, 20, 160), "orange": (250, 140, 10),
}  # fmt: skip


def write_folder(directory: Path) -> Path:
    """Train rows of text to picture with a hard negative each, and an evaluation of every colour against all."""
    for name in ("train", "eval", "images"):
        (directory / name).mkdir(parents=True)
    names = list(COLOURS)
    for name, colour in COLOURS.items():
        Image.new("RGB", (32, 32), colour).save(directory / "images" / f"{name}.png")
    image = "<|image_1|>"
    columns = ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path")
    rows = [
        dict(zip(columns, (f"Find: {name}", "", image, f"{name}.png", image, f"{other}.png"), strict=True))
        for number, name in enumerate(names)
        for other in (names[(number + 1) % len(names)], names[(number + 2) % len(names)])
    ]
    (directory / "train" / "colours.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [
        {
            "qry_text": f"Find: {name}", "qry_img_path": "", "tgt_text": ["<|image_1|>"] * len(names),
            "tgt_img_path": [f"{one}.png" for one in (name, *(other for other in names if other != name))],
        }
        for name in names
    ]  # fmt: skip
    (directory / "eval" / "colours.json").write_text(json.dumps(asked))
    return directory
