"""What ``hf download`` has left on this machine, and of which commit it is. Nothing here asks the network.

The hub's cache holds ``datasets--OWNER--NAME/snapshots/COMMIT/…``, links to blobs; ``--local-dir DIR`` holds the files
themselves, and a line about each under ``DIR/.cache/huggingface``.
"""

from pathlib import Path

__all__ = ["copy_of", "hub_snapshot", "revision_of"]

METADATA = Path(".cache") / "huggingface" / "download"


def hub_snapshot(repository: str, cache: Path | None = None) -> Path | None:
    """The files of a data set in the hub's cache: those of ``main``, or of the commit that came last; None if none are.

    Args:
        repository: ``OWNER/NAME``.
        cache: another cache than ``$HF_HUB_CACHE`` or ``$HF_HOME/hub``.
    """
    from huggingface_hub import constants

    home = (cache or Path(constants.HF_HUB_CACHE)) / f"datasets--{repository.replace('/', '--')}"
    main = home / "refs" / "main"
    if main.is_file():
        snapshot = home / "snapshots" / main.read_text("utf-8").strip()
        if snapshot.is_dir():
            return snapshot
    found = [path for path in (home / "snapshots").glob("*") if path.is_dir()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def copy_of(repository: str, folder: Path) -> Path:
    """Where a folder holds a copy of a repository: as ``OWNER/NAME``, or as a cache of the hub does."""
    if not (folder / repository).is_dir():
        for cache in (folder, folder / "hub", *folder.parents[:3]):
            snapshot = hub_snapshot(repository, cache)
            if snapshot is not None and snapshot.is_relative_to(folder):
                return snapshot
    return folder / repository


def revision_of(path: Path) -> str | None:
    """The hub's commit that a downloaded file, or a folder of such, is of; None where nothing tells."""
    for folder in (path, *path.parents):
        if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("datasets--"):
            return folder.name
        about = folder / METADATA / path.relative_to(folder)
        lines = [about.with_name(f"{about.name}.metadata")] if path.is_file() else sorted(about.rglob("*.metadata"))
        if lines and lines[0].is_file():
            return lines[0].read_text("utf-8").partition("\n")[0].strip() or None
    return None
