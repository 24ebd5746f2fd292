"""Tables of presets: whole, with sources, and what is made of them."""

import dataclasses
from pathlib import Path

import pytest

from llave.cli.eval import EvalConfig
from llave.cli.parsing import as_argv, parse
from llave.errors import DataError, UserError
from llave.evaluation.presets import NOT_STATED, OPTIONS, get_preset, preset_names, read_presets
from llave.report.presets import about_preset, preset_markdown, preset_summary
from llave.report.published import published_rows


def config(*argv: str) -> EvalConfig:
    return parse(EvalConfig, list(argv), command="eval", description="", positional=("model",))


def test_options_are_those_of_the_command() -> None:
    assert set(OPTIONS) <= {field.name for field in dataclasses.fields(EvalConfig)}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_whole(name: str) -> None:
    preset = get_preset(name)
    names = [setting.name for setting in preset.settings]
    assert {"template", "ties", "dtype", "data version"} <= set(names)
    for benchmark in preset.benchmarks or ("",):
        on = preset.on(benchmark)
        parsed = dataclasses.asdict(config("m", *as_argv({"benchmark": "b", **on.options})))
        assert {key: parsed[key] for key in on.options} == on.options  # typed, and as written
        states = {used.name: used.state for used in on.used(parsed)}
        assert "asked" not in states.values()
        for setting in on.settings:
            stated = setting.published != NOT_STATED
            assert bool(setting.source) == stated
            assert (states[setting.name] == "not stated") == (not stated)
    if preset.published:
        assert preset.published in {row.model for row in published_rows(preset.benchmarks[0])}


def test_the_papers_video_protocol() -> None:
    preset = get_preset("llave-7b")
    assert preset.options["max_length"] == 4096
    assert "fps" not in preset.options
    films = preset.on("video-retrieval").options
    assert (films["fps"], films["frames"], films["max_length"]) == (3, 32, 8192)
    assert get_preset("vlm2vec-v2-2b").on("video-retrieval").options == get_preset("vlm2vec-v2-2b").options


def test_settings_beside_those_that_were_used() -> None:
    preset = get_preset("vlm2vec-v2-2b").on("mmeb-v2")
    options = {**preset.options, "dtype": "float32"}
    used = {each.name: each for each in preset.used(options)}
    assert (used["dtype"].state, used["dtype"].here) == ("asked", "float32")
    assert (used["template"].state, used["template"].here) == ("same", "none")
    assert (used["ties"].state, used["ties"].here.split(";")[0]) == ("differs", "v1")
    assert used["positions"].here == "as published"
    said = " ".join(preset_summary(about_preset(preset, "mmeb-v2", options)))
    assert "published: 59.2 overall (Qwen README, re-evaluated)" in said
    assert "Set otherwise by you: dtype." in said
    elsewhere = " ".join(preset_summary(about_preset(preset, "mmeb", options)))
    assert "of another benchmark" in elsewhere
    assert "59.2" not in elsewhere
    gemma = get_preset("embeddinggemma-2")
    assert {each.here for each in gemma.used(gemma.options) if each.name == "pixels"} == {"the default"}


def test_an_unknown_preset() -> None:
    with pytest.raises(UserError, match=r"--preset nope: there are .*llave-7b.*llave eval presets"):
        get_preset("nope")


HEAD = "family: f\ncode: c\npresets: {p: {model: m}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "expected {family"),
        ("family: f\npresets: {p: {model: m}}", "expected {family: …, code"),
        (HEAD + "bench: [mmeb]", "bench: expected family, code"),
        (HEAD + "benchmarks: [mmeb, nope]", "benchmarks: no 'nope'"),
        ("family: f\ncode: c\npresets: {p: {name: m}}", "p: expected {model"),
        (HEAD + "settings: {frames: {valeu: 3}}", "frames: expected {ours, published, source, value}"),
        (HEAD + "settings: {frames: {value: 3, published: 3, source: s}}", "frames: published must be words, not 3"),
        (HEAD + "settings: {pixels: {value: 3}}", "pixels: only an option of llave eval has a value"),
        (HEAD + "settings: {frames: {value: 3, published: three}}", "frames: what was published and its source"),
        ("a: [", "cannot read"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_presets(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_page_shows_the_tables() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")
    shown = page.partition("<!-- presets -->\n")[2].partition("\n<!-- /presets -->")[0]
    assert shown == preset_markdown([get_preset(name) for name in preset_names()]), "run: make docs"
