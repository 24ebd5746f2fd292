"""A training run whose output is in object storage: it works in a folder of this machine, and uploads what it saves.

What is in the bucket is the run: another machine goes on from the newest checkpoint there. A checkpoint's
``trainer_state.json`` is uploaded last and removed first, so that one that has it is whole. Of several machines each
uploads what its own processes have saved of a checkpoint, parts of weights (FSDP) and states of random numbers.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from filelock import FileLock

from llave.data.cache import cache_directory
from llave.files import PREFIX, whole_file, write_json
from llave.storage.location import Found, ObjectPath
from llave.storage.locks import WRITE_LOCK, alone

__all__ = ["Mirror", "mirrored"]

STATE = "trainer_state.json"


@contextmanager
def mirrored(output: ObjectPath, *, anew: bool = False) -> Iterator["Mirror"]:
    """The folder of a run, with what the bucket has of it; at the end the bucket has what the folder has.

    Args:
        output: in the bucket; one run at a time writes there.
        anew: forget what is there.

    Raises:
        UserError: another process writes there, or the bucket cannot be read or written.
    """
    first = os.environ.get("RANK", "0") == "0"  # of all processes, says torchrun
    parts = not first and os.environ.get("LOCAL_RANK", "0") == "0"
    kept = cache_directory() / "runs" / hashlib.sha256(str(output).encode()).hexdigest()[:32]
    kept.mkdir(parents=True, exist_ok=True)
    mirror = Mirror(output, kept / (output.name or output.bucket), kept / "uploaded.json", uploads=first, parts=parts)
    with ExitStack() as held:
        if first:
            held.enter_context(alone(output))
            if anew:
                mirror.forget()
        with FileLock(kept / "fetch.lock"):  # processes of one machine have one folder
            mirror.fetch()
        yield mirror
        mirror.push()


@dataclass
class Mirror:
    """A folder and what the bucket has of it.

    Args:
        output: in the bucket.
        folder: on this machine.
        record: file that remembers which content of the bucket each file of the folder has.
        uploads: of the first process of all alone.
        parts: of the first process of each other machine.
    """

    output: ObjectPath
    folder: Path
    record: Path
    uploads: bool = True
    parts: bool = False
    _same: dict[str, list[object]] = field(default_factory=dict)

    def fetch(self) -> None:
        """The folder becomes what the bucket has: of the checkpoints, the newest whole one."""
        self._same = json.loads(self.record.read_text("utf-8")) if self.record.is_file() else {}
        found = {each.key: each for each in self.output.files() if each.key != WRITE_LOCK}
        newest = _newest(found)
        wanted = {key: each for key, each in found.items() if (of := _checkpoint(key)) is None or of == newest}
        for key in self._local() - wanted.keys():
            (self.folder / key).unlink()
        for key, each in wanted.items():
            if self._same.get(key) != [each.tag, *self._stamp(key)]:
                with whole_file(self.folder / key) as partial, partial.open("wb") as file:
                    (self.output / key).copy_to(file)
                self._same[key] = [each.tag, *self._stamp(key)]
        write_json(self.record, self._same)

    def saved(self) -> None:
        """A checkpoint has been written, by every process its part: it is in the bucket, and then said to be."""
        _wait()
        if self.parts:
            self._push_parts()
        _wait()
        self.push()

    def _push_parts(self) -> None:
        """Of the newest checkpoint; older ones, which the first process alone keeps, go from this machine."""
        steps = {key: step for key in self._local() if (step := _checkpoint(key)) is not None}
        newest = max(steps.values(), default=None)
        for key in sorted(steps):
            if steps[key] != newest:
                (self.folder / key).unlink()
            elif self._same.get(key, [""])[1:] != (stamp := self._stamp(key)):
                (self.output / key).upload(self.folder / key)
                self._same[key] = ["", *stamp]  # whose tag is not known: fetched anew where it is wanted

    def push(self) -> None:
        """The bucket becomes what the folder has, but for what other machines have uploaded of its checkpoints."""
        if not self.uploads:
            return
        local = self._local()
        for key in sorted(local, key=lambda key: (PurePosixPath(key).name == STATE, key)):
            stamp = self._stamp(key)
            if self._same.get(key, [""])[1:] != stamp:
                (self.output / key).upload(self.folder / key)
                self._same[key] = ["", *stamp]
        found = {each.key: each for each in self.output.files() if each.key != WRITE_LOCK}
        steps = {_checkpoint(key) for key in local} - {None}
        gone = {key for key in found.keys() - local if _checkpoint(key) not in steps}
        for key in sorted(gone, key=lambda key: (PurePosixPath(key).name != STATE, key)):
            (self.output / key).unlink(missing_ok=True)
        self._same = {key: [found[key].tag, *self._same[key][1:]] for key in local if key in found}
        write_json(self.record, self._same)

    def forget(self) -> None:
        """Nothing of the run is in the bucket any more."""
        found = [each.key for each in self.output.files() if each.key != WRITE_LOCK]
        for key in sorted(found, key=lambda key: PurePosixPath(key).name != STATE):
            (self.output / key).unlink(missing_ok=True)

    def _local(self) -> set[str]:
        """Every file, but what is being written."""
        files = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return {path.as_posix() for path in files if not any(part.startswith(PREFIX) for part in path.parts)}

    def _stamp(self, key: str) -> list[object]:
        """Another one when the file has been written again."""
        file = self.folder / key
        if not file.is_file():
            return []
        about = file.stat()
        return [about.st_size, about.st_mtime_ns]


def _wait() -> None:
    """Until every process is here."""
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def _checkpoint(key: str) -> int | None:
    """The step of the checkpoint that a file belongs to."""
    parts = PurePosixPath(key).parts
    step = parts[1].removeprefix("checkpoint-") if len(parts) > 2 and parts[0] == "checkpoints" else ""
    return int(step) if step.isdigit() else None


def _newest(found: dict[str, Found]) -> int | None:
    """Of the checkpoints that are whole."""
    whole = [_checkpoint(key) for key in found if PurePosixPath(key).name == STATE]
    return max((step for step in whole if step is not None), default=None)
