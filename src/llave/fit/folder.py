"""The parts as a folder in MMEB's format, for this run and for ``llave train`` and ``llave eval`` afterwards.

data/train/KIND.parquet             qry, qry_image_path, pos_text, pos_image_path, neg_text, neg_image_path
data/eval/, corpus/, benchmark.json  the test: a data set for each direction
data/validation/                     the same of the part that chooses the checkpoint
data/images/source                   a link to the folder of the pictures; embedded/ has those of the table itself
"""

import shutil
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llave.data.mmeb import IMAGE_PLACEHOLDER, TRAIN_COLUMNS, RowItem
from llave.errors import UserError
from llave.files import whole_folder, write_json
from llave.fit.columns import Chosen
from llave.fit.rows import FitRow, Rows, is_kept
from llave.fit.split import Split

__all__ = ["GROUP", "WHERE", "Direction", "Query", "directions", "write_data"]

GROUP, WHERE = "group", "where"
"""Columns of the evaluation rows: queries of a group share content, so that one says little beside the other; and the
row of the table that a query is of."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and what is right; the group, and the first row, that it is of."""

    item: RowItem
    right: list[RowItem]
    group: int
    where: str


@dataclass(frozen=True, slots=True)
class Direction:
    """A data set of a part: each query once, what is right for it, and what all queries face.

    Args:
        not_asked: queries that are among their own candidates, where they would find themselves.
    """

    name: str
    meta: str
    queries: list[Query]
    corpus: list[RowItem]
    not_asked: int = 0


def directions(rows: Rows, part: Sequence[FitRow], groups: Sequence[int]) -> list[Direction]:
    """Both directions of pairs; items to all labels of the table; queries to positives and negatives of triplets."""
    chosen = rows.chosen
    forward = [Query(row.query, [row.positive], group, row.where) for row, group in zip(part, groups, strict=True)]
    there, back = _names(chosen)
    if chosen.kind == "classes":
        labels = [row.positive for row in rows.rows]
        return _asked([_direction(there, "classification", forward, labels, rows.same)])
    if chosen.kind == "triplets":
        others = [row.negative for row in part if row.negative is not None]
        targets = [*(row.positive for row in part), *others]
        return _asked([_direction(there, "retrieval", forward, targets, rows.same)])
    backward = [Query(row.positive, [row.query], group, row.where) for row, group in zip(part, groups, strict=True)]
    return _asked(
        _direction(name, "retrieval", pairs, [target for pair in pairs for target in pair.right], rows.same)
        for name, pairs in ((there, forward), (back, backward))
    )


def _asked(found: Iterable[Direction]) -> list[Direction]:
    """Those with queries.

    Raises:
        UserError: none has any.
    """
    some = [each for each in found if each.queries]
    if not some:
        raise UserError("every query is among its own candidates: the two columns hold the same things")
    return some


def _direction(
    name: str, meta: str, pairs: Iterable[Query], targets: Iterable[RowItem], same: Callable[[RowItem], Hashable]
) -> Direction:
    """Args: same: equal for items of equal content."""
    corpus: dict[Hashable, RowItem] = {}
    for target in targets:
        corpus.setdefault(same(target), target)
    queries: dict[Hashable, Query] = {}
    for pair in pairs:
        query = queries.setdefault(same(pair.item), replace(pair, right=[]))
        query.right.extend(found for target in pair.right if (found := corpus[same(target)]) not in query.right)
    asked = [query for known, query in queries.items() if meta == "classification" or known not in corpus]
    return Direction(name, meta, asked, list(corpus.values()), len(queries) - len(asked))


def _names(chosen: Chosen) -> tuple[str, str]:
    """Of the direction from query to positive, and back."""
    words = [
        "_and_".join(word for word in ("picture", "text") if getattr(side, word))
        for side in (chosen.query, chosen.positive)
    ]
    if chosen.kind == "classes":
        return f"{words[0]}_to_label", ""
    if chosen.kind == "triplets" or words[0] == words[1]:
        words = ["query", "positive"]
    return "_to_".join(words), "_to_".join(reversed(words))


def write_data(path: Path, rows: Rows, split: Split) -> dict[str, list[Direction]]:
    """Write the folder, whole or not at all; returns the data sets of ``test`` and ``validation``."""
    found = {part: directions(rows, split.rows[part], split.groups[part]) for part in ("test", "validation")}
    with whole_folder(path) as partial:
        images = partial / "images"
        images.mkdir()
        if rows.root is not None:
            (images / "source").symlink_to(rows.root.resolve())
        names = _Names(rows.root, images)
        kind = rows.chosen.kind
        _write(partial / "train" / f"{kind}.parquet", [_train_row(row, names) for row in split.rows["train"]])
        _write_part(partial, kind, found["test"], names)
        _write_part(partial / "validation", f"{kind}: validation", found["validation"], names)
        (partial / "validation" / "images").symlink_to(Path("..", "images"))
    return found


def _write_part(folder: Path, title: str, part: Sequence[Direction], names: "_Names") -> None:
    for each in part:
        rows = [
            {
                **_columns(query.item, "qry_text", "qry_img_path", names),
                "tgt_text": [names.text(item) for item in query.right],
                "tgt_img_path": [names.image(item) for item in query.right],
                "tgt_gain": [1.0] * len(query.right),
                GROUP: query.group,
                WHERE: query.where,
            }
            for query in each.queries
        ]
        _write(folder / "eval" / f"{each.name}.parquet", rows)
        corpus = [_columns(item, "tgt_text", "tgt_img_path", names) for item in each.corpus]
        _write(folder / "corpus" / f"{each.name}.parquet", corpus)
    tasks = {each.name: {"meta": each.meta, "split": "ind"} for each in part}
    write_json(folder / "benchmark.json", {"name": title, "tasks": tasks})


def _train_row(row: FitRow, names: "_Names") -> dict[str, str]:
    columns = (*TRAIN_COLUMNS, "neg_text", "neg_image_path")
    items = (row.query, row.positive, row.negative)
    values = [value for item in items for value in ((names.text(item), names.image(item)) if item else ("", ""))]
    return dict(zip(columns, values, strict=True))


def _columns(item: RowItem, text: str, image: str, names: "_Names") -> dict[str, str]:
    return {text: names.text(item), image: names.image(item)}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


class _Names:
    """Items as MMEB's rows name them, pictures relative to the folder of all pictures."""

    def __init__(self, root: Path | None, images: Path) -> None:
        self._root = root
        self._images = images

    def text(self, item: RowItem) -> str:
        """With the place of the picture."""
        if not item.image or IMAGE_PLACEHOLDER in item.text:
            return item.text
        return f"{IMAGE_PLACEHOLDER}\n{item.text}" if item.text else IMAGE_PLACEHOLDER

    def image(self, item: RowItem) -> str:
        """Through the link, or as a copy if it is of the table itself."""
        if not item.image:
            return ""
        if not is_kept(item.image):
            assert self._root is not None, "the folder of all pictures"
            return f"source/{Path(item.image).relative_to(self._root)}"
        name = Path(item.image).name
        copy = self._images / "embedded" / name[:2] / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.image, copy)
        return str(copy.relative_to(self._images))
