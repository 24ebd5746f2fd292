"""The hub's cache and folders of `hf download`, as they lie."""

import os
from pathlib import Path

import pytest

from llave.data.hub_cache import copy_of, hub_snapshot, revision_of

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two commits of a data set, the file a link to a blob; ``main`` is the older one."""
    home = tmp_path / "hub" / "datasets--O--N"
    (home / "blobs").mkdir(parents=True)
    (home / "blobs" / "123").write_text("{}")
    for commit, seconds in ((OLD, 1), (NEW, 2)):
        folder = home / "snapshots" / commit / "data"
        folder.mkdir(parents=True)
        (folder / "x.json").symlink_to(Path("../../../blobs/123"))
        os.utime(folder.parent, (seconds, seconds))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(OLD)
    return tmp_path / "hub"


def test_main_then_the_newest(cache: Path) -> None:
    snapshots = cache / "datasets--O--N" / "snapshots"
    assert hub_snapshot("O/N", cache) == snapshots / OLD
    (cache / "datasets--O--N" / "refs" / "main").write_text("c" * 40)  # of which nothing was downloaded
    assert hub_snapshot("O/N", cache) == snapshots / NEW
    assert hub_snapshot("O/other", cache) is None


def test_a_copy_is_found_by_every_name_of_its_folder(cache: Path, tmp_path: Path) -> None:
    snapshot = cache / "datasets--O--N" / "snapshots" / OLD
    assert [copy_of("O/N", folder) for folder in (cache, tmp_path, cache / "datasets--O--N")] == [snapshot] * 3
    (tmp_path / "O" / "N").mkdir(parents=True)
    assert copy_of("O/N", tmp_path) == tmp_path / "O" / "N"


def test_the_commit_of_a_file_and_of_a_folder(cache: Path, tmp_path: Path) -> None:
    snapshot = cache / "datasets--O--N" / "snapshots" / NEW
    assert revision_of(snapshot / "data" / "x.json") == revision_of(snapshot) == NEW
    local = tmp_path / "local"
    (local / "data").mkdir(parents=True)
    (local / "data" / "x.json").write_text("{}")
    assert revision_of(local / "data" / "x.json") is None
    about = local / ".cache" / "huggingface" / "download" / "data"
    about.mkdir(parents=True)
    (about / "x.json.metadata").write_text(f"{OLD}\netag\n1.0\n")
    assert revision_of(local / "data" / "x.json") == revision_of(local / "data") == revision_of(local) == OLD
    assert revision_of(tmp_path) is None
