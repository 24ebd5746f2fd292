"""What the page's tests search in: drawn pictures with metadata, texts, and names that try to be HTML."""

import json
from pathlib import Path

from PIL import Image

from tests.shapes import COLOURS, SHAPES, draw

KEY = "page-tests-have-a-key"
EVIL_TEXT = "<img src=x onerror=\"document.title='broken in'\"> from a text"
EVIL_NAME = "<img src=x onerror=document.title='broken in'>.png"
TEXTS = {
    "weather.txt": "It rains on the harbour all day.",
    "kitchen.txt": "Peel two onions and fry them in butter.",
    "letter.txt": "Dear aunt, the parcel has come, and the socks fit. " * 6,
    "evil.txt": EVIL_TEXT,
}
SIZES = (24, 48, 96, 160)


def make_things(root: Path) -> Path:
    """64 pictures (four colours, shapes and sizes), one of an evil name, and four texts."""
    rows = []
    for colour in COLOURS:
        for shape in SHAPES:
            for size in SIZES:
                name = f"drawn/{colour}_{shape}_{size}.png"
                (root / "drawn").mkdir(parents=True, exist_ok=True)
                on_white = Image.new("RGB", (192, 192), "white")
                on_white.paste(draw(colour, shape).resize((size, size)), ((192 - size) // 2, (192 - size) // 2))
                on_white.save(root / name)
                row = {"file_name": name, "text": f"a {colour} {shape}", "colour": colour, "shape": shape}
                drawn = f"20{10 + len(rows) % 8}-03-{1 + len(rows) % 28:02}"
                rows.append({**row, "size": size, "large": size > 48, "drawn": drawn})
    draw("green", "bar").save(root / EVIL_NAME)
    rows.append({"file_name": EVIL_NAME, "colour": "<b>green</b>", "shape": "bar", "size": 48, "large": False})
    for name, text in TEXTS.items():
        (root / name).write_text(text)
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root
