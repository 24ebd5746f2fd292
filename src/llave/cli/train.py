"""``llave train RECIPE.yaml [--key value …]``; with ``--task rerank``, of a reranker."""

import dataclasses
import re
import sys

from llave.cli.parsing import parse
from llave.errors import UserError
from llave.recipes import find_recipe
from llave.storage.location import ObjectPath, is_address, location
from llave.training.config import TrainConfig

__all__ = ["run"]

TASKS = ("embed", "late", "rerank")
_TASK_LINE = re.compile(r"^task:\s*['\"]?(\w+)", re.MULTILINE)


def run(argv: list[str]) -> int:
    """Train from a recipe; prints the model's directory."""
    task, rest = _task(argv)
    if task == "rerank":
        return _rerank(rest)
    config = parse(
        TrainConfig,
        argv,
        command="train",
        description="Train an embedding model, with --task late one of late interaction, or with --task rerank a "
        "reranker (llave train --task rerank --help). Example: llave train recipes/nano.yaml --loss.alpha 0 --seed 1",
        positional=("recipe",),
        existing={"data": "; `llave data sample --out DIR` makes an example"},
        fetched=("data",),
    )
    if config.dry_run:
        from llave.training.dry_run import dry_run

        dry_run(config)
        return 0
    from llave.training.run import train

    if is_address(config.output):
        from llave.training.mirror import mirrored

        output = location(config.output)
        assert isinstance(output, ObjectPath)
        with mirrored(output, anew=config.resume == "never") as mirror:
            train(dataclasses.replace(config, output=mirror.folder), on_save=mirror.saved)
        sys.stdout.write(f"{output}\n")
        return 0
    sys.stdout.write(f"{train(config)}\n")
    return 0


def _rerank(argv: list[str]) -> int:
    from llave.rerank.config import RerankConfig

    config = parse(
        RerankConfig,
        argv,
        command="train --task rerank",
        description="Train a reranker. Example: llave train recipes/rerank_nano.yaml --task rerank --data runs/mined",
        positional=("recipe",),
    )
    from llave.rerank.train import train_reranker

    sys.stdout.write(f"{train_reranker(config)}\n")
    return 0


def _task(argv: list[str]) -> tuple[str, list[str]]:
    """What is trained, and the words without it: ``--task`` says it, or else the recipe's line ``task:``.

    Raises:
        UserError: an unknown task.
    """
    task, rest, words = "", [], iter(argv)
    for word in words:
        if word == "--task":
            task = next(words, "")
        elif word.startswith("--task="):
            task = word.removeprefix("--task=")
        else:
            rest.append(word)
    recipes = [word for word in rest if word.endswith((".yaml", ".yml"))] or [
        word for word in rest[:1] if word[0] != "-"
    ]
    if not task and recipes:
        found = _TASK_LINE.search(find_recipe(recipes[0]).read_text("utf-8", errors="replace"))
        task = found[1] if found else ""
    if task and task not in TASKS:
        raise UserError(f"llave train: no task {task!r}; there are: {', '.join(TASKS)}")
    return task or "embed", rest
