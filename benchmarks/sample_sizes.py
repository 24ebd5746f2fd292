"""What a sample holds, for docs/data.md: ``python -m benchmarks.sample_sizes FOLDER --out FILE``."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from llave.files import write_json
from llave.sample.domains import DOMAINS

__all__ = ["icons_markdown"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="that `llave data sample` made")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    about = json.loads((options.folder / "MANIFEST.json").read_text("utf-8"))
    drawings = Counter(path.parent.name for path in (options.folder / "images").glob("*/*.png"))
    found = {
        "seed": about["settings"]["seed"],
        "concepts": about["concepts"],
        "unseen": len(about["unseen"]),
        "rows": about["rows"],
        "drawings": dict(sorted(drawings.items())),
        "pictures": sum(path.suffix == ".png" for path in (options.folder / "images").rglob("*")),
        "bytes": sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()),
    }
    write_json(options.out, {**provenance(), **found}, indent=1)


def icons_markdown(content: dict[str, Any]) -> str:
    """Artists and sizes of the icons."""
    domain = DOMAINS["icons"]
    packages = {package.name: package for package in domain.packages}
    lines = ["| artist | package | licence | training | drawings |", "|---|---|---|---|---:|"]
    for artist in domain.artists:
        package, seen = packages[artist.package], artist.key in domain.trained
        number = f"{content['drawings'][artist.key]:,}{'' if seen else ', unseen concepts'}"
        lines.append(
            f"| {artist.title} | `{package.name}` {package.version} | {package.licence} | {'yes' if seen else 'no'} "
            f"| {number} |"
        )
    rows = content["rows"]
    return "\n".join(
        [
            *lines,
            "",
            f"Seed {content['seed']}: {content['concepts']:,} concepts, {content['unseen']} of them unseen; "
            f"{rows['train/group']:,} drawings to train on and {rows['eval/group']} held out; {rows['train/i2i']} "
            f"pairs for `i2i` and as many for `composed`; {content['pictures']:,} pictures with scenes and crops, "
            f"{content['bytes'] / 1e6:.0f} MB.",
        ]
    )


if __name__ == "__main__":
    main()
