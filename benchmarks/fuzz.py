"""Mutation fuzz: broken files of every format through the door that reads it.

    nice python -m benchmarks.fuzz --out benchmarks/results/fuzz.json

A mutation is a function of the seed, the format and its number. A file may be taken, or refused with one line that
names it. Anything else is a finding: another exception, a process that dies or is busy for longer than a limit, memory
that stays. Each format runs in a process of its own, so that a crash costs one file and is seen. A run that was stopped
goes on where it was.
"""

import argparse
import json
import logging
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fuzz_formats import FORMATS, SECONDS
from benchmarks.provenance import provenance
from llave.errors import UserError
from llave.files import write_json

__all__ = ["Outcome", "fuzz", "mutation"]

TOO_LONG = 60.0
"""Seconds until the process is killed: the door's own limits, and a machine that does something else too."""
HONEST = 500
"""Mutations between two whole files, which must be taken: a decoder that died was replaced."""
GROWTH = 256
"""MiB that may stay in a process between its first honest file and its last."""
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 0x1000000)
CHANGES = ("bits",) * 6 + ("bytes",) * 3 + ("number",) * 5 + ("remove", "copy", "word") * 2 + ("cut", "splice")
Outcome = tuple[str, str]
"""``"taken"``, ``"refused"`` or ``"finding"``, and what was said."""


def mutation(name: str, seeds: list[bytes], number: int, seed: int = 0) -> bytes:
    """A file of this format that was changed in one to four places."""
    form = FORMATS[name]
    chance = random.Random(f"{seed} {name} {number}")
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        _change(data, chance, seeds, form.words)
    if form.repaired is not None and chance.random() < 0.7:
        return form.repaired(bytes(data))
    return bytes(data)


def _change(data: bytearray, chance: random.Random, seeds: list[bytes], words: Any) -> None:
    first, last = chance.choice(((0, len(data)), (0, len(data)), (0, 200), (len(data) - 400, len(data))))
    first, last = max(first, 0), min(last, len(data))  # the structure is at the beginning, or at the end
    at = chance.randint(first, last)
    size = min(chance.choice((1, 2, 4, 8, 16, 64, 500)), max(len(data) - at, 1))
    match chance.choice(CHANGES):
        case "bits":
            for _ in range(min(size, len(data))):
                place = chance.randrange(first, last)
                data[place] ^= 1 << chance.randrange(8)
        case "bytes":
            data[at : at + size] = chance.randbytes(size)
        case "number":
            width = chance.choice((1, 2, 4, 8))
            value = chance.choice((*NUMBERS, chance.randrange(256), len(data))) % (1 << 8 * width)
            data[at : at + width] = value.to_bytes(width, chance.choice(("big", "little")))
        case "remove":
            del data[at : at + size]
        case "copy":
            where = chance.randrange(len(data) + 1)
            data[where:where] = data[at : at + size] * chance.choice((1, 1, 2, 50))
        case "cut":
            del data[at:]
        case "splice":
            other = chance.choice(seeds)
            data[at:] = other[chance.randrange(len(other)) :]
        case "word" if words:
            data[at:at] = chance.choice(words)
    if not data:
        data.append(chance.randrange(256))


def fuzz(name: str, start: int, stop: int, seed: int = 0) -> Iterator[Outcome]:
    """What becomes of mutations ``start`` to ``stop - 1``, in this process."""
    form = FORMATS[name]
    seeds = list(form.seeds())
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        folder = Path(place)
        for whole in seeds:
            said = _through(name, whole, folder, "whole")
            if said[0] != "taken":
                raise AssertionError(f"a whole {name} is {said[0]}: {said[1]}")
        for number in range(start, stop):
            outcome = _through(name, mutation(name, seeds, number, seed), folder, str(number))
            if outcome[0] != "finding" and number % HONEST == 0:
                said = _through(name, seeds[number % len(seeds)], folder, "whole")
                if said[0] != "taken":
                    outcome = "finding", f"a whole file after it is {said[0]}: {said[1]}"
            yield outcome


