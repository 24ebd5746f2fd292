"""Put the numbers and pictures of runs/quickstart into the README and docs/. Run: make docs

The tables stand between ``<!-- NAME -->`` and ``<!-- /NAME -->``; the picture of the report needs Chromium.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from llave.evaluation.presets import get_preset, preset_names
from llave.report.presets import preset_markdown

ROOT = Path(__file__).parent.parent
RUN = ROOT / "runs" / "quickstart"
GROUPS = {"vqa": "VQA", "ind": "in distribution", "ood": "out of distribution"}


def main() -> int:
    page = ROOT / "docs" / "evaluation.md"
    table = preset_markdown([get_preset(name) for name in preset_names()])
    page.write_text(put(page.read_text("utf-8"), "presets", table), "utf-8")
    if not (RUN / "results.json").is_file():
        sys.stderr.write(f"{RUN}: no results.json; run `make quickstart` first (with more seeds: llave quickstart)\n")
        return 2
    results = json.loads((RUN / "results.json").read_text("utf-8"))
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text("utf-8")
        for name, table in (("groups", group_table(results)), ("datasets", dataset_table(results))):
            text = put(text, name, table)
        page.write_text(text, "utf-8")
    shrink(RUN / "data" / "contact.png", ROOT / "docs" / "contact.png", 1400)
    if shutil.which("chromium") is None:
        sys.stderr.write("chromium is not installed: docs/report.png stays as it is\n")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        shot = Path(directory) / "report.png"
        subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--hide-scrollbars", "--window-size=1180,1500",
             f"--screenshot={shot}", (RUN / "report.html").as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
        shrink(shot, ROOT / "docs" / "report.png", 1180)
    return 0


def put(text: str, name: str, table: str) -> str:
    """The text with the table in its place."""
    block = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
    return re.sub(f"<!-- {name} -->.*?<!-- /{name} -->", lambda found: block, text, flags=re.S)


def shrink(source: Path, target: Path, width: int) -> None:
    """A palette PNG of at most ``width`` pixels: a picture of a page, not an archive."""
    with Image.open(source) as image:
        image = image.convert("RGB")
        if image.width > width:
            image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
        image.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


def group_table(results: dict[str, Any]) -> str:
    infonce, hardness = (results["models"][name]["meta"] for name in ("infonce", "hardness"))
    lines = [
        "| P@1 % | data sets | queries | InfoNCE (α=0) | hardness-weighted (α=9) | difference | p |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for group, about in infonce.items():
        cells = [GROUPS.get(group, group), str(about["datasets"]), f"{about['queries']:,}"]
        lines.append(row([*cells, score(about), score(hardness[group]), *compared(results["paired"]["groups"][group])]))
    return "\n".join([*lines, "", note(results)])


def dataset_table(results: dict[str, Any]) -> str:
    infonce, hardness = (results["models"][name]["datasets"] for name in ("infonce", "hardness"))
    lines = [
        "| P@1 % | queries | InfoNCE (α=0) | hardness-weighted (α=9) | difference | p "
        "| positive | hard | easy | gap to hard |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, about in infonce.items():
        other = hardness[name]
        cosines = [f"{about[key]:.2f} / {other[key]:.2f}" for key in ("positive", "hard", "easy", "gap_hard")]
        difference = compared(results["paired"]["datasets"][name])
        lines.append(row([f"`{name}`", f"{about['queries']:,}", score(about), score(other), *difference, *cosines]))
    return "\n".join([*lines, "", f"{note(results)} Cosines: InfoNCE / hardness-weighted."])


def score(about: dict[str, Any]) -> str:
    mean, interval = 100 * about["p_at_1"], about["ci95"]
    return f"{mean:.1f}" + (f" ± {50 * (interval[1] - interval[0]):.1f}" if interval else "")


def compared(difference: dict[str, Any]) -> tuple[str, str]:
    p = difference["p"]
    return f"{100 * difference['difference']:+.1f}", "-" if p is None else f"{p:.3f}"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def note(results: dict[str, Any]) -> str:
    seeds = results["seeds"]
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}): no interval."
    smallest = results["paired"]["smallest_p"]
    return (
        f"Mean ± 95% interval (Student's t) over seeds {', '.join(map(str, seeds))}; p of an exact sign-flip test over "
        f"seeds, at least {smallest:.3f} by construction."
    )


if __name__ == "__main__":
    sys.exit(main())
