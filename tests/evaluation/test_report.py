"""The report: self-contained, escaped, complete, and readable on a phone in light and dark."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from llave.evaluation.aggregate import ModelRun
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.report import write_gap_report, write_plots
from llave.evaluation.runner import evaluate

VOID = {"meta", "img", "br", "link", "input", "use", "path", "rect"}


@pytest.fixture(scope="module")
def runs(nano_untouched: SentenceTransformer, benchmark_root: Path) -> dict[str, ModelRun]:
    result = evaluate(nano_untouched, get_benchmark(benchmark_root), progress=False)
    return {
        "infonce": ModelRun(results=[result, result], seeds=[0, 1], alpha=0.0, temperature=0.02),
        "hardness": ModelRun(results=[result, result], seeds=[0, 1], alpha=9.0, temperature=0.02),
    }


@pytest.fixture(scope="module")
def report(runs: dict[str, ModelRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_gap_report(path, runs, title="Two <models>")
    return path


class _Page(HTMLParser):
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


def parse(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    page.close()
    assert page.open == []
    return page


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(report: Path) -> None:
    html = report.read_text("utf-8")
    assert "http://" not in html
    assert "https://" not in html
    page = parse(report)
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object"}]
    for _, attributes in page.tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#"))


def test_texts_of_the_data_are_escaped_and_every_data_set_is_there(report: Path) -> None:
    assert "&lt;script&gt;alert(" in report.read_text("utf-8")
    page = parse(report)
    assert "<script>alert('x')</script> find the cat" in page.text
    for name in ("texts", "names_ood", "alike", "infonce", "hardness", "corrupt.png", "Two <models>"):
        assert name in page.text
    assert "no significant difference over 2 seeds" in page.text


def test_ids_are_unique_and_pictures_described(report: Path) -> None:
    page = parse(report)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 1 + 3 * 2
    assert all(attributes.get("aria-label") and attributes.get("viewbox") for attributes in drawings)
    targets = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert targets <= {f"#{identifier}" for identifier in ids}


def test_one_model(runs: dict[str, ModelRun], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    results = write_gap_report(path, {"mine": ModelRun(results=runs["infonce"].results[:1])})
    assert "paired" not in results
    assert "One seed: no interval" in parse(path).text


def test_plots_are_written(runs: dict[str, ModelRun], tmp_path: Path) -> None:
    paths = write_plots(tmp_path, runs)
    assert {path.name for path in paths} == {
        f"{name}.{suffix}" for name in ("groups", "texts", "names_ood", "alike") for suffix in ("png", "svg")
    }
    assert all(path.stat().st_size > 1000 for path in paths)


PROBE = """<!doctype html><meta name="color-scheme" content="light dark"><body>
<iframe id="page" src="report.html" width="390" height="3000" style="border:0"></iframe><pre id="found"></pre>
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


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_in_chromium_at_phone_width(report: Path, tmp_path: Path, scheme: int, dark: bool) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    probe = report.with_name(f"probe-{scheme}.html")  # measures the page in a frame of the same folder
    probe.write_text(PROBE)
    command = [chromium, "--headless", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files"]
    command += [
        "--virtual-time-budget=5000",
        f"--user-data-dir={tmp_path}",
        f"--blink-settings=preferredColorScheme={scheme}",
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
