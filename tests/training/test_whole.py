"""What a run leaves out is said; what the model refuses costs a row; prompts go with the model."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from llave import load_model
from llave.errors import DataError, UserError
from llave.training.config import DataSetConfig, TrainConfig
from llave.training.row_errors import read_row_errors
from llave.training.run import train
from tests.models.tiny_backbones import build

PROMPT = "Find the picture: "


def make_folder(root: Path, rows: int, *more: dict[str, str]) -> Path:
    """Texts that find a picture, in train/t.jsonl; other rows before them."""
    for part in ("train", "images"):
        (root / part).mkdir(parents=True, exist_ok=True)
    own = []
    for number in range(rows):
        Image.new("RGB", (50, 40), (number * 7, 99, 200 - number)).save(root / "images" / f"{number}.png")
        own.append(row(f"find number {number}", f"{number}.png"))
    lines = [json.dumps(one) + "\n" for one in [*more, *own]]
    (root / "train" / "t.jsonl").write_text("".join(lines))
    return root


def row(text: str, picture: str) -> dict[str, str]:
    return {"qry": text, "qry_image_path": "", "pos_text": "", "pos_image_path": picture}


def run(data: Path, output: Path, model: Path | str, **changes: Any) -> tuple[dict[str, Any], str]:
    text = io.StringIO()
    settings: dict[str, Any] = {"batch_size": 8, "max_steps": 2, "workers": 0, "log_steps": 1, **changes}
    config = TrainConfig(data=data, output=output, model=str(model), **settings)
    train(config, console=Console(file=text, width=300))
    return json.loads((output / "run.json").read_text()), text.getvalue()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_row_that_the_model_refuses_costs_itself_alone(tmp_path: Path, workers: int) -> None:
    data = make_folder(tmp_path / "data", 15, row("a thin line", "line.png"))
    Image.new("RGB", (2000, 9), "red").save(data / "images" / "line.png")
    record, said = run(data, tmp_path / "run", build("qwen2_vl", tmp_path), workers=workers, max_steps=4)
    assert record["steps"] == 4
    (((file, number), reason),) = read_row_errors(tmp_path / "run" / "errors.jsonl").items()
    assert (Path(file).name, number) == ("t.jsonl", 0)
    assert "aspect ratio" in reason
    assert "1 rows were replaced" in said


@pytest.mark.parametrize("workers", [0, 1])
def test_when_every_row_is_refused_the_run_ends_in_one_line(tmp_path: Path, workers: int) -> None:
    data = make_folder(tmp_path / "data", 8)
    for number in range(8):
        Image.new("RGB", (2000, 9), (number, 0, 0)).save(data / "images" / f"{number}.png")
    with pytest.raises(DataError, match=r"^t: 32 rows in a row cannot be used; the first: .*aspect ratio") as error:
        run(data, tmp_path / "run", build("qwen2_vl", tmp_path), workers=workers)
    assert "\n" not in str(error.value)


def test_media_tokens_in_texts_are_trained_on(tmp_path: Path) -> None:
    literal = "How do I use <image> and <|image_pad|> in HTML?"
    data = make_folder(tmp_path / "data", 7, row(literal, "0.png"))
    for name in ("llava_onevision", "qwen3_vl"):
        record, _ = run(data, tmp_path / f"run_{name}", build(name, tmp_path))
        assert record["seen"] == {"t": 8}
        assert not (tmp_path / f"run_{name}" / "errors.jsonl").exists()


def test_small_data_sets_are_trained_on_or_named(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", 20)
    for name, rows in (("most", 7), ("few", 2)):
        lines = [json.dumps(row(f"{name} {number}", f"{number}.png")) + "\n" for number in range(rows)]
        (data / "train" / f"{name}.jsonl").write_text("".join(lines))
    record, said = run(data, tmp_path / "run", "nano", max_steps=-1, epochs=1)
    assert record["steps"] == 3
    assert record["seen"] == {"most": 7, "t": 16}
    assert "few: 2 rows do not fill a batch of 8; it is not trained on" in said
    assert "most: 7 rows do not fill a batch of 8; each epoch has one batch of it" in said
    assert "rows never drawn in 3 steps of whole batches: few 2 of 2, t 4 of 20" in said
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| most | 7 |" in card
    assert "| few |" not in card


def test_texts_that_are_cut_are_counted(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", 7, row("many words " * 300, "0.png"))
    for workers in (0, 1):
        record, said = run(data, tmp_path / f"run{workers}", "nano", workers=workers)
        assert record["texts_cut"] == 2
        assert "2 texts were longer than the 256 tokens that the model reads, and were cut" in said


def test_prompts_of_a_recipe_go_with_the_model(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", 16)
    record, _ = run(data, tmp_path / "run", "nano", datasets={"t": DataSetConfig(query_prompt=PROMPT)})
    model = load_model(tmp_path / "run", device="cpu")
    assert model.prompts == {"query": PROMPT, "document": ""}
    assert model.default_prompt_name is None
    assert record["prompts"]["query"] == PROMPT
    assert f"| query | `{PROMPT}` |" in (tmp_path / "run" / "README.md").read_text()
    (data / "train" / "u.jsonl").write_text((data / "train" / "t.jsonl").read_text())
    two = {"t": DataSetConfig(query_prompt=PROMPT), "u": DataSetConfig(target_prompt="a ")}
    run(data, tmp_path / "two", "nano", datasets=two)
    prompts = load_model(tmp_path / "two", device="cpu").prompts
    assert {name: text for name, text in prompts.items() if text} == {"t/query": PROMPT, "u/document": "a "}
    assert {"u/query", "t/document"} <= set(prompts)


@pytest.mark.parametrize("prompt", [None, "", "other: "], ids=str)
def test_the_default_prompt_of_a_base_counts(tmp_path: Path, prompt: str | None) -> None:
    from llave.training.prepare import prepare

    base = load_model("nano", device="cpu")
    base.prompts, base.default_prompt_name = {"query": PROMPT}, "query"
    base.save(str(tmp_path / "base"))
    data = make_folder(tmp_path / "data", 9)
    settings = {"t": DataSetConfig(query_prompt=prompt, target_prompt=prompt)}
    config = TrainConfig(
        data=data, output=tmp_path / "run", model=str(tmp_path / "base"), datasets=settings, batch_size=8, max_steps=1
    )
    prepared = prepare(config, Console(quiet=True), "test")
    batch = prepared.trainer.data_collator([{"row": 3}])
    used = PROMPT if prompt is None else prompt
    expected = prepared.model.preprocess(["find number 3"], prompt=used)["input_ids"]
    assert batch["query_input_ids"].tolist() == expected.tolist()
    assert prepared.model.default_prompt_name == ("query" if prompt is None else None)
    if prompt is None:
        assert prepared.model.encode("find number 3") == pytest.approx(
            prepared.model.encode("find number 3", prompt=PROMPT)
        )


def test_other_data_is_not_gone_on_with(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", 16)
    run(data, tmp_path / "run", "nano", save_steps=1, max_steps=1)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "status": "running"}))
    make_folder(data, 15, row("new", "0.png"))
    with pytest.raises(UserError, match=r"the data has changed since this run began: t \(16 rows then, 16 now\)"):
        run(data, tmp_path / "run", "nano", save_steps=1, max_steps=1)
