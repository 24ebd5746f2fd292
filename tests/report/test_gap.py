"""The report: self-contained, escaped, complete, and readable on a phone in light and dark."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image, ImageColor
from playwright.sync_api import sync_playwright
from sentence_transformers import SentenceTransformer

from llave.evaluation.aggregate import ModelRun
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from llave.report.gap import write_gap_report, write_plots
from llave.report.plots import COLOURS, MODEL_COLOURS
from tests.programs import program
from tests.report.pages import check_in_chromium, check_self_contained, parse


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


@pytest.mark.browser
def test_tables_sort_and_names_filter(report: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(report.as_uri())

        def column(number: int) -> list[float]:
            cells = page.locator(f"#datasets tbody tr:first-child > :nth-child({number})").all_inner_texts()
            return [float(text.split()[0].replace("\N{MINUS SIGN}", "-")) for text in cells]

        before = column(3)
        press = page.get_by_role("button", name="P@1 %")
        press.click()
        assert column(3) == sorted(before, reverse=True)
        press.click()
        assert column(3) == sorted(before)
        page.get_by_label("Data sets").fill("text")
        assert page.locator("#datasets tbody:visible th").all_inner_texts() == ["texts"]
        assert page.locator("#histograms figure:visible h3").all_inner_texts() == ["texts"]
        page.get_by_label("Data sets").fill("")
        tags = page.locator("#negatives details[open] .tag:visible")
        assert "positive ranks first" in tags.all_inner_texts()
        page.get_by_label("only where the negative ranks first").check()
        assert set(tags.all_inner_texts()) <= {"negative ranks first"}
        assert problems == []
        browser.close()


def test_nothing_is_loaded_from_elsewhere_and_no_script_of_others_runs(report: Path) -> None:
    check_self_contained(report)


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
    assert results["paired"] == []
    assert "One seed: no interval" in parse(path).text


def test_plots_are_written(runs: dict[str, ModelRun], tmp_path: Path) -> None:
    paths = write_plots(tmp_path, runs)
    assert {path.name for path in paths} == {
        f"{name}.{suffix}" for name in ("groups", "texts", "names_ood", "alike") for suffix in ("png", "svg")
    }
    for path in paths:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        else:
            with Image.open(path) as image:
                drawn = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or []}
            assert ImageColor.getrgb(COLOURS["positive"] if path.stem != "groups" else MODEL_COLOURS[0]) in drawn


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_chromium_at_phone_width(report: Path, tmp_path: Path, dark: bool) -> None:
    check_in_chromium(report, tmp_path, dark=dark)
