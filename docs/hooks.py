"""What the site has besides docs/: the README as its first page, every command's help, and the public names."""

import contextlib
import importlib
import io
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import llave
from llave.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    readme = (ROOT / "README.md").read_text("utf-8").replace("](docs/", "](")
    for name, text in (("index.md", readme), ("commands.md", commands()), ("reference.md", reference())):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Files of the repository that are not of the site are named, not linked."""

    def replaced(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        inside = files.get_file_from_path(os.path.normpath(target.partition("#")[0])) is not None
        if picture or inside or target.startswith(("http", "#", "mailto:")):
            return link[0]
        path = os.path.normpath(Path("docs") / target) if page.file.src_uri != "index.md" else target
        if not (ROOT / path.partition("#")[0]).exists():
            return link[0]  # mkdocs tells of it
        return f"`{path}`" if text in (path, target, f"`{path}`") else f"{text} (`{path}`)"

    return _LINK.sub(replaced, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Sphinx's roles in docstrings are names, here."""
    return re.sub(r":(?:func|class|meth|mod|data|attr):<code>~?", "<code>", html)


def commands() -> str:
    """The help of every command, as it prints it."""
    os.environ["COLUMNS"] = "100"
    parts = ["# Commands\n\nWhat `llave COMMAND --help` prints.\n"]
    for name, about in COMMANDS.items():
        module = importlib.import_module(f"llave.cli.{name}")
        parts.append(f"## llave {name}\n\n{about[0].upper()}{about[1:]}.\n\n{_help(module, [])}")
        parts += [f"### llave {name} {word}\n\n{_help(module, [word])}" for word in getattr(module, "COMMANDS", ())]
    return "\n".join(parts)


def reference() -> str:
    """The public names of ``llave``, from their docstrings."""
    homes = vars(llave)["_HOMES"]
    names = [name for name in llave.__all__ if name in homes]
    return "# Classes and functions\n\n" + "\n".join(f"::: {homes[name]}.{name}\n" for name in names)


def _help(module: Any, words: list[str]) -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        module.run([*words, "--help"])
    return f"```text\n{shown.getvalue().strip()}\n```\n"
