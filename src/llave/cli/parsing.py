"""One way for every command to read its options: a dataclass, YAML and flags, errors in one line."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from jsonargparse.typing import register_type

from llave.errors import UserError
from llave.recipes import find_recipe
from llave.storage.location import ObjectPath, is_address, location

__all__ = ["as_argv", "parse"]

Config = TypeVar("Config")
PATTERN = frozenset("*?[{")
"""In a name of several files: ``shards-{000..011}.tar``."""
register_type(ObjectPath, serializer=str, deserializer=ObjectPath.parse)


def parse(
    config: type[Config],
    argv: list[str],
    *,
    command: str,
    description: str,
    positional: tuple[str, ...] = (),
    repeated: tuple[str, ...] = (),
    existing: Mapping[str, str] | None = None,
    fetched: tuple[str, ...] = (),
) -> Config:
    """An instance of the dataclass ``config`` from a command line.

    Args:
        config: keyword-only dataclass; its docstring's Args become the help.
        argv: the words after the command.
        positional: fields that may be given in this order without their ``--name``. The name ``"recipe"``
            stands for a YAML file of fields, or the name of one of llave's recipes. The last may end in "+": a list,
            which takes all further words.
        repeated: fields whose ``--name`` may be given more than once: a list, which takes each value.
        existing: fields that name a folder or file, and what is said where there is none: here, before anything is
            imported for it.
        fetched: fields that may be an address in object storage, and become the folder on this machine that it was
            fetched to.

    Raises:
        UserError: an unknown key or flag, or a bad value, named in one line; no such folder or file.
    """
    parser = ArgumentParser(prog=f"llave {command}", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--recipe", action="config", help="YAML file with any of the options below; flags win over it")
    parser.add_class_arguments(config, fail_untyped=True)
    try:
        parsed: Namespace = parser.parse_args(_found(_all_named(config, argv, command, positional, repeated)))
    except ArgumentError as error:
        raise UserError(f"llave {command}: {_one_line(str(error))}") from None
    parsed = parser.instantiate_classes(parsed)
    fields: dict[str, Any] = {key: value for key, value in parsed.as_dict().items() if key not in {"recipe"}}
    parsed_fields = {key: getattr(parsed, key) for key in fields}
    for name in fetched:
        if is_address(parsed_fields[name]):
            from llave.data.fetched import local  # whose progress bar and locks no other command waits for

            parsed_fields[name] = local(parsed_fields[name])
    for name, way_out in (existing or {}).items():
        path = parsed_fields[name]
        if is_address(path) and not isinstance(path, ObjectPath):
            raise UserError(f"{location(path)}: an address, where a folder or file of this machine belongs")
        if not path.exists() and not PATTERN & set(str(path)):
            raise UserError(f"{path}: no such folder or file{way_out}")
    return config(**parsed_fields)


def as_argv(options: Mapping[str, Any]) -> list[str]:
    """Options as words of a command line, values of any type."""
    return [
        word
        for key, value in options.items()
        for word in (f"--{key}", value if isinstance(value, str) else json.dumps(value))
    ]


def _all_named(
    config: type[Any], argv: list[str], command: str, positional: tuple[str, ...], repeated: tuple[str, ...]
) -> list[str]:
    """The words with every value named: ``DIR --json`` is ``--folder DIR --json true``."""
    flags = {f"--{field.name}" for field in dataclasses.fields(config) if field.type is bool}
    names = iter(positional)
    words: list[str] = []
    last = ""
    takes_value = False  # the word before is an option that still waits for its value
    for i, word in enumerate(argv):
        following = argv[i + 1 : i + 2]
        if takes_value:
            words.append(word)
            takes_value = False
        elif word in flags and following not in (["true"], ["false"]):
            words += [word, "true"]
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            words.append(f"{name}+{equals}{value}" if name.removeprefix("--") in repeated else word)
            takes_value = "=" not in word and word not in {"-h", "--help", "--print_config"}
        else:
            last = next(names, last if last.endswith("+") else "")
            if not last:
                raise UserError(f"llave {command}: unexpected {word!r}; see llave {command} --help")
            words += [f"--{last}", word]
    return words


def _found(words: list[str]) -> list[str]:
    """The words with recipes as the paths of their files."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--recipe":
            found.append(str(find_recipe(word)))
        elif word.startswith("--recipe="):
            found.append(f"--recipe={find_recipe(word.removeprefix('--recipe='))}")
        else:
            found.append(word)
    return found


def _one_line(message: str) -> str:
    return " ".join(line.strip() for line in message.splitlines() if line.strip())
