"""Duplicates of a mixture that is known: what is found, what is not, and why."""

import dataclasses
import random
import resource
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llave.errors import UserError
from llave.progress import show_progress
from llave.sorting.duplicates import Duplicates, NearVectors, choose_limits, find_duplicates, stars
from llave.sorting.exact import normal_words
from llave.sorting.looks import Looks, NearLooks
from llave.sorting.things import Things, read_things
from llave.sorting.threshold import Judged, choose_threshold, read_judged, wilson
from tests.sorting.pictures import COPIES, draw, page, save_copy


def find(folder: Path, **options: float) -> Duplicates:
    with show_progress(False) as work:
        return find_duplicates(read_things(folder, work), work, **options)


def read(folder: Path) -> Things:
    with show_progress(False) as work:
        return read_things(folder, work)


def groups(found: Duplicates) -> set[frozenset[str]]:
    return {frozenset(copy.name for copy in group.copies) for group in found.groups}


def test_all_copies_and_nothing_else(tmp_path: Path) -> None:
    scenes = 40
    for seed in range(scenes):
        image = draw(seed)
        image.save(tmp_path / f"{seed}.original.png")
        for way in COPIES:
            save_copy(image, way, tmp_path / f"{seed}.{way}")
    for seed in range(100, 140):
        draw(seed).save(tmp_path / f"{seed}.alone.png")
    found = find(tmp_path)
    pairs = {pair for group in found.groups for pair in combinations(sorted(c.name for c in group.copies), 2)}
    right = {pair for pair in pairs if pair[0].split(".")[0] == pair[1].split(".")[0]}
    assert pairs == right
    wanted = scenes * (len(COPIES) + 1) * len(COPIES) // 2
    assert len(right) >= 0.99 * wanted
    best = {group.best.name for group in found.groups}
    assert best == {f"{seed}.double.png" for seed in range(scenes)}  # of most pixels
    evidence = {copy.name: copy.evidence for group in found.groups for copy in group.copies}
    assert evidence["3.double.png"] is None
    assert evidence["3.q50.jpg"] == "near"


def test_evidence_is_the_strongest(tmp_path: Path) -> None:
    image = draw(1)
    image.save(tmp_path / "a.bmp")
    (tmp_path / "b.bmp").write_bytes((tmp_path / "a.bmp").read_bytes())
    image.save(tmp_path / "c.png")
    save_copy(image, "half.png", tmp_path / "d.png")
    (group,) = find(tmp_path).groups
    assert [(copy.name, copy.evidence) for copy in group.copies] == [
        ("a.bmp", None),
        ("b.bmp", "bytes"),
        ("c.png", "pixels"),
        ("d.png", "near"),
    ]
    assert (group.best.width, group.best.height) == image.size
    assert group.weakest.name == "d.png"
    assert group.weakest.hash_distance is not None
    assert groups(find(tmp_path, near=-1)) == {frozenset({"a.bmp", "b.bmp"})}


def test_what_says_nothing_matches_only_itself(tmp_path: Path) -> None:
    for name, image in {
        "white": Image.new("RGB", (64, 64), "white"),
        "white again": Image.new("RGB", (64, 64), "white"),
        "white, larger": Image.new("RGB", (65, 64), "white"),
        "nearly white": Image.new("RGB", (64, 64), (254, 255, 255)),
        "black": Image.new("RGB", (64, 64)),
        "red": Image.new("RGB", (64, 64), "red"),
        "clear": Image.new("RGBA", (48, 48), (10, 200, 30, 0)),
        "clear, other colours below": Image.new("RGBA", (48, 48), (200, 0, 30, 0)),
        "gradient": Image.linear_gradient("L"),
    }.items():
        image.save(tmp_path / f"{name}.png")
    assert groups(find(tmp_path)) == {
        frozenset({"white.png", "white again.png"}),
        frozenset({"clear.png", "clear, other colours below.png"}),
    }


def test_vectors_say_nothing_of_pictures_of_one_colour(tmp_path: Path) -> None:
    for name, image in (("red", Image.new("RGB", (9, 9), "red")), ("blue", Image.new("RGB", (9, 9), "blue"))):
        image.save(tmp_path / f"{name}.png")
    for seed in range(2):
        draw(seed).save(tmp_path / f"{seed}.png")
    things = dataclasses.replace(read(tmp_path), vector_ND=np.ones((4, 1), np.float32))
    with show_progress(False) as work:
        (group,) = find_duplicates(things, work, cosine=0.9).groups
    assert {copy.name for copy in group.copies} == {"0.png", "1.png"}
    assert [copy.evidence for copy in group.copies] == [None, "vector"]


def test_pages_of_text_are_told_apart(tmp_path: Path) -> None:
    for seed in range(8):
        page(seed).save(tmp_path / f"{seed}.png")
        save_copy(page(seed), "half.png", tmp_path / f"{seed} half.png")
    assert groups(find(tmp_path)) == {frozenset({f"{seed}.png", f"{seed} half.png"}) for seed in range(8)}


