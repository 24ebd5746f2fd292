"""What an agent looks for, in MMEB-V3: memories, and states of a screen. Tools are read as BEIR's collections."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llave.data.mmeb import RowItem
from llave.data.tables import as_text, read_table
from llave.errors import DataError
from llave.evaluation.benchmarks.beir import document_of, query_of
from llave.evaluation.benchmarks.judged import Judged, Row, named_ids
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.spec import TaskSpec
from llave.evaluation.benchmarks.task import TaskData, Unsupported

__all__ = ["read_gui", "read_memory"]

QUERIES = ("queries.jsonl", "query.jsonl", "queries.parquet", "query.parquet")
QRELS = ("qrels.tsv", "qrels.jsonl", "qrels.parquet", "qrels/test.jsonl", "qrels/test.parquet")
CORPORA = ("corpus.jsonl", "corpus.parquet", "documents.jsonl", "documents.parquet")
INSTRUCTIONS = "task_instructions.json"


def read_memory(spec: TaskSpec, place: Place) -> TaskData:
    """LMEB's data sets: every folder with queries and qrels, all against the memories of all.

    A folder's memories are in its ``corpus``, or in that of the nearest folder above. The instruction of a folder is in
    ``task_instructions.json`` above the data set: ``{DATA SET: {FOLDER or DATA SET: TEXT}}``.
    """
    root = place.rows_folder(spec)
    told = _instructions(root, spec.name)
    found = Judged(spec.name, itself=True)
    tasks = []
    for queries in sorted({path for name in QUERIES for path in root.rglob(name)}):
        folder = queries.parent
        qrels, corpus = _file(folder, QRELS), None
        for above in [folder, *folder.parents]:
            corpus = corpus or _file(above, CORPORA)
            if above == root:
                break
        if qrels is not None and corpus is not None:
            tasks.append((queries, qrels, corpus))
    read = set()
    for _, _, corpus in tasks:
        if corpus not in read:
            found.add_documents(_rows(corpus), document_of(spec, place), _prefix(corpus, root))
            read.add(corpus)
    for queries, qrels, corpus in tasks:
        prefix = f"{_prefix(queries, root)}{queries.name}::"
        found.add_judgements(_rows(qrels), prefix, _prefix(corpus, root))
        instruction = told.get(queries.parent.name, told.get(spec.name, ""))
        if not instruction and queries.parent == root and len(told) == 1:
            (instruction,) = told.values()
        found.add_queries(_rows(queries), query_of(spec, place, instruction), prefix=prefix)
    return found.data(root)


def _instructions(root: Path, name: str) -> dict[str, str]:
    for folder in (root.parent, root.parent.parent):
        path = folder / INSTRUCTIONS
        if path.is_file():
            try:
                of_set = json.loads(path.read_text("utf-8")).get(name, {})
                return {str(key): as_text(text) for key, text in of_set.items()}
            except (ValueError, AttributeError) as error:
                raise DataError(f"{path}: not {{DATA SET: {{FOLDER: TEXT}}}} ({error})") from None
    return {}


def _file(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _prefix(file: Path, root: Path) -> str:
    folder = file.parent.relative_to(root).as_posix()
    return "" if folder == "." else f"{folder}::"


def _rows(path: Path) -> Iterator[tuple[str, Row | DataError]]:
    for number, row in enumerate(read_table(path)):
        where = f"{path} row {number}"
        yield where, row if isinstance(row, dict | DataError) else DataError(f"{where}: expected an object")


def read_gui(spec: TaskSpec, place: Place) -> TaskData:
    """GAE: a task or a state of a screen finds a state, or a course of action, among all.

    Raises:
        Unsupported: items of several screenshots, which no item of llave's is.
    """
    found = Judged(spec.name, itself=True)
    folder = place.media_name(spec)

    def item(text: Any, pictures: Any, where: str) -> RowItem:
        names = _names(pictures)
        if len(names) > 1:
            raise Unsupported(
                f"{spec.name}: items of several pictures ({where} has {len(names)}), and llave's have one at most"
            )
        return RowItem(as_text(text), f"{folder}/{names[0]}" if names else "")

    def document(name: str, row: Row, where: str) -> RowItem:
        return item(row.get("cand_text"), row.get("cand_image_path"), where)

    def query(row: Row, where: str) -> RowItem:
        return item(row.get("qry_text"), row.get("qry_image_path"), where)

    found.add_documents(place.rows(spec, [spec.tables.get("corpus", "corpus")]), document)
    queries = place.rows(spec, [spec.tables.get("queries", "queries")])
    found.add_queries(queries, query, lambda row: named_ids(row.get("pos_id")))
    several = next((error for error in found.bad if isinstance(error, Unsupported)), None)
    if several is not None:
        raise several
    return found.data(place.rows_folder(spec))


def _names(value: Any) -> list[str]:
    """Paths of a cell: a list of them, such a list as text, or one."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            value = [value]
    return [as_text(entry) for entry in (value if isinstance(value, list) else [value]) if entry]
