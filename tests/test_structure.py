"""Imports point one way between the rooms of the package, its public names are known, and no file grows too long."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llave

SOURCE = Path(llave.__file__).parent
MAX_LINES = 350

PUBLIC = {
    "Encoder",
    "HardnessWeightedLoss",
    "Index",
    "Item",
    "Refused",
    "build_index",
    "evaluate",
    "hardness_weighted_loss",
    "load_model",
}

BASE = {"_version", "errors", "files", "progress", "storage", "terminal"}
INPUT = {*BASE, "data", "models"}
ENCODED = {*INPUT, "encode"}
ROOMS: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "terminal": set(),
    "storage": {"errors"},
    "files": {"storage"},
    "progress": set(),
    "recipes": {"errors"},
    "data": BASE,
    "models": {*BASE, "data"},
    "losses": INPUT,
    "encode": INPUT,
    "collection": ENCODED,
    "sample": {*BASE, "data"},
    "evaluation": {*ENCODED, "collection"},
    "report": {*ENCODED, "evaluation"},
    "training": {*ENCODED, "losses", "evaluation"},
    "fit": {*ENCODED, "recipes", "collection", "evaluation", "training", "report"},
    "mining": {*ENCODED, "training"},
    "ablation": {*ENCODED, "recipes", "training", "evaluation", "report"},
    "sorting": {*ENCODED, "collection", "evaluation"},
    "search": {*ENCODED, "collection", "report", "bulk", "sorting"},
    "rerank": {*ENCODED, "collection", "search", "losses", "evaluation", "report", "training", "mining"},
    "bulk": {*ENCODED, "collection"},
    "serving": {*ENCODED, "search", "rerank"},
    "quickstart": {*ENCODED, "sample", "evaluation", "training", "report", "search"},
    "__init__": {*ENCODED, "losses", "evaluation", "search"},
}
"""What each room, a folder or a file of the package, may import from; the command line, from all."""

BARE = {
    "losses/functional.py": {"numpy", "scipy", "torch", "triton"},
    "evaluation/metrics.py": {"numpy", "scipy", "torch"},
    "evaluation/statistics.py": {"numpy", "scipy", "torch"},
}
"""Files that need nothing but these, and what they import from their own room no more than they."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of what a file imports: at its top, in functions, and for types alone."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def room(name: str) -> str:
    """``llave.data.images.load_image`` is of ``data``; a name that ``llave`` itself has is of ``__init__``."""
    part = name.split(".")[1] if "." in name else "__init__"
    return part if (SOURCE / part).is_dir() or (SOURCE / f"{part}.py").is_file() else "__init__"


def files() -> list[str]:
    return sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def there() -> set[str]:
    return {file.split("/")[0].removesuffix(".py") for file in files()} - {"__main__"}  # which calls cli, as a script


def test_the_order_of_rooms_has_no_circle() -> None:
    order = list(graphlib.TopologicalSorter(ROOMS).static_order())
    assert set(order) == set(ROOMS)
    assert there() - set(ROOMS) == {"cli"}, "a new room: say in ROOMS what it may import"


@pytest.mark.parametrize("name", sorted(there() & set(ROOMS)))
def test_rooms_import_what_they_may(name: str) -> None:
    of_room = [file for file in files() if file.split("/")[0] in {name, f"{name}.py"}]
    assert of_room
    wrong = [
        f"{file}:{line} imports {imported}"
        for file in of_room
        for line, imported in imports(SOURCE / file)
        if imported.split(".")[0] == "llave" and room(imported) not in {name, *ROOMS[name]}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("file", BARE)
def test_files_that_stand_alone(file: str) -> None:
    todo, seen = [SOURCE / file], set()
    while todo:
        path = todo.pop()
        seen.add(path)
        for line, name in imports(path):
            top = name.split(".")[0]
            if top == "llave":
                inner = SOURCE.joinpath(*name.split(".")[1:-1]).with_suffix(".py")
                assert inner.is_file(), f"{path}:{line}: {name}"
                assert inner.parent == path.parent, f"{path}:{line} leaves its room: {name}"
                todo += [inner] if inner not in seen else []
            else:
                assert top in BARE[file] | sys.stdlib_module_names, f"{path}:{line}: {name}"


def test_public_names() -> None:
    assert set(llave.__all__) == PUBLIC | {"__version__"}
    for name in llave.__all__:
        assert getattr(llave, name) is not None


def test_no_file_is_too_long() -> None:
    lines = {file: len((SOURCE / file).read_text("utf-8").splitlines()) for file in files()}
    assert {file: count for file, count in lines.items() if count > MAX_LINES} == {}
