"""Every file of the corpus has the same verdict at every door: one vector, or one error that names it."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sentence_transformers import SentenceTransformer

from llave import Encoder, Index, Item, build_index, evaluate
from llave.cli.main import main
from llave.data import images, pages
from llave.data.check import check_folder
from llave.data.corpus import Corpus
from llave.data.sources import find_source
from llave.data.train_table import open_table
from llave.encode.forward import Refused
from llave.encode.item import Reading
from llave.errors import UserError
from llave.evaluation.protocol import Protocol
from llave.search.options import BuildOptions
from llave.training.row_errors import RowErrors, read_row_errors
from llave.training.rows import Collator
from tests.corpus import Case, media, texts
from tests.serving.running import running

Verdicts = dict[str, str | None]
"""By case: the error, or None where there is a vector."""
SECONDS = 4.0
"""That a decoder has here, in place of 20: one page of the corpus never ends."""


@dataclass(frozen=True)
class World:
    """What the doors open.

    Args:
        root: a data set in MMEB's format, row i of each table being case i; its images/ is also the folder to index.
        captured: what the commands printed on stderr.
    """

    root: Path
    cases: Sequence[Case]
    model: SentenceTransformer
    captured: list[str] = field(default_factory=list)

    def path(self, case: Case) -> Path:
        return self.root / "images" / case.name

    def item(self, case: Case) -> Item:
        if case.kind == "text":
            return Item(str(case.content))
        path = self.path(case)
        return Item(video=path) if case.kind == "film" else Item(image=path)

    def given(self, case: Case) -> object:
        """As people call ``encode``."""
        return {"text": case.content, "film": {"video": self.path(case)}}.get(case.kind, self.path(case))

    @property
    def source(self) -> Path:
        """What a command that embeds a whole collection is given: a folder of files, a table of texts."""
        return self.root / "images" if self.cases[0].kind != "text" else self.root / "texts.jsonl"


def make_world(root: Path, cases: Sequence[Case], model: SentenceTransformer) -> World:
    """The same cases as files, as rows for training and evaluation, and as a table to embed."""
    for name in ("images", "train", "eval"):
        (root / name).mkdir(parents=True)
    (root / "videos").symlink_to("images")
    train, evaluation, table = [], [], []
    for number, case in enumerate(cases):
        text = str(case.content) if case.kind == "text" else ""
        image, video = (case.name if case.kind in kinds else "" for kinds in (("picture", "page"), ("film",)))
        if case.kind != "text":
            (root / "images" / case.file).write_bytes(bytes(case.content))  # type: ignore[arg-type]
        text = "<|image_1|>" if image else text
        train.append({"qry": text, "qry_image_path": image, "pos_text": f"answer {number}", "pos_image_path": ""})
        answers = {"tgt_text": [f"answer {number}", "another"], "tgt_img_path": ["", ""]}
        evaluation.append({"qry_text": text, "qry_img_path": image, "qry_video_path": video, **answers})
        table.append({"id": case.name, "text": text})
    for name, rows in (("train/t", train), ("eval/t", evaluation), ("texts", table)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return World(root, cases, model)


def by_encoder(world: World) -> Verdicts:
    outcomes = Encoder(world.model, reading=Reading(num_frames=3))([world.item(case) for case in world.cases])
    return {
        case.name: outcome.reason if isinstance(outcome, Refused) else None
        for case, outcome in zip(world.cases, outcomes, strict=True)
    }


def by_encode(world: World) -> Verdicts:
    """As ``SentenceTransformer.encode`` is called by people, which raises."""
    return {case.name: _error(world.model.preprocess, [world.given(case)]) for case in world.cases}


def by_search(world: World) -> Verdicts:
    options = BuildOptions(make_map=False, progress=False)
    (world.root / "one").mkdir()
    (world.root / "one" / "a.txt").write_text("a text")
    index, _ = build_index(world.root / "one.index", world.model, world.root / "one", options=options)
    return {case.name: _error(lambda case=case: index.search(world.item(case))) for case in world.cases}


def by_training(world: World) -> Verdicts:
    """The rows that a table leaves out, and those that a batch replaces; it has all the others."""
    table, skipped = open_table(find_source(world.root, "t"), progress=False).usable()
    noted = world.root / "errors.jsonl"
    rows = [{"row": row} for row in range(len(table))]
    batch = Collator(world.model.preprocess, Corpus({"t": table}), errors=RowErrors(noted))(rows)
    assert len(batch["label"]) == len(rows)
    found = {row: reason for (_, row), reason in read_row_errors(noted).items()}
    found |= {each.row: each.reason for each in skipped}
    return {case.name: found.get(number) for number, case in enumerate(world.cases)}


def by_evaluation(world: World) -> Verdicts:
    result = evaluate(world.model, world.root, protocol=Protocol(num_frames=3), progress=False)
    scored = {row.row for row in result.tasks["t"].rows}
    assert result.tasks["t"].skipped == len(world.cases) - len(scored)
    of_files = {Path(error.file).name: error.message for error in result.errors if error.file}
    of_rows = [error.message for error in result.errors if not error.file]
    return {
        case.name: of_files.get(case.name) or next((said for said in of_rows if _names(said, number)), None)
        for number, case in enumerate(world.cases)
    }


def by_check(world: World) -> Verdicts:
    problems = [problem for problem in check_folder(world.root, progress=False) if "/eval/" in problem.file]
    found = {problem.row: problem.message for problem in problems}
    return {case.name: found.get(number) for number, case in enumerate(world.cases)}


def by_mining(world: World) -> Verdicts:
    out = world.root / "mined"
    assert main(["data", "mine", "nano", str(world.root), "--out", str(out), "--device", "cpu"]) == 0
    found = {row: reason for (_, row), reason in read_row_errors(out / "errors.jsonl").items()}
    assert pq.read_metadata(out / "train" / "t.parquet").num_rows >= sum(case.good for case in world.cases)
    named = {number: f"{world.cases[number].file}: {reason}" for number, reason in found.items()}  # by their rows
    return {case.name: named.get(number) for number, case in enumerate(world.cases)}


def by_index(world: World) -> Verdicts:
    index = world.root / "all.index"
    assert main(["index", "nano", str(world.source), "--index", str(index), "--device", "cpu", "--frames", "3"]) == 1
    found = {line["key"]: line["error"] for line in _lines(index / "errors.jsonl")}
    return _of_collection(world, found, set(Index.open(index).store.column(["key"])["key"]))


def by_embed(world: World) -> Verdicts:
    out = world.root / "vectors"
    assert main(["embed", "nano", str(world.source), "--out", str(out), "--device", "cpu", "--frames", "3"]) == 1
    found = {line["id"]: line["error"] for line in _lines(out / "errors.jsonl")}
    return _of_collection(
        world, found, set(pq.read_table(sorted((out / "shards").glob("*.parquet")))["id"].to_pylist())
    )


def by_server(world: World) -> Verdicts:
    """A request of its own for each, and one with all the good ones."""
    found: Verdicts = {}
    good = []
    with running(world.model) as server:
        for case in world.cases:
            sent = _sent(case)
            body = json.dumps({"input": [sent]})  # halves of characters escaped, which httpx itself cannot send
            answer = server.client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 200 or 400 <= answer.status_code < 500, f"{case.name}: {answer.text}"
            if answer.status_code == 200:
                found[case.name] = None
                good.append(sent)
            else:
                error = answer.json()["error"]
                assert str(error["param"]).startswith("input") or error["code"] == "invalid_json", error
                found[case.name] = f"{case.name}: {error['message']}"  # the place is the name there
        assert len(server.vectors(good)) == len(good)
    return found


def _sent(case: Case) -> object:
    if case.kind == "text":
        return case.content
    assert isinstance(case.content, bytes)
    return {"video" if case.kind == "film" else "image": base64.b64encode(case.content).decode()}


def _error(call: Callable[..., object], *given: object) -> str | None:
    try:
        call(*given)
    except UserError as error:
        return str(error)
    return None


def _names(message: str, row: int) -> bool:
    return re.search(rf"row {row}\b|line {row + 1}\b", message) is not None


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _of_collection(world: World, errors: Mapping[str, str], keys: set[str]) -> Verdicts:
    """Errors are by key; of a document that cannot be opened by the file, and of a row that cannot be read by its
    number."""
    found: Verdicts = {}
    for number, case in enumerate(world.cases, start=1):
        names = [case.name, case.file, f"texts.jsonl row {number}"]
        error = next((errors[name] for name in names if name in errors), None)
        found[case.name] = error if case.name not in keys else None
        assert error is not None or case.name in keys or not case.folder, f"{case.name}: neither error nor item"
    return found


PICTURES, ALL = {"picture", "page", "text"}, {"picture", "page", "text", "film"}
DOORS: dict[str, tuple[Callable[[World], Verdicts], set[str]]] = {
    "Encoder": (by_encoder, ALL),
    "encode": (by_encode, ALL),
    "search": (by_search, ALL),
    "train": (by_training, PICTURES),
    "evaluate": (by_evaluation, ALL),
    "data check": (by_check, ALL),
    "data mine": (by_mining, PICTURES),
    "index": (by_index, ALL),
    "embed": (by_embed, ALL),
    "server": (by_server, ALL),
}
"""Each with the kinds of items that it takes: a training row has no films."""
FOLDERS = {"index", "embed"}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for function in (images.load_image, pages.load_page, pages.count_pages):
            patch.setitem(function.__kwdefaults__, "seconds", SECONDS)
        yield tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def found_media(scratch: Path) -> Sequence[Case]:
    return media(scratch)


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_media(
    door: str, found_media: Sequence[Case], tmp_path: Path, nano_untouched: SentenceTransformer, capfd: Any
) -> None:
    _through(door, found_media, tmp_path, nano_untouched, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_texts(door: str, tmp_path: Path, nano_untouched: SentenceTransformer, scratch: Path, capfd: Any) -> None:
    _through(door, texts(), tmp_path, nano_untouched, capfd)


def _through(door: str, cases: Sequence[Case], folder: Path, model: SentenceTransformer, capfd: Any) -> None:
    opens, kinds = DOORS[door]
    asked = [case for case in cases if case.kind in kinds and (case.folder or door not in FOLDERS)]
    found = opens(make_world(folder / "world", asked, model))
    wrong = {
        case.name: found[case.name] or "a vector"
        for case in asked
        if (found[case.name] is None) != case.but.get(door, case.good)
    }
    assert not wrong, f"{door}: {len(wrong)} of {len(asked)}: {wrong}"
    for case in asked:
        reason = found[case.name]
        if reason is not None and case.kind != "text":
            assert case.file in reason, f"{door}: {reason}"
            assert "\n" not in reason
    assert "Traceback" not in capfd.readouterr().err
