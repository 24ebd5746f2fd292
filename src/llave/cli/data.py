"""``llave data sample | download | pairs | mine | check | summary``."""

import dataclasses
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llave.cli.parsing import parse
from llave.collection.collection import Columns
from llave.errors import UserError
from llave.storage.location import Location

__all__ = ["CheckConfig", "DownloadConfig", "PairsConfig", "SampleConfig", "SummaryConfig", "run"]

USAGE = """usage: llave data COMMAND [options]

  sample    make the sample data set: emoji or icons by several artists, in MMEB's format
  download  MMEB-train, the training data of the paper, from the hub or a copy of it
  pairs     training rows of tar archives (WebDataset), whose pictures stay where they are
  mine      hard negatives for training data, found by a model
  check     find missing pictures, bad columns, empty or duplicate candidates in a folder or a table
  summary   rows, candidates and pictures of each data set in a folder

llave data COMMAND --help explains each
"""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """The sample data set.

    Args:
        out: folder to make; an existing sample of the same domain and seed is left as it is.
        domain: emoji, or icons as user interfaces have them: the same data sets of other things, by four icon packages.
        seed: everything is a function of it.
        max_queries: at most this many queries in each evaluation set.
        cache: where the downloaded packages are kept; null is ~/.cache/llave.
        animated: also OUT/animated with text-to-video and video-to-text data sets, from this many of the four packages
            of animated emoji (about 180 MB each); an existing sample gets it without being rebuilt.
    """

    out: Path
    domain: Literal["emoji", "icons"] = "emoji"
    seed: int = 0
    max_queries: int = 1000
    cache: Path | None = None
    animated: int = 0


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """A download.

    Args:
        what: mmeb-train to train on, or a benchmark: mmeb, mmeb-v2, mmeb-v3, video-retrieval.
        out: folder to make or to complete; a recipe's data or the --root of llave eval then.
        subsets: of mmeb-train: names of data sets; empty is all 20.
        tasks: of a benchmark: data sets, meta-tasks, modalities or splits, with commas between; null is all.
        split: of mmeb-train: original, or ten paraphrases of each instruction.
        revision: of mmeb-train: branch, tag or commit of the repository; null is its newest commit.
        source: a copy on this machine instead of the hub: the repository, or for a benchmark a folder of OWNER/NAME, or
            a cache of the hub.
    """

    what: Literal["mmeb-train", "mmeb", "mmeb-v2", "mmeb-v3", "video-retrieval"]
    out: Path
    subsets: list[str] = field(default_factory=list)
    tasks: str | None = None
    split: Literal["original", "diverse_instruction"] = "original"
    revision: str | None = None
    source: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Pairs of a picture and a text.

    Args:
        archives: a .tar file or a quoted pattern of some; of this machine or in object storage.
        out: data folder to make or to complete.
        name: of its data sets, NAME_t2i and NAME_i2t.
        json: print what was found as JSON.
    """

    archives: Location
    out: Path
    name: str = "pairs"
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """A check of a folder in MMEB's format, or of any table that training, evaluation or an index takes.

    Args:
        folder: the folder with train/, eval/ and images/, a copy of MMEB-train, or a table (.parquet, .jsonl, .json,
            .csv, .tsv).
        columns: which column of a table holds what, as for llave index.
        decode: also decode every picture (slower; finds truncated files).
        json: print the problems as JSON lines.
    """

    folder: Path
    columns: Columns = field(default_factory=Columns)
    decode: bool = True
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class SummaryConfig:
    """A summary of a folder in MMEB's format.

    Args:
        folder: the folder with train/, eval/ and images/.
        json: print JSON instead of a table.
    """

    folder: Path
    json: bool = False


def run(argv: list[str]) -> int:
    """Run a sub-command."""
    if not argv or argv[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0
    if argv[0] not in COMMANDS:
        raise UserError(f"no command 'data {argv[0]}'; there are: {', '.join(COMMANDS)}")
    return COMMANDS[argv[0]](argv[1:])


def _sample(argv: list[str]) -> int:
    config = parse(
        SampleConfig,
        argv,
        command="data sample",
        description="Make the sample data set (pictures come from npm, once: emoji 160 MB, icons 12 MB). "
        "Examples: llave data sample --out data/sample; llave data sample --out data/icons --domain icons",
        positional=("out",),
    )
    from llave.sample.build import build_sample
    from llave.sample.domains import DOMAINS
    from llave.sample.packages import ANIMATED_EMOJI

    domain = DOMAINS[config.domain]
    if not 0 <= config.animated <= len(ANIMATED_EMOJI):
        raise UserError(f"--animated: there are {len(ANIMATED_EMOJI)} packages of animations, not {config.animated}")
    if config.animated and config.domain != "emoji":
        raise UserError(f"--animated: only emoji are animated, not {config.domain}; leave it out")
    summary = build_sample(
        config.out, domain=domain, seed=config.seed, max_queries=config.max_queries, cache=config.cache
    )
    sys.stdout.write(f"{summary}\n")
    if config.animated:
        from llave.sample.animated import add_animated

        try:
            animated = add_animated(config.out, packages=ANIMATED_EMOJI[: config.animated], cache=config.cache)
            sys.stdout.write(f"{animated}\n")
        except UserError as error:
            sys.stderr.write(f"llave: no animations: {error}\n")
    return 0


def _download(argv: list[str]) -> int:
    config = parse(
        DownloadConfig,
        _lists(argv, "--subsets"),
        command="data download",
        description="Fetch data from the hub, only what is wanted; the same command goes on after an interruption. "
        "Examples: llave data download mmeb-train --out data/mmeb-train --subsets VOC2007,CIRR; "
        "llave data download mmeb-v2 --out data/mmeb-v2 --tasks visdoc,MSR-VTT",
        positional=("what",),
    )
    from llave.data.download import download_mmeb_train
    from llave.data.hub import FolderFiles, HubFiles
    from llave.data.mmeb_train import REPOSITORY, check_subsets

    if config.what != "mmeb-train":
        return _download_benchmark(config)
    if config.tasks:
        raise UserError("--tasks is for benchmarks; mmeb-train has --subsets")
    check_subsets(config.subsets)  # before the network is asked
    files = HubFiles(REPOSITORY, config.revision) if config.source is None else FolderFiles(config.source)
    for subset in download_mmeb_train(config.out, files, subsets=config.subsets, split=config.split):
        missing = f", {subset.missing:,} of them missing" if subset.missing else ""
        sys.stdout.write(f"{subset.name}: {subset.rows:,} rows, {subset.pictures:,} pictures{missing}\n")
    return 0


def _lists(argv: list[str], flag: str) -> list[str]:
    """``FLAG A,B`` as the list that it means."""
    return [
        f"[{word}]" if before == flag and not word.startswith("[") else word
        for before, word in zip(["", *argv], argv, strict=False)
    ]


def _download_benchmark(config: DownloadConfig) -> int:
    from llave.data.hub import Files, FolderFiles, HubFiles
    from llave.data.hub_cache import copy_of
    from llave.evaluation.benchmarks import choose_tasks, get_spec
    from llave.evaluation.benchmarks.download import download_benchmark

    if config.subsets:
        raise UserError(f"--subsets is for mmeb-train; {config.what} has --tasks")
    spec = get_spec(config.what)

    def open_files(repository: str) -> Files:
        return HubFiles(repository) if config.source is None else FolderFiles(copy_of(repository, config.source))

    fetched = download_benchmark(spec, choose_tasks(spec, config.tasks), config.out, open_files)
    for task in fetched:
        sys.stdout.write(f"{task.name}: {task.missing or 'ready'}\n")
    sys.stdout.write(f"llave eval MODEL --benchmark {config.what} --root {config.out}\n")
    return 1 if any(task.missing for task in fetched) else 0


def _pairs(argv: list[str]) -> int:
    config = parse(
        PairsConfig,
        argv,
        command="data pairs",
        description="Training rows of tar archives as WebDataset has them (0001.jpg with 0001.txt or a caption in "
        "0001.json): a table says where each picture lies, and training reads it from there, also in object storage. "
        "Example: llave data pairs 's3://bucket/part-*.tar' data/mine; killed, the same command goes on.",
        positional=("archives", "out"),
    )
    if not re.fullmatch(r"[\w-]+", config.name):
        raise UserError(f"--name {config.name!r}: letters, digits, - and _ alone, since a file is named by it")
    from llave.collection.pairs import write_pairs

    found = write_pairs(config.archives, config.out, name=config.name)
    if config.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(found)) + "\n")
        return 0
    sys.stdout.write(
        f"{config.out}: {found.pairs:,} pairs from {found.archives:,} archives; {found.left_out:,} items without a "
        f"picture or a text\nllave train --model MODEL --data {config.out} --images {found.images}\n"
    )
    if found.errors:
        sys.stderr.write(f"llave: {found.errors:,} items could not be read: {config.out / 'errors.jsonl'}\n")
    return 0


def _mine(argv: list[str]) -> int:
    from llave.mining.config import MineConfig

    config = parse(
        MineConfig,
        argv,
        command="data mine",
        description="Hard negatives for every row: the targets of other rows that a model ranks highest, without "
        "probable false negatives. Examples: llave data mine runs/nano data/sample --out data/sample-hard; llave data "
        "mine runs/nano pairs.csv --out data/pairs-hard (columns are guessed, as by llave fit).",
        positional=("model", "data"),
    )
    from llave.data.tables import is_table
    from llave.mining.run import ERRORS, mine
    from llave.terminal import quiet_libraries

    quiet_libraries()
    if is_table(config.data) and config.data.is_file() and not config.datasets:
        from llave.fit.table import table_as_data

        datasets, chosen = table_as_data(config.data)
        sys.stderr.write(f"{config.data}: {chosen}\n")
        config = dataclasses.replace(config, data=config.data.parent, datasets=datasets)
    for found in mine(config):
        sys.stdout.write(
            f"{found.name}: {found.negatives:,} negatives for {found.rows:,} rows; {found.without:,} rows without, "
            f"{found.dropped:,} candidates dropped as probable positives, {found.unreadable:,} rows unreadable, "
            f"{found.left_out:,} left out\n"
        )
    if (config.out / ERRORS).is_file():
        sys.stderr.write(f"llave: rows that could not be used, and why: {config.out / ERRORS}\n")
    return 0


def _check(argv: list[str]) -> int:
    config = parse(
        CheckConfig,
        argv,
        command="data check",
        description="Check a folder in MMEB's format, or a table; exit code 1 if there are problems.",
        positional=("folder",),
    )
    from dataclasses import asdict

    from llave.collection.check import check_table
    from llave.data.check import check_folder

    if config.folder.is_file():
        problems = check_table(config.folder, config.columns, decode=config.decode)
    else:
        problems = check_folder(config.folder, decode=config.decode)
    for problem in problems:
        line = (
            json.dumps(asdict(problem), default=str)
            if config.json
            else f"{problem.file}{'' if problem.row is None else f' row {problem.row}'}: {problem.message}"
        )
        sys.stdout.write(line + "\n")
    if not config.json:
        sys.stdout.write(f"{len(problems)} problem{'s' * (len(problems) != 1)} in {config.folder}\n")
    return 1 if problems else 0


def _summary(argv: list[str]) -> int:
    config = parse(
        SummaryConfig,
        argv,
        command="data summary",
        description="Rows, candidates and pictures of each data set.",
        positional=("folder",),
    )
    from rich.console import Console
    from rich.table import Table

    from llave.data.check import summarise

    rows = summarise(config.folder)
    if config.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    table = Table(title=str(config.folder))
    for column in rows[0] if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    return 0


COMMANDS = {
    "sample": _sample,
    "download": _download,
    "pairs": _pairs,
    "mine": _mine,
    "check": _check,
    "summary": _summary,
}
