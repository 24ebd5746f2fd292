"""Groups among items by their vectors, with names that tell them apart.

k-means puts every item into one of ``k`` groups, by default ``sqrt(items / 2)`` of them; from 50,000 items on it works
in small batches (Sculley 2010), so that its time grows with the number of items times that of groups. HDBSCAN (Campello
et al. 2013, on the first principal components) finds only what lies densely, and leaves the rest in no group. On the
sample k-means goes better with what people call the pictures (docs/sort.md). The same seed gives the same groups.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llave.errors import UserError
from llave.sorting.things import Things

__all__ = [
    "Cluster",
    "Clusters",
    "Naming",
    "Way",
    "by_texts",
    "by_values",
    "find_clusters",
    "group_vectors",
    "telling",
]

Way = Literal["kmeans", "hdbscan"]
MANY = 50_000
COMPONENTS = 30
LEAST = 5
TRIES = 10

Vectors = NDArray[np.float32]
Ints = NDArray[np.intp]
Naming = Callable[[Ints, Vectors], Sequence[tuple[str, str]]]
"""From the number of each item's group (N,), -1 of none, and the centres (C, D): a name for each group, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A group.

    Args:
        number: from 1 on, the largest first.
        name: that tells it from the others; empty where nothing was to name it by.
        why: what the name rests on.
        ids: of its items, those nearest to its centre first.
    """

    number: int
    name: str
    why: str
    ids: Sequence[str]

    def __str__(self) -> str:
        return f"{self.number} {self.name}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """All groups, the largest first.

    Args:
        way: how they were found.
        none: ids of items that are in no group.
    """

    clusters: Sequence[Cluster]
    way: str
    none: Sequence[str]
    seed: int

    def values(self) -> dict[str, str | None]:
        """By id, the number and name of an item's group; None of what is in none."""
        found: dict[str, str | None] = dict.fromkeys(self.none)
        return found | {identity: str(cluster) for cluster in self.clusters for identity in cluster.ids}


def find_clusters(
    things: Things,
    naming: Naming,
    *,
    k: int | None = None,
    way: Way = "kmeans",
    smallest: int | None = None,
    seed: int = 0,
) -> Clusters:
    """Groups with names.

    Args:
        things: with vectors.
        k: groups of k-means; None is the square root of half the number of items.
        way: ``"kmeans"``, or ``"hdbscan"``, which takes no k.
        smallest: items of a group of HDBSCAN's at least; None is 5.

    Raises:
        UserError: k that is not from 2 to the number of items, too many items for HDBSCAN, or no groups.
    """
    vector_ND = things.vector_ND
    assert vector_ND is not None
    number_N, how = group_vectors(vector_ND, k=k, way=way, smallest=smallest, seed=seed)
    sizes = Counter(number_N[number_N >= 0].tolist())
    if not sizes:
        raise UserError(f"{len(things):,} items: nothing lies densely enough for a group; take k-means")
    order = {old: new for new, (old, _) in enumerate(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])))}
    number_N = np.array([order.get(int(old), -1) for old in number_N], np.intp)
    centre_CD = np.stack([_unit(vector_ND[number_N == each].mean(axis=0)) for each in range(len(order))])
    clusters = []
    for each, (name, why) in enumerate(naming(number_N, centre_CD)):
        places = np.flatnonzero(number_N == each)
        near = places[np.argsort(-(vector_ND[places] @ centre_CD[each]), kind="stable")].tolist()
        clusters.append(Cluster(number=each + 1, name=name, why=why, ids=[things.all[place].id for place in near]))
    none = [things.all[place].id for place in np.flatnonzero(number_N < 0).tolist()]
    return Clusters(clusters=clusters, way=how, none=none, seed=seed)


