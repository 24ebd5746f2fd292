"""Groups of vectors that the test makes, and what they are called."""

from typing import Any

import numpy as np
import pytest

from llave.errors import UserError
from llave.sorting import clusters
from llave.sorting.clusters import by_texts, by_values, find_clusters, group_vectors, telling
from llave.sorting.naming import choose_naming
from llave.sorting.things import Thing, Things
from tests.sorting.test_classify import AXES, around, things_at

NAMES = ("zero", "one", "two")


def test_dense_groups_and_what_is_in_none() -> None:
    vector_ND, which = around((0, 1, 2), 90, 0.05)
    rng = np.random.default_rng(1)
    far_ND = rng.normal(size=(6, 16)).astype(np.float32)
    far_ND /= np.linalg.norm(far_ND, axis=1, keepdims=True)
    found = find_clusters(things_at(np.concatenate([vector_ND, far_ND])), by_texts(NAMES, AXES[:3]), way="hdbscan")
    assert found.way == "HDBSCAN, 5 items or more"
    assert {cluster.name for cluster in found.clusters} == set(NAMES)
    for cluster in found.clusters:
        near = [int(identity[3:-4]) for identity in cluster.ids[:20]]  # a far one may be in a group, but at its end
        assert {NAMES[which[place]] for place in near} == {cluster.name}
    assert {int(identity[3:-4]) for identity in found.none} & set(range(90, 96))
    values = found.values()
    assert len(values) == 96
    assert {values[identity] for identity in found.none} == {None}
    assert {value for value in values.values() if value} == {str(cluster) for cluster in found.clusters}


def test_as_many_groups_as_asked_for() -> None:
    vector_ND, which = around((0, 1, 2), 60, 0.2)
    one, other = (find_clusters(things_at(vector_ND), by_values(which), k=3, seed=4) for _ in range(2))
    assert one == other
    assert [len(cluster.ids) for cluster in one.clusters] == [20, 20, 20]
    assert {cluster.name for cluster in one.clusters} == {"0", "1", "2"}
    assert one.clusters[0].why == "100% of its items, 33% of all"
    assert one.none == []


def test_many_vectors_take_the_bounded_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MANY", 50)
    vector_ND, which = around((0, 1, 2), 72, 0.05)
    number_N, way = group_vectors(vector_ND)
    assert way == "k-means in batches"
    for each in range(6):
        assert len({which[place] for place in np.flatnonzero(number_N == each)}) <= 1
    again, _ = group_vectors(vector_ND)
    assert (again == number_N).all()


def test_a_name_tells_a_group_from_the_others() -> None:
    centre_CD = np.array([[0.9, 0.43589, 0], [0.9, 0, 0.43589]], np.float32)
    text_VD = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.8, 0, 0.6]], np.float32)
    names = by_texts(["both", "left", "right"], text_VD)(np.array([0, 1]), centre_CD)
    assert [name for name, _ in names] == ["left", "right"]
    values = ["rare", "common", "common", "common", "common", None]
    (name, why), (other, _) = by_values(values)(np.array([0, 0, 0, 1, 1, 1]), centre_CD)
    assert (name, why) == ("rare", "33% of its items, 17% of all")
    assert other == "common"


def test_the_field_that_tells_most() -> None:
    number_N = np.array([0, 0, 0, 1, 1, 1, -1])
    fields = {"id": list("abcdefg"), "kind": list("xxxyyyx"), "odd": [*"ababab", None], "same": ["s"] * 7}
    assert telling(fields, number_N) == "kind"
    assert telling({"same": ["s"] * 7}, number_N) is None


def test_where_names_come_from() -> None:
    vector_ND, which = around((0, 1), 40, 0.05)

    def never(texts: object) -> np.ndarray:
        raise AssertionError("no text is to be embedded")

    def things(kind: str = "image", texts: bool = False, fields: bool = False) -> Things:
        made = [
            Thing(
                id=f"{n}",
                key=f"{n}",
                name=f"{n}",
                kind=kind,
                text=f"text {which[n]}" if texts else "",
                fields={"animal": NAMES[which[n]], "odd": str(n // 2 % 2)} if fields else {},
            )
            for n in range(40)
        ]
        return Things(all=made, vector_ND=vector_ND, pictures=lambda places: [])

    of_field = things(fields=True)
    found = find_clusters(of_field, choose_naming(of_field, never), k=2)
    assert {cluster.name for cluster in found.clusters} == {"zero", "one"}
    assert found.clusters[0].why == "animal: 100% of its items, 50% of all"
    found = find_clusters(of_field, choose_naming(of_field, never, field="animal"), k=2)
    assert {cluster.name for cluster in found.clusters} == {"zero", "one"}
    texts = things(kind="text", texts=True)
    found = find_clusters(texts, choose_naming(texts, never), k=2)
    assert {cluster.name for cluster in found.clusters} == {"text 0", "text 1"}
    bare = things()
    found = find_clusters(bare, choose_naming(bare, never), k=2)
    assert {(cluster.name, cluster.why) for cluster in found.clusters} == {("", "nothing to name it by; say --names")}
    with pytest.raises(UserError, match="no item has a field 'colour'; there are: animal, odd"):
        choose_naming(of_field, never, field="colour")
    with pytest.raises(UserError, match="not from both"):
        choose_naming(of_field, never, names=["a"], field="animal")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"k": 17}, "k 17: from 2 to the number of items, 16"),
        ({"k": 1}, "k 1"),
        ({"way": "hdbscan", "k": 3}, "HDBSCAN takes no k"),
        ({"way": "hdbscan", "smallest": 16}, "from 17 to 50,000 items, not 16"),
        ({"smallest": 4}, "smallest is for HDBSCAN"),
        ({"way": "other"}, "one of kmeans, hdbscan"),
    ],
)
def test_what_cannot_be_grouped(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        group_vectors(AXES, **options)
