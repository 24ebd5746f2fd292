"""``llave completion``: what the shell's TAB key needs, printed once as a script."""

import contextlib
import importlib
import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llave.cli.parsing import parse

__all__ = ["CompletionConfig", "run"]

_OPTION = re.compile(r"^\s+(?:-h, )?(--[a-z][\w.]*)", re.MULTILINE)

_BASH = """\
_llave() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} path=llave i options
    for ((i = 1; i < COMP_CWORD && i < 3; i++)); do
        [[ ${{COMP_WORDS[i]}} == -* ]] && break
        path+=" ${{COMP_WORDS[i]}}"
    done
    while :; do
        case $path in
{cases}
            *) path=${{path% *}}; continue ;;
        esac
        break
    done
    COMPREPLY=($(compgen -W "$options" -- "$word"))
}}
complete -o bashdefault -o default -F _llave llave
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


@dataclass(frozen=True, kw_only=True)
class CompletionConfig:
    """A completion script.

    Args:
        shell: bash or zsh.
    """

    shell: Literal["bash", "zsh"] = "bash"


def run(argv: list[str]) -> int:
    """Print the script."""
    config = parse(
        CompletionConfig,
        argv,
        command="completion",
        description="A script that makes TAB complete llave's commands, options and files. Put into ~/.bashrc or "
        '~/.zshrc: source <(llave completion bash), or zsh. Example: eval "$(llave completion bash)"',
        positional=("shell",),
    )
    cases = "\n".join(f'            "{path}") options="{" ".join(words)}" ;;' for path, words in _words().items())
    sys.stdout.write((_ZSH if config.shell == "zsh" else "") + _BASH.format(cases=cases))
    return 0


def _words() -> dict[str, list[str]]:
    """What may follow a command, read from its own help: ``{"llave data": ["sample", …]}``."""
    from llave.cli.main import COMMANDS

    found = {"llave": [*COMMANDS, "--help", "--version"]}
    for name in COMMANDS:
        module = importlib.import_module(f"llave.cli.{name}")
        below = list(getattr(module, "COMMANDS", ()))
        found[f"llave {name}"] = [*below, *_options(module.run, [])]
        found |= {f"llave {name} {word}": _options(module.run, [word]) for word in below}
    return found


def _options(run: Callable[[list[str]], int], words: list[str]) -> list[str]:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        run([*words, "--help"])
    return list(dict.fromkeys(_OPTION.findall(shown.getvalue())))
