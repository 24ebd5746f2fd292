"""Labels of vectors that the test makes, calibration against formulas, and how labels are written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sentence_transformers import SentenceTransformer

from llave.errors import UserError
from llave.models.about import trained_temperature
from llave.sorting.calibration import calibrated, calibration_error, deal_folds, fit_temperature, log_loss
from llave.sorting.classify import Classified, Examples, classify
from llave.sorting.labels import classify_things, prompts_of, read_examples, read_labels
from llave.sorting.things import Thing, Things

D = 16
AXES = np.eye(D, dtype=np.float32)
LABELS = {"cats": ["a cat"], "dogs": ["a dog", "a puppy"], "birds": ["a bird"]}
TEXTS = {"a cat": AXES[0], "a dog": AXES[1], "a puppy": AXES[2], "a bird": AXES[3]}


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.stack([TEXTS[text] for text in texts])


def things_at(vector_ND: NDArray[np.float32]) -> Things:
    named = [f"{number}.png" for number in range(len(vector_ND))]
    return Things(
        all=[Thing(id=f"id {name}", key=name, name=name, kind="image") for name in named],
        vector_ND=vector_ND,
        pictures=lambda places: [b"" for _ in places],
    )


def around(axes: Sequence[int], count: int, noise: float, seed: int = 0) -> tuple[NDArray[np.float32], list[int]]:
    rng = np.random.default_rng(seed)
    which = [number % len(axes) for number in range(count)]
    vector_ND = AXES[[axes[each] for each in which]] + noise * rng.normal(size=(count, D)).astype(np.float32)
    return (vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)).astype(np.float32), which


def found(vector_ND: NDArray[np.float32], **options: object) -> Classified:
    return classify(things_at(vector_ND), LABELS, encode, **options)  # type: ignore[arg-type]


def test_prompts_alone() -> None:
    puppy = (AXES[1] + AXES[2]) / np.sqrt(2)
    result = found(np.stack([AXES[0], puppy, AXES[3], AXES[5]]), temperature=0.1, threshold=0.5)
    assert [item.label for item in result.items] == ["cats", "dogs", "birds", "none"]
    assert result.counts() == {"cats": 1, "dogs": 1, "birds": 1, "none": 1}
    assert result.items[0].score == pytest.approx(1 / (1 + 2 * np.exp(-10)))
    assert result.items[3].score == pytest.approx(1 / 3)
    assert result.unsure(1)[0].name == "3.png"
    assert (result.way, result.quality) == ("zero-shot", [])


def test_a_probe_is_used_where_prompts_are_wrong() -> None:
    vector_ND, which = around((4, 5, 6), 60, 0.1)  # nowhere near a prompt
    names = [list(LABELS)[each] for each in which]
    examples = Examples(vector_ND[:30], names[:30], [f"id {number}.png" for number in range(30)])
    result = found(vector_ND, examples=examples)
    assert result.way == "probe"
    assert [item.label for item in result.items] == names
    quality = {each.way: each for each in result.quality}
    assert quality.keys() == {"probe", "both", "zero-shot"}
    best = result.quality[0]
    assert (best.way, best.right, best.examples) == ("probe", 30, 30)
    assert quality["zero-shot"].right < 20
    assert best.accuracy == pytest.approx((0.8865, 1.0), abs=1e-4)
    assert [item.given for item in result.items] == [True] * 30 + [False] * 30


def test_prompts_are_kept_where_few_examples_say_less() -> None:
    vector_ND, which = around((0, 1, 3), 30, 0.22, seed=3)
    names = [list(LABELS)[each] for each in which]
    result = found(vector_ND, examples=Examples(vector_ND[:12], names[:12]))
    assert result.way in ("zero-shot", "both")
    assert sum(item.label == name for item, name in zip(result.items, names, strict=True)) >= 27


def test_an_examples_label_stays() -> None:
    result = found(AXES[[0, 0]], examples=Examples(AXES[[0]], ["dogs"], ["id 0.png"]))
    assert [(item.label, item.given) for item in result.items] == [("dogs", True), ("cats", False)]
    assert "1 examples are too few to compare" in result.notes[0]
    assert [item.name for item in result.unsure()] == ["1.png"]


def test_examples_of_one_label_say_nothing() -> None:
    result = found(AXES, examples=Examples(AXES, ["dogs"] * len(AXES)))
    assert (result.way, result.quality) == ("zero-shot", [])
    assert "too few to compare" in result.notes[0]


def test_the_same_seed_gives_the_same() -> None:
    vector_ND, which = around((0, 1, 3), 60, 0.4)
    examples = Examples(vector_ND, [list(LABELS)[each] for each in which])
    assert found(vector_ND, examples=examples, seed=5) == found(vector_ND, examples=examples, seed=5)


def test_temperature_of_drawn_labels() -> None:
    rng = np.random.default_rng(0)
    logit_NL = rng.normal(size=(4000, 5)) * 3
    probability_NL = softmax(logit_NL / 2.5, axis=1)
    target_N = np.array([rng.choice(5, p=row) for row in probability_NL])
    assert fit_temperature(logit_NL, target_N) == pytest.approx(2.5, rel=0.06)
    assert calibration_error(probability_NL, target_N) < 0.02
    assert calibration_error(softmax(logit_NL / 0.5, axis=1), target_N) > 0.15
    fold_N = deal_folds(target_N, 0)
    assert log_loss(calibrated(logit_NL, target_N, fold_N), target_N) < log_loss(softmax(logit_NL, axis=1), target_N)


def test_calibration_error_by_hand() -> None:
    probability_NL = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4]])
    assert calibration_error(probability_NL, np.array([0, 1, 0])) == pytest.approx((0.9 + 0.4) / 3)
    assert log_loss(np.array([[0.5, 0.5]]), np.array([1])) == pytest.approx(np.log(2))


def test_folds_hold_every_label() -> None:
    target_N = np.array([0] * 10 + [1] * 3 + [2])
    fold_N = deal_folds(target_N, 1)
    assert np.bincount(fold_N[:10]).tolist() == [2] * 5
    assert len(set(fold_N[10:13])) == 3
    assert fold_N[13] == -1


def test_labels_as_they_are_written(tmp_path: Path) -> None:
    assert read_labels("cats, dogs") == {"cats": [], "dogs": []}
    file = tmp_path / "labels.txt"
    file.write_text("# pets\ncats: a photo of a cat | a kitten\ndogs\n\n", "utf-8")
    labels = read_labels(str(file))
    assert prompts_of(labels, ["a {label}", "the {label}"]) == {
        "cats": ["a photo of a cat", "a kitten"],
        "dogs": ["a dogs", "the dogs"],
    }
    assert prompts_of({"dogs": ()}) == {"dogs": ["a picture of dogs"]}
    table = tmp_path / "examples.csv"
    table.write_text("item,label\na.png,cats\n")
    assert read_examples(table) == {"a.png": "cats"}


@pytest.mark.parametrize(
    ("said", "why"),
    [("cats,cats", "'cats' twice"), ("cats,none", "called 'none'"), ("gone.txt", "no such file")],
)
def test_labels_that_cannot_be(said: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        read_labels(said)


def test_what_cannot_be_classified(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two"):
        classify(things_at(AXES[:1]), {"cats": ["a cat"]}, encode)
    with pytest.raises(UserError, match="'fish', which is none of the labels"):
        found(AXES, examples=Examples(AXES[:1], ["fish"]))
    with pytest.raises(UserError, match=r"has no \{label\}"):
        prompts_of({"cats": ()}, ["a picture"])
    (tmp_path / "e.csv").write_text("item,name\na,b\n")
    with pytest.raises(UserError, match="no column 'label'"):
        read_examples(tmp_path / "e.csv")


def test_with_a_model(nano_untouched: SentenceTransformer) -> None:
    things = things_at(nano_untouched.encode(["a picture of cats", "a picture of dogs"]))
    result = classify_things(things, nano_untouched, ["cats", "dogs"])
    assert [item.label for item in result.items] == ["cats", "dogs"]
    assert result.temperature == 0.02
    assert trained_temperature(nano_untouched) is None
    with pytest.raises(UserError, match=r"examples: no item 'x\.png'; write paths"):
        classify_things(things, nano_untouched, examples={"x.png": "cats"})


def test_a_trained_models_temperature(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    from llave import load_model

    nano_untouched.save_pretrained(str(tmp_path / "m"))
    (tmp_path / "m" / "run.json").write_text('{"config": {"loss": {"temperature": 0.07}}}')
    model = load_model(tmp_path / "m", device="cpu")
    assert trained_temperature(model) == 0.07
    for said in ("{", "[]", '{"config": {"loss": {}}}', '{"config": {"loss": {"temperature": "low"}}}'):
        (tmp_path / "m" / "run.json").write_text(said)  # another program's
        assert trained_temperature(model) is None
