"""How few bytes a first stage gets by with: the table on items that are made to show it, and the choice in an index."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave.bulk.precision import bits, levels
from llave.cli.index import run
from llave.search.index import Index
from llave.search.info import IndexInfo, index_info, read_info
from llave.search.small import SmallMeasurement, apply_small, cheapest, measure_small
from llave.search.store import Settings, StoreStats, row_id
from tests.search.test_small_store import names, row
from tests.search.things import build

N, D = 1500, 64


def made(folder: Path, vector_ND: np.ndarray) -> Index:
    vector_ND = (vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)).astype(np.float32)
    info = IndexInfo(model="none", fingerprint="none", dimension=vector_ND.shape[1])
    index = Index.create(folder / "index", info)
    index.store.upsert([row(number, vector_D) for number, vector_D in enumerate(vector_ND)])
    return index


def in_first_quarter() -> np.ndarray:
    """Everything is in the first quarter; the rest is the same in all items."""
    rng = np.random.default_rng(0)
    vector_ND = np.full((N, D), 0.01)
    vector_ND[:, : D // 4] = rng.normal(size=(N, D // 4))
    return vector_ND


def after_first_quarter() -> np.ndarray:
    """Nothing is in the first quarter."""
    rng = np.random.default_rng(0)
    vector_ND = rng.normal(size=(N, D))
    vector_ND[:, : D // 4] *= 0.01
    return vector_ND


def by_name(found: list[SmallMeasurement]) -> dict[tuple[int, str], SmallMeasurement]:
    return {(each.dimensions, each.precision): each for each in found}


def test_the_quarter_that_has_everything_is_chosen(tmp_path: Path) -> None:
    found = measure_small(made(tmp_path, in_first_quarter()), queries=40)
    measured = by_name(found)
    lengths = (64, 32, 16, 8)
    assert list(measured) == [(each, name) for each in lengths for name in ("float32", "int8", "binary")]
    assert [measured[16, name].bytes for name in ("float32", "int8", "binary")] == [64, 16, 14]
    assert measured[64, "float32"].recall == measured[64, "float32"].alone == 1.0
    assert measured[16, "float32"].alone == 1.0
    assert measured[16, "int8"].recall == 1.0
    assert measured[8, "int8"].recall < 0.9
    assert measured[16, "binary"].recall < 0.98
    for each in found:
        assert each.alone <= each.recall
        assert each.ms > 0
    choice = cheapest(found, 0.98)
    assert choice == measured[16, "int8"]
    assert cheapest([measured[64, "float32"]], 0.98) is None


def test_the_quarter_that_has_nothing_is_not_chosen(tmp_path: Path) -> None:
    found = measure_small(made(tmp_path, after_first_quarter()), queries=40, dimensions=(48, 200))
    measured = by_name(found)
    assert {length for length, _ in measured} == {64, 48, 32, 16, 8}
    assert measured[16, "float32"].recall < 0.2
    choice = cheapest(found, 0.98)
    assert choice is not None
    assert choice.dimensions > D // 4


def test_recall_beside_plain_numpy(tmp_path: Path) -> None:
    """By sorting everything, for one precision after the other."""
    index = made(tmp_path, after_first_quarter())
    found = by_name(measure_small(index, queries=20, k=5, refine=3, seed=2))
    _, item_ND = index.store.vectors(limit=None)
    from llave.search.check import own_vectors

    query_QD = own_vectors(index, 20, 2)
    level_ND, scale_N = levels(item_ND)
    query_bits_QB, item_bits_NB = (np.unpackbits(bits(each), axis=1).astype(int) for each in (query_QD, item_ND))
    scores = {
        "float32": query_QD @ item_ND.T,
        "int8": query_QD @ (level_ND * scale_N[:, None]).T,
        "binary": -(query_bits_QB[:, None] != item_bits_NB).sum(axis=2),
    }
    true_QN = query_QD @ item_ND.T
    best_QK = np.argsort(-true_QN, axis=1)[:, :5]
    for name in ("float32", "int8"):
        for count, attribute in ((15, "recall"), (5, "alone")):
            pool_QP = np.argsort(-scores[name], axis=1)[:, :count]
            shares = [len(set(best) & set(pool)) / 5 for best, pool in zip(best_QK, pool_QP, strict=True)]
            assert getattr(found[D, name], attribute) == pytest.approx(np.mean(shares), abs=1e-9), (name, attribute)
    least, most = [], []  # of equal bits, any may come first
    for score_N, best in zip(scores["binary"], best_QK, strict=True):
        edge = np.sort(score_N)[::-1][14]
        least.append(sum(score_N[each] > edge for each in best) / 5)
        most.append(sum(score_N[each] >= edge for each in best) / 5)
    assert np.mean(least) <= found[D, "binary"].recall <= np.mean(most)


def test_applied_to_an_index(tmp_path: Path) -> None:
    """The approximate index is of it, and so it is opened and brought up to date."""
    index = made(tmp_path, in_first_quarter())
    index.store.optimize(exact_below=100, settings=Settings())
    told: list[str] = []
    found = measure_small(index, queries=40)
    applied = apply_small(index, found, target=0.95, exact_below=100, tell=told.append)
    assert told == []
    assert applied.recall is not None
    assert applied.recall >= 0.95
    assert (applied.settings.precision, applied.settings.prefix, applied.settings.target) == ("int8", 16, 0.95)
    again = Index.open(index.path)
    assert again.info.settings == applied.settings
    assert again.store.stats().approximate
    assert "_prefix16" in names(again.store)  # type: ignore[arg-type]
    _, vector_ND = again.store.vectors(limit=5)
    for vector_D in vector_ND:
        best = again.search(vector_D, limit=10)
        exact = again.search(vector_D, limit=10, exact=True)
        assert [hit.id for hit in best] == [hit.id for hit in exact]
        assert [hit.score for hit in best] == pytest.approx([hit.score for hit in exact], abs=2e-6)


def test_what_misses_the_target_in_the_index_itself_is_passed_over(tmp_path: Path) -> None:
    """The table may be too hopeful, as of a sample; the index itself decides."""
    index = made(tmp_path, after_first_quarter())
    measured = by_name(measure_small(index, queries=5))
    found = [dataclasses.replace(measured[length, "int8"], recall=1.0) for length in (8, 64)]
    told: list[str] = []
    applied = apply_small(index, found, target=0.98, exact_below=100, tell=told.append)
    assert applied.recall is not None
    assert applied.recall >= 0.98
    assert len(told) == 1
    assert told[0].startswith("int8 of 8 dimensions: 0.")
    assert (applied.settings.precision, applied.settings.prefix) == ("int8", None)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = made(tmp_path, in_first_quarter())
    command = ["check", str(index.path), "--small", "--queries", "30"]
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "1,500 items, all of them compared by numpy on this machine" in shown
    marked = next(line for line in shown.splitlines() if line.endswith("fewest"))
    assert marked.split()[:3] == ["16", "int8", "16"]
    assert "--apply gives it to the index" in shown
    assert Index.open(index.path).info.settings == Settings()
    assert run([*command, "--json", "--apply", "--exact_below", "100"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["measured"]) == 12
    assert answer["chosen"]["dimensions"] == answer["applied"]["settings"]["prefix"] == 16
    assert Index.open(index.path).info.settings.prefix == 16
    assert run(["check", str(index.path), "--json"]) == 0
    assert "recall" in json.loads(capsys.readouterr().out)[0]


def test_with_few_items_the_choice_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = made(tmp_path, in_first_quarter()[:300])
    assert run(["check", str(index.path), "--small", "--queries", "20", "--apply"]) == 0
    assert "from 20,000 items on; with so few as now, every one is compared" in capsys.readouterr().out
    assert not Index.open(index.path).store.stats().approximate
    assert run(["check", str(index.path), "--small", "--queries", "20", "--refine", "1", "--target", "1"]) == 0
    index = made(tmp_path / "hard", np.random.default_rng(0).normal(size=(2000, 9)) + 5 * np.ones(9))
    assert run(["check", str(index.path), "--small", "--queries", "50", "--refine", "1", "--target", "1"]) == 1
    assert "none of int8 and binary reaches 1" in capsys.readouterr().err


def test_the_next_run_keeps_the_choice(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    """Items that come later are in the first stage; probes and candidates are found anew, for the same target."""
    table = tmp_path / "table.csv"
    lines = ["id,text", *(f"{number},thing number {number} of {number % 7} colours" for number in range(80))]
    table.write_text("\n".join(lines) + "\n")
    index = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    options = {"make_map": False, "weigh": False, "exact_below": 40}
    build(index, nano_untouched, table, **options)
    whole = by_name(measure_small(index, queries=10))[index.info.dimension, "binary"]
    apply_small(index, [dataclasses.replace(whole, recall=1.0)], target=0.6, exact_below=40)
    assert (index.info.settings.precision, index.info.settings.target) == ("binary", 0.6)
    table.write_text("\n".join([*lines, "new,a thing of another kind"]) + "\n")
    build(index, nano_untouched, table, **options)
    settings = read_info(index.path).settings
    assert (settings.precision, settings.prefix, settings.target) == ("binary", None, 0.6)
    assert index.store.stats() == StoreStats(81, True, 0)
    vector_D = index.vector(row_id(str(table.resolve()), "new"))
    assert vector_D is not None
    assert index.search(vector_D, limit=1)[0].score == pytest.approx(1.0, abs=1e-5)
