"""A map of an index: every item's place in two dimensions, near those that it resembles.

t-SNE (van der Maaten and Hinton 2008) of at most :data:`LANDMARKS` items; each other item goes to the weighted mean of
its nearest landmarks, so that a map of a million items costs little more than one of five thousand.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
from numpy.typing import NDArray

from llave.files import whole_file
from llave.storage.location import Location

__all__ = ["Map", "project", "read_map", "write_map"]

FILE = "map.arrow"
STATE = "state"
LANDMARKS = 5000
NEIGHBOURS = 5
COMPONENTS = 50
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Map:
    """Ids and places (N, 2), each coordinate in [-1, 1].

    Args:
        state: hash of the rows that it was made of.
    """

    ids: list[str]
    xy_N2: NDArray[np.float32]
    state: str = ""


def project(vector_ND: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
    """Places (N, 2) in [-1, 1] of unit vectors; the same for the same vectors in the same order."""
    count = len(vector_ND)
    if count < 3:
        return np.linspace(-0.5, 0.5, max(count, 1))[:count, None].repeat(2, 1).astype(np.float32)
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:LANDMARKS])
    place_L2 = _tsne(vector_ND[chosen], seed)
    xy_N2 = np.empty((count, 2), np.float32)
    xy_N2[chosen] = place_L2
    others = np.setdiff1d(np.arange(count), chosen)
    for start in range(0, len(others), BLOCK):
        block = others[start : start + BLOCK]
        cosine_BL = vector_ND[block] @ vector_ND[chosen].T
        near_BK = np.argpartition(-cosine_BL, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weight_BK = np.exp(20 * np.take_along_axis(cosine_BL, near_BK, axis=1))
        weight_BK /= weight_BK.sum(axis=1, keepdims=True)
        xy_N2[block] = np.einsum("bk,bkc->bc", weight_BK, place_L2[near_BK])
    low_2, high_2 = xy_N2.min(axis=0), xy_N2.max(axis=0)
    half = max(float((high_2 - low_2).max()) / 2, 1e-9)
    return np.asarray((xy_N2 - (low_2 + high_2) / 2) / half, np.float32)


def write_map(folder: Location, ids: Sequence[str], xy_N2: NDArray[np.float32], *, state: str = "") -> None:
    """Keep a map, whole or not at all."""
    table = pa.table({"id": list(ids), "x": xy_N2[:, 0], "y": xy_N2[:, 1]})
    with whole_file(folder / FILE) as partial:
        feather.write_feather(table.replace_schema_metadata({STATE: state}), str(partial))


def read_map(folder: Location) -> Map | None:
    """The map of an index, or None if it has none."""
    if not (folder / FILE).is_file():
        return None
    try:
        table = feather.read_table(pa.BufferReader((folder / FILE).read_bytes()), memory_map=False)
    except pa.ArrowInvalid:  # cut off, as a power failure leaves it
        return None
    state = (table.schema.metadata or {}).get(STATE.encode(), b"").decode()
    return Map(table["id"].to_pylist(), np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1), state)


def _tsne(vector_LD: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = len(vector_LD)
    components = min(COMPONENTS, count - 1, vector_LD.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of equal vectors, whose variance is zero
        reduced = PCA(components, random_state=seed).fit_transform(vector_LD) if components > 2 else vector_LD
        perplexity = min(30.0, (count - 1) / 3)
        place_L2: NDArray[np.float32] = TSNE(2, perplexity=perplexity, random_state=seed).fit_transform(reduced)
    return place_L2
