"""Pictures of runs/quickstart in docs/; that of the report needs Chromium. Run: make docs"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
RUN = ROOT / "runs" / "quickstart"


def main() -> int:
    if not (RUN / "report.html").is_file():
        sys.stderr.write(f"{RUN}: no report.html; run `make quickstart` first\n")
        return 2
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


def shrink(source: Path, target: Path, width: int) -> None:
    """A palette PNG of at most ``width`` pixels: a picture of a page, not an archive."""
    with Image.open(source) as image:
        image = image.convert("RGB")
        if image.width > width:
            image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
        image.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
