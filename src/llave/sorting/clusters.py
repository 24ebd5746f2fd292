"""Groups among items by their vectors, with names that tell them apart.

Without a number of groups, HDBSCAN (Campello et al. 2013) finds them where items lie densely, on the first principal
components; what lies nowhere dense is in no group. With a number, k-means takes every item. From 50,000 items on it is
k-means in small batches (Sculley 2010), whose time grows with the number of items and not with its square; without a
number, of ``sqrt(items / 2)`` groups. The same seed gives the same groups.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.errors import UserError
from llave.sorting.things import Things

__all__ = ["Cluster", "Clusters", "Naming", "by_texts", "by_values", "find_clusters", "group_vectors", "telling_field"]

MANY = 50_000
COMPONENTS = 15
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
    things: Things, naming: Naming, *, k: int | None = None, smallest: int | None = None, seed: int = 0
) -> Clusters:
    """Groups with names.

    Args:
        things: with vectors.
        k: how many groups; None finds out.
        smallest: items of a group at least, where k is None; None is a hundredth of all, and 5 at least.

    Raises:
        UserError: k that is not from 2 to the number of items, or no groups.
    """
    vector_ND = things.vector_ND
    assert vector_ND is not None
    number_N, way = group_vectors(vector_ND, k=k, smallest=smallest, seed=seed)
    sizes = Counter(number_N[number_N >= 0].tolist())
    if not sizes:
        raise UserError(f"{len(things):,} items: nothing lies densely enough; say how many groups there are with --k")
    order = {old: new for new, (old, _) in enumerate(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])))}
    number_N = np.array([order.get(int(old), -1) for old in number_N], np.intp)
    centre_CD = np.stack([_unit(vector_ND[number_N == each].mean(axis=0)) for each in range(len(order))])
    clusters = []
    for each, (name, why) in enumerate(naming(number_N, centre_CD)):
        places = np.flatnonzero(number_N == each)
        near = places[np.argsort(-(vector_ND[places] @ centre_CD[each]), kind="stable")].tolist()
        clusters.append(Cluster(number=each + 1, name=name, why=why, ids=[things.all[place].id for place in near]))
    none = [things.all[place].id for place in np.flatnonzero(number_N < 0).tolist()]
    return Clusters(clusters=clusters, way=way, none=none, seed=seed)


def group_vectors(
    vector_ND: Vectors, *, k: int | None = None, smallest: int | None = None, seed: int = 0
) -> tuple[Ints, str]:
    """The number (N,) of each vector's group, -1 of none, and how they were found."""
    from sklearn.cluster import HDBSCAN, KMeans, MiniBatchKMeans

    count = len(vector_ND)
    if k is not None and not 2 <= k <= count:
        raise UserError(f"k {k}: from 2 to the number of items, {count:,}")
    if count > MANY:
        k = k or round((count / 2) ** 0.5)
        found = MiniBatchKMeans(k, random_state=seed, batch_size=4096, n_init=3).fit_predict(vector_ND)
        return np.asarray(found, np.intp), f"k-means in batches, {k} groups"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal vectors, that there are fewer groups than asked for
        if k is not None:
            found = KMeans(k, random_state=seed, n_init=TRIES).fit_predict(vector_ND)
            return np.asarray(found, np.intp), f"k-means, {k} groups"
        smallest = smallest or max(LEAST, count // 100)
        if count <= smallest:
            raise UserError(f"{count:,} items are too few for groups of {smallest}; say a smaller --smallest, or --k")
        found = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(_reduced(vector_ND, seed))
    return np.asarray(found, np.intp), f"HDBSCAN, groups of {smallest} or more"


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


def telling_field(fields: Mapping[str, Sequence[Any]], number_N: Ints) -> str | None:
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
