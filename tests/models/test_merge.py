"""The mean of models: its numbers, what stays, and what is said of models that do not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from llave import load_model
from llave.cli.main import main
from llave.errors import UserError
from llave.models.merge import merge

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three nano models whose projectors differ."""
    folder = tmp_path_factory.mktemp("parts")
    model = load_model("nano", device="cpu")
    made = []
    for number, name in enumerate("abc"):
        with torch.no_grad():
            model[0].model.projector[0].weight.add_(0.1 * number)
        model.save_pretrained(str(folder / name))
        (folder / name / "run.json").write_text(json.dumps({"seed": number}))
        made.append(folder / name)
    return made


def test_the_mean_opens_as_a_model(
    parts: list[Path], tmp_path: Path, picture: Callable[[int], Image.Image], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mean"
    assert main(["merge", *map(str, parts), "--out", str(out), "--weights", "[2, 1, 1]"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    states = [load_file(part / WEIGHTS) for part in parts]
    mean = load_file(out / WEIGHTS)
    assert mean.keys() == states[0].keys()
    name = next(key for key in mean if key.endswith("projector.0.weight"))
    expected = sum(share * state[name].double() for share, state in zip((0.5, 0.25, 0.25), states, strict=True))
    assert torch.equal(mean[name], torch.as_tensor(expected).float())
    assert all(torch.equal(value, states[0][key]) for key, value in mean.items() if key != name)
    assert load_model(out, device="cpu").encode([picture(1), "a text"]).shape == (2, 384)
    record = json.loads((out / "merge.json").read_text())
    assert [(part["model"], part["weight"]) for part in record["parts"]] == list(
        zip(map(str, parts), (0.5, 0.25, 0.25), strict=True)
    )
    card = (out / "README.md").read_text()
    assert all(f"| {part} | " in card for part in parts)
    assert not (out / "run.json").exists()


def test_models_that_do_not_fit_say_why(parts: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(parts[1], other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "transformers_version": "0", "projector_layers": 7}))
    state = load_file(other / WEIGHTS)
    name = next(key for key in state if key.endswith("projector.0.weight"))
    state["extra"] = state[name].clone()
    state[name] = state[name][:, :3].contiguous()
    save_file(state, other / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(UserError, match="are not of one shape") as caught:
        merge([parts[0], other], tmp_path / "out")
    said = str(caught.value)
    assert "config.json: projector_layers is None and 7" in said
    assert "the tensor extra is in one of them" in said
    assert f"{name} is (" in said
    assert "transformers_version" not in said
    assert not (tmp_path / "out").exists()


def test_bad_requests_are_named(parts: list[Path], tmp_path: Path) -> None:
    for models, weights, message in (
        (parts[:1], None, "two models at least, got 1"),
        (parts, [1.0], "3 models need as many weights, got 1"),
        (parts, [1.0, -1.0, 1.0], "weights must be at least 0 and not all 0"),
        ([parts[0], tmp_path], None, "no model directory"),
    ):
        with pytest.raises(UserError, match=message):
            merge(models, tmp_path / "out", weights=weights)
    with pytest.raises(UserError, match="is not empty"):
        merge(parts, parts[0])
