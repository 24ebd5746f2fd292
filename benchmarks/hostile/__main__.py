"""Every attack on `llave serve`, beside honest clients: the table of docs/serving.md.

    python -m benchmarks.hostile [MODEL] [--seconds 10] [--only NAME …] [--out FILE]
    python -m benchmarks.hostile --show FILE      # the table of what was written

Exits with 1 if an honest answer was lost or wrong, or the server did not end on SIGTERM.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.siege import INDEX_GOES, besieged
from benchmarks.hostile.table import hostile_sheet
from benchmarks.provenance import provenance
from llave.terminal import quiet_libraries

NAMES = [*ATTACKS, INDEX_GOES]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="nano")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path)
    options = parser.parse_args()
    if options.show:
        sys.stdout.write(hostile_sheet(json.loads(options.show.read_text())).markdown())
        return 0
    quiet_libraries()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, besieged(Path(folder), options.model) as siege:
        for name in options.only:
            outcomes.append(siege.attack(name, options.seconds))
            sys.stderr.write(f"{outcomes[-1]}\n")
        start = time.monotonic()
        siege.server.send_signal(signal.SIGTERM)
        try:
            code: int | None = siege.server.wait(70)
        except subprocess.TimeoutExpired:
            code = None
        ended = round(time.monotonic() - start, 1)
    report = {**provenance(), "seconds": options.seconds, "ended_s": ended, "exit_code": code}
    report["attacks"] = [asdict(outcome) for outcome in outcomes]
    text = json.dumps(report, indent=1) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text)
    return 1 if code != 0 or any(outcome.lost or outcome.wrong for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
