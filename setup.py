"""Builds the web page into the package, so that a wheel needs no Node; all else is in pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BUILDER = Path(__file__).resolve().parent / "web" / "build.py"


class BuildPage(build_py):
    """``build_py`` that first builds the page, if its source is here and newer."""

    def run(self) -> None:
        if BUILDER.is_file() and subprocess.run([sys.executable, BUILDER, "--if-stale"]).returncode != 0:
            if not self.editable_mode:
                raise SystemExit("llave: the web page cannot be built")
            # Everything but the page works without it, and the server says what to do.
            sys.stderr.write("llave: the web page is not built; try: make web\n")
        # The names of its files change with their content, and setuptools keeps what it copied for the wheel before.
        shutil.rmtree(Path(self.build_lib) / "llave" / "serving" / "static", ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": BuildPage})
