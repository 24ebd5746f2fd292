"""Which kind of collection a path names."""

from pathlib import Path

from llave.collection.collection import Collection, Columns
from llave.collection.folder import FolderCollection
from llave.collection.table import TableCollection
from llave.collection.tar import TarCollection, tar_files
from llave.data.tables import TABLE_SUFFIXES, is_table
from llave.errors import UserError
from llave.storage.location import Location, ObjectPath, location

__all__ = ["open_collection"]


def open_collection(path: str | Location, columns: Columns | None = None, *, sounds: bool = True) -> Collection:
    """The collection at a path.

    Args:
        path: a folder, a table (.parquet, .jsonl, .json, .csv, .tsv), or tar archives (a .tar file or a glob of them);
            of this machine or in object storage.
        columns: of a table.
        sounds: make items of them; else they are left out and counted, for a model that takes none.

    Raises:
        UserError: nothing there, or none of these.
    """
    columns = columns or Columns()
    path = location(path)
    if tars := tar_files(path):
        return TarCollection(tars, sounds=sounds)
    if isinstance(path, ObjectPath):
        from llave.collection.remote import RemoteFolder, RemoteTable  # with what fetches: no other collection needs it

        if is_table(Path(path.name)) and path.is_file():
            return RemoteTable(path, columns, sounds=sounds)
        if not path.is_dir():
            raise UserError(f"{path}: nothing there")
        return RemoteFolder(path, sounds=sounds)
    if path.is_dir():
        return FolderCollection(path, sounds=sounds)
    if not path.exists():
        raise UserError(f"{path}: no such folder or file")
    if is_table(path):
        return TableCollection(path, columns, sounds=sounds)
    raise UserError(f"{path}: not a folder, a table ({', '.join(TABLE_SUFFIXES)}) or a .tar archive")
