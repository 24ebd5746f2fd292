"""Search among many vectors: what is compared is right, and the run goes on where it was."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.million import OURS, measure_million, million_sheet, shown, write_vectors
from benchmarks.million_peer import KEPT, SHARE, K, chunks


@pytest.mark.slow
def test_ours_finds_what_numpy_does(tmp_path: Path) -> None:
    write_vectors(tmp_path, 700, 16, 5)
    vector_ND, query_QD = np.load(tmp_path / "vectors.npy"), np.load(tmp_path / "queries.npy")
    np.testing.assert_array_equal(np.concatenate(list(chunks(tmp_path / "vectors.npy", 300))), vector_ND)
    np.testing.assert_allclose(np.linalg.norm(vector_ND, axis=1), 1, rtol=1e-5)
    truth = np.load(tmp_path / "truth.npz")
    best_QK = np.argsort(-(query_QD @ vector_ND.T), axis=1)[:, :K]
    assert [set(row) for row in truth["all"]] == [set(row) for row in best_QK]
    assert set(np.unique(truth["tenth"] % SHARE)) == {KEPT}

    found = measure_million(tmp_path, [OURS], peers=None, rounds=2)
    ours = found["engines"][OURS]
    for setting in ours["settings"].values():
        for part in ("all", "tenth"):
            assert setting[part]["recall"] == setting[part]["worst"] == 1
    assert ours["build"]["disk_bytes"] > 700 * 16 * 4
    (tmp_path / OURS / "index").rename(tmp_path / "gone")  # what is done is not done again
    assert measure_million(tmp_path, [OURS], peers=None, rounds=2) == found
    content = {"machine": "a machine", "commit": "0" * 40, "sizes": {"700": {"dim": 16, "queries": 5, **found}}}
    assert "| llave | exact | 1.000, 1.0 |" in million_sheet(content)


def test_settings_around_our_recall() -> None:
    def setting(recall: float) -> dict[str, dict[str, float]]:
        return {"all": {"recall": recall}}

    engines = {
        OURS: {"settings": {"own": setting(0.98), "exact": setting(1)}},
        "one": {"settings": {"ef 1": setting(0.5), "ef 2": setting(0.97), "ef 4": setting(0.99), "ef 8": setting(1)}},
        "low": {"settings": {"ef 1": setting(0.5), "ef 2": setting(0.6), "ef 4": setting(0.7)}},
        "high": {"settings": {"ef 1": setting(0.99), "ef 2": setting(1)}},
    }
    assert shown(engines, "one", "all") == ["ef 2", "ef 4"]
    assert shown(engines, "low", "all") == ["ef 2", "ef 4"]
    assert shown(engines, "high", "all") == ["ef 1"]
    assert shown(engines, "one", "tenth") == []