def group_vectors(
    vector_ND: Vectors, *, k: int | None = None, way: Way = "kmeans", smallest: int | None = None, seed: int = 0
) -> tuple[Ints, str]:
    """The number (N,) of each vector's group, -1 of none, and how they were found. See :func:`find_clusters`."""
    from sklearn.cluster import HDBSCAN, KMeans, MiniBatchKMeans

    count = len(vector_ND)
    if way not in get_args(Way):
        raise UserError(f"way {way!r}: one of {', '.join(get_args(Way))}")
    if way == "hdbscan":
        smallest = smallest or LEAST
        if k is not None or not smallest < count <= MANY:
            raise UserError(f"HDBSCAN takes no k, and from {smallest + 1} to {MANY:,} items, not {count:,}")
        model = HDBSCAN(min_cluster_size=smallest, cluster_selection_method="leaf", copy=True)
        return np.asarray(model.fit_predict(_reduced(vector_ND, seed)), np.intp), f"HDBSCAN, {smallest} items or more"
    if smallest is not None:
        raise UserError("smallest is for HDBSCAN; of k-means say k, the number of groups")
    k = min(count, max(2, round((count / 2) ** 0.5))) if k is None else k
    if not 2 <= k <= count:
        raise UserError(f"k {k}: from 2 to the number of items, {count:,}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal vectors, that there are fewer groups than asked for
        if count > MANY:
            model = MiniBatchKMeans(k, random_state=seed, batch_size=4096, n_init=3)
            return np.asarray(model.fit_predict(vector_ND), np.intp), "k-means in batches"
        return np.asarray(KMeans(k, random_state=seed, n_init=TRIES).fit_predict(vector_ND), np.intp), "k-means"


def by_texts(texts: Sequence[str], text_VD: Vectors) -> Naming:
    """Each group is called by the text that is nearer to it than to the others."""

    def name(number_N: Ints, centre_CD: Vectors) -> list[tuple[str, str]]:
        cosine_VC = text_VD @ centre_CD.T
        rest_VC = cosine_VC - cosine_VC.mean(axis=1, keepdims=True)
        best_C = rest_VC.argmax(axis=0)
        return [
            (texts[best], f"cosine {cosine_VC[best, each]:.2f}, {rest_VC[best, each]:+.2f} to the mean of all groups")
            for each, best in enumerate(best_C)
        ]

    return name


def by_values(values: Sequence[Any]) -> Naming:
    """Each group is called by the value that its items have more often than others do: of the largest ``n log(p/q)``,
    where n of them have it, p is their share of the group, and q is the share of all items.

    Args:
        values: of a field, for each item; None of what has none.
    """

    def name(number_N: Ints, centre_CD: Vectors) -> list[tuple[str, str]]:
        everywhere = Counter(value for value in values if value is not None)
        found = []
        for each in range(len(centre_CD)):
            places = np.flatnonzero(number_N == each).tolist()
            here = Counter(values[place] for place in places if values[place] is not None)
            gain = {v: n * np.log(n / len(places) / (everywhere[v] / len(values))) for v, n in here.items()}
            if not gain:
                found.append(("", "none of its items has a value"))
                continue
            best = max(gain, key=lambda value: (gain[value], str(value)))
            share, overall = here[best] / len(places), everywhere[best] / len(values)
            found.append((str(best), f"{share:.0%} of its items, {overall:.0%} of all"))
        return found

    return name


def telling(fields: Mapping[str, Sequence[Any]], number_N: Ints) -> str | None:
    """The field whose values go with the groups best, by adjusted mutual information; None where none does."""
    from sklearn.metrics import adjusted_mutual_info_score

    best, most = None, 0.0
    for name, values in fields.items():
        there = [place for place, value in enumerate(values) if value is not None and number_N[place] >= 0]
        if len({values[place] for place in there}) > 1:
            shared = adjusted_mutual_info_score([str(values[place]) for place in there], number_N[there])
            if shared > most:
                best, most = name, shared
    return best


def _reduced(vector_ND: Vectors, seed: int) -> Vectors:
    from sklearn.decomposition import PCA

    components = min(COMPONENTS, *vector_ND.shape)
    found: Vectors = PCA(components, random_state=seed).fit_transform(vector_ND)
    return found


def _unit(vector_D: Vectors) -> Vectors:
    found: Vectors = (vector_D / max(float(np.linalg.norm(vector_D)), 1e-9)).astype(np.float32)
    return found
