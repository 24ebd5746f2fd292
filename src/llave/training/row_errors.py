"""Rows that turn out to be broken while a run goes on: one line each in ``errors.jsonl``."""

import json
import os
from pathlib import Path

__all__ = ["RowErrors", "read_row_errors"]


class RowErrors:
    """Appends to a file, from any number of processes: a line is one write to a file opened for appending.

    Args:
        path: of the file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: set[tuple[str, int]] = set()

    def report(self, file: str, row: int, reason: str) -> None:
        """Note a row, once per process."""
        if (file, row) in self._seen:
            return
        self._seen.add((file, row))
        line = json.dumps({"file": file, "row": row, "reason": reason}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def read_row_errors(path: Path) -> dict[tuple[str, int], str]:
    """Reason by (file, row); several processes may have noted the same."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return {(record["file"], record["row"]): record["reason"] for record in records}