def test_another_colour_or_place_is_another_picture(tmp_path: Path) -> None:
    for name, colour, hand in (("red", "red", 10), ("green", "green", 10), ("later", "red", 40)):
        image = Image.new("RGB", (96, 96), "white")
        image.paste(colour, (16, 16, 80, 80))
        image.paste("black", (44, hand, 52, hand + 40))
        image.save(tmp_path / f"{name}.png")
    assert find(tmp_path).groups == []


def test_texts_of_the_same_words(tmp_path: Path) -> None:
    for name, text in {"a": "Hello,  World!", "b": "hello world", "c": "hello worlds", "d": "…", "e": "!"}.items():
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
    (group,) = find(tmp_path).groups
    assert [(copy.name, copy.evidence) for copy in group.copies] == [("a.txt", None), ("b.txt", "text")]
    assert normal_words("Ｈé\n LLO") == "hé llo"


def test_likeness_is_not_handed_on() -> None:
    angles = np.radians([0, 10, 20, 30, 40])
    vector_ND = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    near = NearVectors(vector_ND, np.arange(5), float(np.cos(np.radians(11))))
    assert stars([0, 1, 2, 3, 4], [near]) == {0: [1], 2: [3], 4: []}


def test_twenty_thousand_vectors_in_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    vector_ND = rng.normal(size=(20_000, 64)).astype(np.float32)
    vector_ND[1::2][:5000] = vector_ND[::2][:5000] + 0.02 * rng.normal(size=(5000, 64)).astype(np.float32)
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = stars(range(20_000), [NearVectors(vector_ND, np.arange(20_000), 0.95)])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert sum(map(len, found.values())) == 5000
    assert all(members == [centre + 1] for centre, members in found.items() if members)
    assert grown < 200_000  # kB; a matrix of all pairs has 1.6 GB


def test_the_tree_finds_all_that_comparing_all_finds() -> None:
    looks = Looks(300)
    rng = random.Random(0)
    for place in range(300):
        image = draw(place // 3)
        looks.add(place, _webp(image.resize((rng.randint(60, 90) * 4 // 3, rng.randint(60, 66)))))
    near = NearLooks(looks, 30)
    everyone = np.arange(300)
    for place in range(300):
        slow = everyone[(looks.difference(place, everyone) <= 30) & looks.alike(place, everyone)]
        assert set(near([place])[0]) == set(slow)


def _webp(image: Image.Image) -> bytes:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    return buffer.getvalue()


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").write_bytes(b"no picture")
    draw(0).save(tmp_path / "c.png")
    found = find(tmp_path)
    assert groups(found) == {frozenset({"a.png", "b.png"})}
    assert list(found.unseen) == ["a.png"]
    assert "a.png: not a picture" in found.unseen["a.png"]


def test_rows_of_a_table(tmp_path: Path) -> None:
    for seed in range(2):
        draw(seed).save(tmp_path / f"{seed}.png")
    rows = [("a", "0.png", "one"), ("b", "0.png", "another caption"), ("c", "1.png", ""), ("c", "0.png", "")]
    (tmp_path / "t.csv").write_text("id,image,text\n" + "".join(f"{','.join(row)}\n" for row in rows))
    found = find(tmp_path / "t.csv")
    assert [[copy.id for copy in group.copies] for group in found.groups] == [["a", "b"]]  # whatever is said of it
    assert found.errors == {"c (again)": "a second item of this id; ids must be unique"}


def test_limits_from_judged_pairs(tmp_path: Path) -> None:
    rows = ["a,b,same"]
    for seed in range(12):
        draw(seed).save(tmp_path / f"{seed}.png")
        save_copy(draw(seed), "q30.jpg", tmp_path / f"{seed}.jpg")
        rows.append(f"{seed}.png,{seed}.jpg,yes")
        rows.append(f"{seed}.png,{(seed + 1) % 12}.png,no")
    rows.append("0.png,gone.png,yes")
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(rows))
    judged = read_judged(table)
    table.unlink()
    with show_progress(False) as work:
        near, cosine, unknown = choose_limits(read(tmp_path), judged, work, precision=0.99)
    assert (near.found, near.right, near.same, near.pairs, unknown) == (12, 12, 12, 24, 1)
    assert cosine is None
    assert near.threshold is not None
    assert -20 <= near.threshold < 0
    assert "12 of the 12 pairs that pass are the same (75.8% to 100.0%)" in str(near)


def test_a_threshold_by_hand() -> None:
    score, same = [0.9, 0.8, 0.7, 0.7, 0.1], [True, True, False, True, True]
    assert choose_threshold(score, same, precision=1).threshold == 0.8
    assert choose_threshold(score, same, precision=0.75).threshold == 0.1
    assert choose_threshold([0.5], [False], precision=0.5).threshold is None
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


def test_judged_pairs_that_say_nothing(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("a,b,same\nx,y,perhaps\n")
    with pytest.raises(UserError, match="row 1: same is 'perhaps'; write yes or no"):
        read_judged(table)
    table.write_text("a,b\nx,y\n")
    with pytest.raises(UserError, match="no column 'same'"):
        read_judged(table)
    draw(0).save(tmp_path / "0.png")
    table.unlink()
    things = read(tmp_path)
    with show_progress(False) as work, pytest.raises(UserError, match="of no judged pair both items are there"):
        choose_limits(things, [Judged("p", "q", True)], work, precision=0.9)
