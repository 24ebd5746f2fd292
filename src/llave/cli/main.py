"""``llave``: one command, many jobs. Nothing heavy is imported until a job needs it.

Exit codes: 0 done; 1 a check found problems; 2 the user can fix it (one line on stderr); 130 interrupted.
"""

import importlib
import os
import sys

from llave._version import __version__
from llave.errors import UserError
from llave.terminal import printable

__all__ = ["main"]

COMMANDS = {
    "quickstart": "the whole loop on the sample data: train InfoNCE and hardness-weighted, compare, report",
    "fit": "a model of your own from one table or a folder of labels, and whether it is better",
    "data": "make the sample data set; check and summarise data in MMEB's format",
    "train": "train a model from a recipe",
    "ablate": "variants of a recipe with the same seeds, as one table and plot",
    "eval": "precision@1 of a model on a benchmark",
    "list": "benchmarks, their data sets, and what is there of them; recipes",
    "mteb": "mteb's tasks and benchmarks (MIEB, ViDoRe, …) with one of our models",
    "index": "make a folder or table searchable, or bring its index up to date",
    "embed": "vectors of millions of items, in shards, here or on a Ray cluster",
    "search": "search an index by text, picture, sound, text with either, or more of an item",
    "dups": "duplicates in an index or a folder: same bytes, same pixels, resized, compressed once more",
    "classify": "labels for the items of an index or a folder, by prompts or by a few examples",
    "cluster": "groups among the items of an index, with names",
    "analyze": "similarity gap and hardest negatives of a model, as one HTML page",
    "serve": "embeddings and search over HTTP: OpenAI's and Cohere's requests, pictures, videos and sounds too; a page",
    "convert": "an original LLaVE checkpoint as a sentence-transformers directory",
    "merge": "the weighted mean of several trained models as one",
    "bench": "the loss, and a training step, beside their peers: time, memory, exactness",
    "doctor": "what this machine can run, and what is missing; what a model is, and whether it is sound",
    "completion": "a script that makes the shell's TAB key complete commands and options",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in {"-h", "--help"}:
        _print_help()
        return 0
    if argv[0] == "--version":
        sys.stdout.write(f"llave {__version__}\n")
        return 0
    name, *rest = argv
    try:
        if name not in COMMANDS:
            raise UserError(f"no command {name!r}; there are: {', '.join(COMMANDS)}")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        code: int = importlib.import_module(f"llave.cli.{name}").run(rest)
    except UserError as error:
        sys.stderr.write(f"llave: {printable(error)}\n")
        return 2
    except OSError as error:  # a full or read-only disk, no permission, no network
        sys.stderr.write(f"llave: {printable(error) or type(error).__name__}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("llave: interrupted; the same command goes on from here\n")
        return 130
    return code


def _print_help() -> None:
    lines = ["usage: llave COMMAND [options]", "", "Universal multimodal embeddings (LLaVE, arXiv 2503.04812).", ""]
    lines += [f"  {name:<12}{text}" for name, text in COMMANDS.items()]
    lines += ["", "llave COMMAND --help explains each; start with: llave quickstart", ""]
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
