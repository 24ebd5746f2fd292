"""Benchmarks by name or by folder."""

from pathlib import Path

from llave.errors import UserError
from llave.evaluation.benchmarks.folder import folder_benchmark
from llave.evaluation.benchmarks.mmeb import mmeb_benchmark
from llave.evaluation.benchmarks.task import Benchmark, Task

__all__ = ["Benchmark", "Task", "get_benchmark"]


def get_benchmark(name_or_path: str | Path, *, root: str | Path | None = None) -> Benchmark:
    """The benchmark of a name (``"mmeb"``) or of a folder in MMEB's format.

    Args:
        name_or_path: ``"mmeb"``, or a folder with ``eval/NAME.parquet``, ``images/`` and an optional
            ``benchmark.json``.
        root: where MMEB's data lies; the variable ``LLAVE_MMEB`` otherwise.

    Raises:
        UserError: an unknown name.
        DataError: missing or malformed data.
    """
    name = str(name_or_path)
    if name == "mmeb":
        return mmeb_benchmark(root)
    if name == "mmeb-v2":
        raise UserError("the benchmark mmeb-v2 is not there yet; there are: mmeb, or a folder in MMEB's format")
    if not Path(name).is_dir():
        raise UserError(f"{name}: neither a benchmark (mmeb) nor a folder in MMEB's format")
    return folder_benchmark(Path(name))
