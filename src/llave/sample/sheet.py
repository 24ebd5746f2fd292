"""A picture sheet: one query of each task with its positive and some distractors."""

import random
import textwrap
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from llave.data.mmeb import strip_placeholder

__all__ = ["draw_sheet"]

CELL = 150  # pixels
CAPTION = 52
DISTRACTORS = 5
MARGIN = 12
CREDITS = 40
POSITIVE = (20, 130, 60)


def draw_sheet(root: Path, tasks: list[str], rng: random.Random, *, credits: str = "") -> Image.Image:
    """The sheet of a data folder, in-distribution and ``_ood`` rows alternating, and whose pictures they are."""
    names = [name + end for name in tasks for end in ("", "_ood")]
    width = MARGIN + 110 + (2 + DISTRACTORS) * (CELL + MARGIN)
    height = CELL + CAPTION + MARGIN
    sheet = Image.new("RGB", (width, MARGIN + len(names) * height + (CREDITS if credits else 0)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for line, name in enumerate(names):
        rows = pq.read_table(root / "eval" / f"{name}.parquet").to_pylist()
        top = MARGIN + line * height
        pen.text((MARGIN, top + CELL // 2), name, fill="black", font=ImageFont.load_default(15))
        if not rows:
            continue
        row: dict[str, Any] = rows[rng.randrange(len(rows))]
        cells = [("query", row["qry_text"], row["qry_img_path"])]
        cells += [
            ("positive" if i == 0 else "distractor", text, image)
            for i, (text, image) in enumerate(zip(row["tgt_text"], row["tgt_img_path"], strict=True))
        ][: 1 + DISTRACTORS]
        for column, (role, text, image) in enumerate(cells):
            left = MARGIN + 110 + column * (CELL + MARGIN)
            outline = POSITIVE if role == "positive" else (200, 200, 200)
            pen.rectangle((left, top, left + CELL, top + CELL), outline=outline, width=3 if role == "positive" else 1)
            if image:
                picture = Image.open(root / "images" / image)
                picture.thumbnail((CELL - 10, CELL - 10))
                sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
            caption = "\n".join(textwrap.wrap(strip_placeholder(text), 22)[:3])
            where = (left, top + CELL + 3) if image else (left + 8, top + 50)
            pen.text(where, caption, fill=POSITIVE if role == "positive" else "black", font=font)
    pen.multiline_text((MARGIN, MARGIN + len(names) * height), "\n".join(textwrap.wrap(credits, 160)), "black", font)
    return sheet
