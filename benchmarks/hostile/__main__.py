"""Every attack on `llave serve`, beside honest clients: the table of docs/serving.md.

    python -m benchmarks.hostile [MODEL] [--seconds 10] [--only NAME …] [--out FILE]

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
from benchmarks.hostile.siege import Siege, serving
from benchmarks.provenance import provenance
from llave import load_model
from llave.terminal import quiet_libraries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="nano")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    quiet_libraries()
    model, outcomes = load_model(options.model), []
    with tempfile.TemporaryDirectory() as folder, serving(options.model, log=Path(folder) / "log") as (port, server):
        siege = Siege(port, server, model)
        for name in options.only:
            outcomes.append(siege.attack(name, options.seconds))
            sys.stderr.write(f"{outcomes[-1]}\n")
        start = time.monotonic()
        server.send_signal(signal.SIGTERM)
        try:
            code: int | None = server.wait(70)
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
