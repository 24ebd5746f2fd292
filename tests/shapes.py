"""A tiny data set in MMEB's format, made on the spot: coloured shapes and their names."""

import json
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (30, 60, 220), "yellow": (240, 210, 30)}
SHAPES = ("circle", "square", "triangle", "bar")


def draw(colour: str, shape: str) -> Image.Image:
    image = Image.new("RGB", (48, 48), "white")
    pen = ImageDraw.Draw(image)
    fill = COLOURS[colour]
    match shape:
        case "circle":
            pen.ellipse((6, 6, 42, 42), fill=fill)
        case "square":
            pen.rectangle((8, 8, 40, 40), fill=fill)
        case "triangle":
            pen.polygon((24, 4, 44, 42, 4, 42), fill=fill)
        case _:
            pen.rectangle((4, 20, 44, 28), fill=fill)
    return image


def make_folder(root: Path) -> Path:
    """16 coloured shapes: t2i and naming, for training and evaluation."""
    things = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    for split in ("train", "eval", "images"):
        (root / split).mkdir(parents=True, exist_ok=True)
    for colour, shape in things:
        draw(colour, shape).save(root / "images" / f"{colour}_{shape}.png")
    picture = {f"{c} {s}": f"{c}_{s}.png" for c, s in things}
    names = list(picture)
    t2i, naming, t2i_eval, naming_eval = [], [], [], []
    for i, name in enumerate(names):
        negative = names[(i + 1) % len(names)]
        t2i.append(
            {
                "qry": f"Find: {name}",
                "qry_image_path": "",
                "pos_text": "<|image_1|>\nRepresent the given image.",
                "pos_image_path": picture[name],
                "neg_text": "<|image_1|>\nRepresent the given image.",
                "neg_image_path": picture[negative],
            }
        )
        naming.append(
            {
                "qry": "<|image_1|>\nWhat is this?",
                "qry_image_path": picture[name],
                "pos_text": name,
                "pos_image_path": "",
            }
        )
        others = [other for other in names if other != name]
        t2i_eval.append(
            {
                "qry_text": f"Find: {name}",
                "qry_img_path": "",
                "tgt_text": ["<|image_1|>\nRepresent the given image."] * len(names),
                "tgt_img_path": [picture[name], *(picture[other] for other in others)],
            }
        )
        naming_eval.append(
            {
                "qry_text": "<|image_1|>\nWhat is this?",
                "qry_img_path": picture[name],
                "tgt_text": [name, *others],
                "tgt_img_path": [""] * len(names),
            }
        )
    for path, rows in (
        ("train/t2i", t2i),
        ("train/naming", naming),
        ("eval/t2i", t2i_eval),
        ("eval/naming", naming_eval),
    ):
        (root / f"{path}.json").write_text(json.dumps(rows))
    return root
