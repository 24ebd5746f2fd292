"""What is done with all items of an index at once; these functions are methods of :class:`llave.search.index.Index`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llave.collection.types import Scalar, scalar
from llave.search.filters import EVERYTHING, Filter, as_filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llave.search.index import Index
    from llave.sorting.classify import Classified, Examples
    from llave.sorting.clusters import Clusters, Way
    from llave.sorting.duplicates import Duplicates
    from llave.sorting.things import Things

__all__ = ["classify", "cluster", "cluster_things", "duplicates", "set_field"]


def set_field(self: "Index", name: str, values: Mapping[str, Scalar]) -> None:
    """Give items a value of a field of your own, by their ids; others keep what they have. It can be filtered by at
    once, and an item keeps it as long as its content is the same.

    Raises:
        UserError: a name that a filter cannot say, the index's own, or a field of its sources; or another process
            writes to this index.
    """
    from llave.search.given import check_name
    from llave.search.writing import writing

    with writing(self):
        check_name(self, name)
        if name not in self.info.given:  # said first: whoever is killed from here on leaves a field that can go
            self.info = dataclasses.replace(self.info, given=(*self.info.given, name))
            self.save()
        self.store.set_field(name, {identity: scalar(value) for identity, value in values.items()})


def duplicates(
    self: "Index",
    *,
    near: float = 20,
    cosine: float | None = None,
    filter: Filter | str = EVERYTHING,
    progress: bool = False,
) -> "Duplicates":
    """Groups of duplicates, the largest first, each with its best copy first. Nothing is removed.

    Args:
        near: by how much, of 255, a part of a copied picture may differ.
        cosine: from which on vectors make duplicates, too; None lets them say nothing.
        filter: only items that pass are compared.

    Raises:
        UserError: no item passes, or a filter on a field that is not there.
    """
    from llave.progress import show_progress
    from llave.search.things import things_of
    from llave.sorting.duplicates import find_duplicates

    with show_progress(progress) as work:
        return find_duplicates(things_of(self, as_filter(filter)), work, near=near, cosine=cosine)


def classify(
    self: "Index",
    labels: Sequence[str] | Mapping[str, Sequence[str]] = (),
    *,
    prompts: Sequence[str] = (),
    examples: "Mapping[str, str] | Examples | None" = None,
    threshold: float = 0.0,
    temperature: float | None = None,
    filter: Filter | str = EVERYTHING,
    seed: int = 0,
) -> "Classified":
    """A label for each item: by prompts alone, or, where examples show that it is better, by a linear probe.

    Args:
        labels: names, or the prompts of each; none are those of the examples.
        prompts: templates, such as ``"a picture of {label}"``, for labels without prompts of their own.
        examples: the label of each item, by its id, path or key; or vectors with labels from elsewhere.
        threshold: of the score; an item below it is called "none".
        temperature: of the scores; None is the model's, or the one that the examples give.
        filter: only items that pass.

    Raises:
        UserError: fewer than two labels, an example that is no item or of no label, or the index's model is not there.
    """
    from llave.search.things import things_of
    from llave.sorting.labels import classify_things

    return classify_things(
        things_of(self, as_filter(filter)),
        self.use_model(),
        labels,
        prompt=self.info.prompts["query"],
        prompts=prompts,
        examples=examples,
        threshold=threshold,
        temperature=temperature,
        seed=seed,
    )


def cluster(
    self: "Index",
    k: int | None = None,
    *,
    way: "Way" = "kmeans",
    smallest: int | None = None,
    names: Sequence[str] = (),
    by_field: str | None = None,
    filter: Filter | str = EVERYTHING,
    seed: int = 0,
) -> "Clusters":
    """Groups among the items, the largest first, with names.

    Args:
        k: how many; None is the square root of half the number of items.
        way: ``"kmeans"``, which takes every item, or ``"hdbscan"``, which leaves out what lies nowhere densely.
        smallest: items of a group of HDBSCAN's at least; None is 5.
        names: words to choose names from.
        by_field: a field whose values are names. Without either, the texts among the items name the groups, or the
            field that goes with them best.
        filter: only items that pass.

    Raises:
        UserError: a k or way that cannot be, no groups, no such field, or, where there are names, the index's model is
            not there.
    """
    from llave.search.things import things_of

    things = things_of(self, as_filter(filter))
    return cluster_things(self, things, k=k, way=way, smallest=smallest, names=names, by_field=by_field, seed=seed)


def cluster_things(
    index: "Index",
    things: "Things",
    *,
    k: int | None,
    way: "Way",
    smallest: int | None,
    names: Sequence[str],
    by_field: str | None,
    seed: int,
) -> "Clusters":
    """See :func:`cluster`."""
    from llave.sorting.clusters import find_clusters
    from llave.sorting.labels import embed_texts
    from llave.sorting.naming import choose_naming

    def encode(texts: Sequence[str]) -> "NDArray[np.float32]":
        return embed_texts(index.use_model(), index.info.prompts["query"])(texts)

    naming = choose_naming(things, encode, names=names, field=by_field, leave_out=index.info.given)
    return find_clusters(things, naming, k=k, way=way, smallest=smallest, seed=seed)
