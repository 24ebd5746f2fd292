"""What holds for every page that llave writes: well-formed, self-contained, readable on a phone in light and dark."""

import base64
import hashlib
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

from llave.report.page import TEMPLATES
from tests.programs import program

VOID = {"meta", "img", "br", "link", "input", "use", "path", "rect"}


class Page(HTMLParser):
    """Checks nesting, and collects tags, ids and visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(path: Path) -> Page:
    """The page, whose elements must be nested well."""
    page = Page()
    page.feed(path.read_text("utf-8"))
    page.close()
    assert page.open == []
    return page


def check_self_contained(path: Path) -> None:
    """Nothing is loaded from elsewhere, no script but ours may run, ids are unique, pictures are described."""
    html = path.read_text("utf-8")
    assert "http://" not in html
    assert "https://" not in html
    page = parse(path)
    assert not [tag for tag, _ in page.tags if tag in {"link", "iframe", "object"}]
    check_script(html)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert len(ids) == sum("id" in attributes for _, attributes in page.tags)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "img" or attributes.get("alt")
        assert tag != "svg" or attributes.get("aria-label")
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/") or value.removeprefix("#") in ids


def check_script(html: str) -> None:
    """There is one at most, ours, and the page's policy allows none but what has its hash."""
    scripts = re.findall(r"<script\b([^>]*)>(.*?)</script>", html, re.DOTALL)
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert scripts == [("", (TEMPLATES / "page.js").read_text("utf-8"))]
    digest = base64.b64encode(hashlib.sha256(scripts[0][1].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"


PROBE = """<!doctype html><meta name="color-scheme" content="light dark"><body>
<iframe id="page" src="%s" width="390" height="3000" style="border:0"></iframe><pre id="found"></pre>
<script>
window.onload = () => {
  const page = document.getElementById("page").contentDocument;
  page.querySelectorAll("details").forEach(part => { part.open = true; });
  const wide = [...page.querySelectorAll("body *")].filter(part =>
    !part.closest(".scroll") && part.getBoundingClientRect().right > 390.5).map(part => part.tagName);
  document.getElementById("found").textContent = [
    "client=" + page.documentElement.clientWidth, "scroll=" + page.documentElement.scrollWidth,
    "background=" + getComputedStyle(page.body).backgroundColor, "wide=[" + wide.join() + "]",
    "broken=" + [...page.images].filter(image => image.complete && !image.naturalWidth).length].join(";");
};
</script>"""


def check_in_chromium(path: Path, profile: Path, *, dark: bool) -> None:
    """At 390 pixels nothing is cut off or broken, and the background suits the colour scheme."""
    chromium = program("chromium", "chromium-browser", "google-chrome")
    probe = path.with_name(f"probe-{path.stem}-{dark}.html")  # measures the page in a frame of the same folder
    probe.write_text(PROBE % path.name)
    command = [chromium, "--headless", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files"]
    command += [
        "--virtual-time-budget=5000",
        f"--user-data-dir={profile}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--window-size=800,900",
    ]
    if os.geteuid() == 0:
        command.append("--no-sandbox")
    run = subprocess.run(
        [*command, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', run.stdout)
    assert found is not None, run.stderr[-500:]
    values = dict(part.split("=", 1) for part in found[1].split(";"))
    assert values["client"] == values["scroll"] == "390"
    assert values["wide"] == "[]"
    assert values["broken"] == "0"
    brightness = sum(map(int, re.findall(r"\d+", values["background"])[:3])) / 3
    assert (brightness < 60) if dark else (brightness > 200)
