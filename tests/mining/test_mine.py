"""`llave data mine` end to end, on coloured shapes, and training on what it writes."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from llave.cli.main import main
from llave.data.check import check_folder
from llave.data.mmeb import MMEBFolder
from llave.errors import UserError
from llave.mining.config import MineConfig
from llave.mining.run import mine
from llave.training.config import DataSetConfig, TrainConfig
from llave.training.run import train
from tests.shapes import make_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"))


def config(data: Path, tmp_path: Path, **changes: Any) -> MineConfig:
    return MineConfig(model="nano", data=data, out=tmp_path / "out", cache=tmp_path / "cache", device="cpu", **changes)


def test_mine_and_train_on_it(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--negatives", "2", "--relative_margin", "null", "--cache", str(tmp_path / "cache"), "--device", "cpu"]
    out = tmp_path / "out"
    assert main(["data", "mine", "nano", str(data), "--out", str(out), *options]) == 0
    assert "t2i: 32 negatives for 16 rows; 0 rows without" in capsys.readouterr().out
    folder = MMEBFolder(out)
    rows = folder.train("t2i")
    assert len(rows) == 32
    for row in rows:
        assert row.negative is not None
        assert row.negative != row.positive
        path = folder.image(row.negative)
        assert path is not None
        assert path.is_file()
    assert {row.query for row in rows} == {row.query for row in MMEBFolder(data).train("t2i")}
    assert (out / "images").is_symlink()
    assert check_folder(out, progress=False) == []
    trained = train(
        TrainConfig(
            data=out,
            output=tmp_path / "run",
            batch_size=8,
            max_steps=1,
            datasets={"t2i": DataSetConfig(hard_negatives=True)},
        )
    )
    assert (trained / "model.safetensors").is_file()


def test_margins_leave_out_what_is_too_like_the_positive(data: Path, tmp_path: Path) -> None:
    """The judge is the model itself: the same as the margin alone."""
    found = {}
    for name, changes in {
        "all": {"relative_margin": None},
        "margin": {"margin": 0.05},
        "judged": {"margin": 0.05, "judge": "nano"},
        "ranks": {"relative_margin": None, "min_rank": 3, "max_rank": 4},
    }.items():
        (tmp_path / name).mkdir()
        sets = mine(config(data, tmp_path / name, negatives=20, **changes), progress=False, console=Console(quiet=True))
        found[name] = {entry.name: entry for entry in sets}
    assert found["all"]["naming"].negatives == 16 * 15
    assert found["all"]["naming"].dropped == 0
    assert 0 < found["margin"]["naming"].dropped <= 16 * 15
    assert found["margin"]["naming"].dropped + found["margin"]["naming"].negatives == 16 * 15
    assert found["judged"] == found["margin"]
    assert found["ranks"]["naming"].negatives == 16


def test_goes_on_where_it_was_stopped(data: Path, tmp_path: Path) -> None:
    mine(config(data, tmp_path), progress=False, console=Console(quiet=True))
    out = tmp_path / "out"
    report = json.loads((out / "mine.json").read_text())
    assert [entry["name"] for entry in report["datasets"]] == ["naming", "t2i"]
    first = pq.read_table(out / "train" / "t2i.parquet")
    kept = (out / "train" / "naming.parquet").stat().st_mtime_ns
    report["datasets"].pop()  # killed before the second was noted
    (out / "mine.json").write_text(json.dumps(report))
    (out / "train" / "t2i.parquet").unlink()
    text = io.StringIO()
    mine(config(data, tmp_path), progress=False, console=Console(file=text, width=200))
    assert "naming: done already" in text.getvalue()
    assert "t2i" not in text.getvalue()
    assert (out / "train" / "naming.parquet").stat().st_mtime_ns == kept
    assert pq.read_table(out / "train" / "t2i.parquet") == first
    with pytest.raises(UserError, match="holds a search with another negatives"):
        mine(config(data, tmp_path, negatives=3), progress=False)
    with pytest.raises(UserError, match="not empty and not a folder of mined negatives"):
        mine(MineConfig(model="nano", data=data, out=data), progress=False)


def test_pictures_of_several_folders_and_of_the_table_itself(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    (data / "images").rename(data / "elsewhere")
    pictures = sorted((data / "elsewhere").iterdir())
    import pyarrow as pa

    table = [{"caption": path.stem, "image": {"bytes": path.read_bytes(), "path": None}} for path in pictures]
    pq.write_table(pa.Table.from_pylist(table), data / "own.parquet")
    columns = {"qry": "caption", "pos_image_path": "image"}
    sets = {
        "own": DataSetConfig(file="own.parquet", columns=columns),
        "t2i": DataSetConfig(file="train/t2i.json", images="elsewhere"),
    }
    mine(config(data, tmp_path, datasets=sets, relative_margin=None), progress=False, console=Console(quiet=True))
    folder = MMEBFolder(tmp_path / "out")
    for name in ("own", "t2i"):
        for row in folder.train(name):
            path = folder.image(row.negative) if row.negative is not None else None
            assert path is not None
            assert path.is_file()


def test_rows_that_cannot_be_used_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = make_folder(tmp_path / "data"), tmp_path / "out"
    rows = json.loads((data / "train" / "naming.json").read_text())
    for row in rows[2:4]:  # two of equal content
        row["qry_image_path"] = "broken.png"
    rows[5]["pos_text"] = ""
    (data / "train" / "naming.json").write_text(json.dumps(rows))
    (data / "images" / "broken.png").write_bytes(b"no picture")
    assert main(["data", "mine", "nano", str(data), "--out", str(out), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "2 rows unreadable, 1 left out" in shown.out
    assert f"rows that could not be used, and why: {out / 'errors.jsonl'}" in shown.err
    found = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert {(Path(line["file"]).name, line["row"]) for line in found} == {("naming.json", row) for row in (2, 3, 5)}
    assert all("broken.png" in line["reason"] for line in found if line["row"] != 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"negatives": 0}, "negatives and batch_size must be at least 1"),
        ({"min_rank": 5, "max_rank": 5}, "min_rank must be at least 0 and below max_rank"),
        ({"relative_margin": 1.5}, "relative_margin must be above 0"),
        ({"margin": -1.0}, "margin must be at least 0"),
        ({"judge": "nano", "relative_margin": None}, "judge: give margin or relative_margin"),
    ],
)
def test_mistakes(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config(tmp_path, tmp_path, **changes)
