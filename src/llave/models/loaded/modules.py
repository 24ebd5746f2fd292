"""The open model's modules beside ``modules.json``: how tokens become one vector, and whether it has length 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentence_transformers.sentence_transformer.modules import Pooling

from llave.models.loaded.difference import Difference, read_json

__all__ = ["module_differences", "opening_options", "transformer_folder"]

_REMEDY = "open the directory again as it is; modules.json and the configurations beside it say how it was trained"
_POOLING = {"embedding_dimension", "pooling_mode", "include_prompt"}


def transformer_folder(directory: Path) -> Path:
    """Where the backbone's own files are: the directory, or the folder that modules.json names first.

    Raises:
        DataError: modules.json cannot be read.
    """
    modules = read_json(directory / "modules.json")
    first = modules[0].get("path", "") if isinstance(modules, list) and modules and isinstance(modules[0], dict) else ""
    return directory / str(first)


def opening_options(folder: Path) -> dict[str, Any]:
    """With what sentence_bert_config.json has the tokenizer and the processor opened: it has the last word.

    Raises:
        DataError: it cannot be read.
    """
    said = read_json(folder / "sentence_bert_config.json")
    options: dict[str, Any] = {**(said.get("tokenizer_args") or {}), **(said.get("processor_kwargs") or {})}
    if said.get("max_seq_length") is not None:
        options.setdefault("model_max_length", said["max_seq_length"])
    return options


def module_differences(model: Any, directory: Path) -> Iterator[Difference]:
    """Kinds of modules, and what the configuration of each says. Nothing for a raw checkpoint, which names none.

    Raises:
        DataError: a file that cannot be read.
    """
    said = read_json(directory / "modules.json")
    if not said:
        return
    theirs = [str(one["type"]).rsplit(".", 1)[-1] for one in said]
    ours = [type(module).__name__ for module in model]
    if theirs != ours:
        yield Difference(
            part="pooling", name="modules", where="modules.json", file=" → ".join(theirs), loaded=" → ".join(ours),
            effect="vectors", remedy=_REMEDY,
        )  # fmt: skip
        return
    for one, module in list(zip(said, model, strict=True))[1:]:
        file = directory / str(one["path"]) / "config.json"
        wanted, now = read_json(file), module.get_config_dict() if hasattr(module, "get_config_dict") else {}
        if isinstance(module, Pooling) and wanted:
            loaded = Pooling.load_config(str(directory), subfolder=str(one["path"]), local_files_only=True)
            renames = Pooling.config_key_renames
            wanted = {key: value for old, value in loaded.items() if (key := renames.get(old, old)) in _POOLING}
        for key, value in wanted.items():
            if key in now and _plain(now[key]) != _plain(value):
                yield Difference(
                    part="pooling", name=f"{key} of {type(module).__name__}", where=f"{one['path']}/config.json",
                    file=str(value), loaded=str(now[key]), effect="vectors", remedy=_REMEDY,
                )  # fmt: skip


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