def _through(name: str, data: bytes, folder: Path, stem: str) -> Outcome:
    path = folder / f"{stem}{FORMATS[name].suffix}"
    path.write_bytes(data)
    try:
        FORMATS[name].door(data, path)
    except UserError as error:
        reason = str(error)
        if "\n" in reason or len(reason) > 1000:
            return "finding", f"not one line: {reason[:2000]!r}"
        if path.name not in reason and f"{len(data)} bytes" not in reason:
            return "finding", f"does not name its file: {reason}"
        return "refused", reason
    except Exception as error:
        return "finding", f"{type(error).__name__}: {error}"[:500]
    finally:
        path.unlink()
        for left in folder.iterdir():
            shutil.rmtree(left)
    return "taken", ""


@dataclass(slots=True)
class Tally:
    """Of one format, so far."""

    mutations: int = 0
    refused: int = 0
    taken: int = 0
    late: int = 0
    """Of those refused: at a time limit."""
    ended: int = 0
    """Of those refused: their decoder's process ended, which is another one's than ours."""
    seconds: float = 0.0
    longest: float = 0.0
    grown_mib: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: Outcome, seconds: float) -> None:
        kind, said = outcome
        if kind == "finding":
            self.findings.append({"number": self.mutations, "said": said})
        else:
            self.refused += kind == "refused"
            self.taken += kind == "taken"
            self.late += "s of decoding, the limit" in said
            self.ended += "its decoder ended the process" in said
        self.mutations += 1
        self.seconds = round(self.seconds + seconds, 3)
        self.longest = round(max(self.longest, seconds), 3)


def _child(name: str, start: int, stop: int, seed: int, pipe: Connection) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    process, before = psutil.Process(), 0
    for count, outcome in enumerate(fuzz(name, start, stop, seed)):
        if count % HONEST == 0:
            now = sum(each.memory_info().rss for each in (process, *process.children()) if each.is_running())
            before = before or now
            pipe.send((outcome, (now - before) >> 20))
        else:
            pipe.send((outcome, None))


def _follow(name: str, stop: int, seed: int, tally: Tally) -> Iterator[None]:
    """One process after the other, until all is done; yields now and then."""
    context = multiprocessing.get_context("spawn")
    while tally.mutations < stop:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(name, tally.mutations, stop, seed, theirs))
        process.start()
        theirs.close()
        try:
            last = None
            while tally.mutations < stop and ours.poll(TOO_LONG):
                outcome, grown = ours.recv()
                now = time.monotonic()
                tally.add(outcome, 0.0 if last is None else now - last)
                last = now
                if grown is not None:
                    tally.grown_mib = max(tally.grown_mib, grown)
                    yield
            if tally.mutations < stop:
                process.kill()
                tally.add(("finding", f"more than {TOO_LONG:g} s"), TOO_LONG)
        except EOFError:
            process.join()
            if process.exitcode == 1:
                raise SystemExit(f"{name}: see the traceback above") from None
            tally.add(("finding", f"the process ended (exit {process.exitcode})"), 0.0)
        process.join()
    if tally.grown_mib > GROWTH:
        tally.findings.append({"number": None, "said": f"{tally.grown_mib} MiB stayed in the process and its workers"})


def main() -> None:
    """Run what is not done yet, and write the results again and again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/fuzz.json"))
    parser.add_argument("--only", nargs="*", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--share", type=float, default=1.0, help="of the mutations of a whole run")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    about: dict[str, Any] = {**provenance(), "seed": given.seed, "seconds_per_file": SECONDS}
    known = json.loads(given.out.read_text()) if given.out.is_file() else {"formats": {}}
    if known["formats"] and known["seed"] != given.seed:
        raise SystemExit(f"{given.out}: of another seed; choose another --out")
    tallies = {name: Tally(**entry) for name, entry in known["formats"].items()}
    for name in given.only:
        tally = tallies.setdefault(name, Tally())
        for _ in _follow(name, int(FORMATS[name].mutations * given.share), given.seed, tally):
            _write(given.out, about, tallies)
        _write(given.out, about, tallies)
        sys.stdout.write(f"{name}: {tally.mutations:,} in {tally.seconds:.0f} s, {len(tally.findings)} findings\n")
        sys.stdout.flush()


def _write(path: Path, about: dict[str, Any], tallies: dict[str, Tally]) -> None:
    total = Counter[str]()
    for tally in tallies.values():
        total.update(mutations=tally.mutations, refused=tally.refused, taken=tally.taken, findings=len(tally.findings))
    formats = {name: asdict(tally) for name, tally in tallies.items()}
    write_json(path, {**about, "total": dict(total), "formats": formats}, indent=1)


if __name__ == "__main__":
    main()
