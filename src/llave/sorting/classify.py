"""Labels for items: by prompts alone (zero-shot), by a linear probe, or by both, whichever examples show to be better.

Zero-shot, a label's vector is the mean of its prompts' vectors, and an item's scores are the softmax of its cosines at
a temperature: the one that the model was trained at, or, with examples, the one of least log loss on them. The probe is
a logistic regression on the vectors; "both" adds its logits to those of the prompts. Which way is better is said by the
examples: each is labelled by what was learnt from the others (five folds), and the way of the least log loss is used.
That says more than how often a way is right: with few examples, one more or less is chance.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from llave.errors import UserError
from llave.sorting.calibration import calibrated, calibration_error, deal_folds, fit_temperature, log_loss
from llave.sorting.things import Things
from llave.sorting.threshold import wilson

__all__ = [
    "NONE",
    "PROMPT",
    "TEMPERATURE",
    "Classified",
    "Examples",
    "Labelled",
    "Quality",
    "classify",
]

NONE = "none"
"""What an item is called whose best score is below the threshold."""
PROMPT = "a picture of {label}"
TEMPERATURE = 0.02
"""Of a model that does not say what it was trained at."""
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""Of the probe: how much examples count beside the wish for small weights (scikit-learn's C)."""
ENOUGH = 10
"""Examples that can be asked, from which on ways are compared."""

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Vectors]
"""Unit vectors (N, D) of texts."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Items whose label is known.

    Args:
        vector_ND: of them.
        labels: of them.
        ids: of those that are themselves classified, by which their label stays.
    """

    vector_ND: Vectors
    labels: Sequence[str]
    ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An item and its label.

    Args:
        label: or "none", if no label has a score of the threshold or more.
        score: of the best label, between 0 and 1; second of the next one.
        given: the label is that of an example.
    """

    id: str
    name: str
    label: str
    score: float
    second: str
    second_score: float
    given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a way is worth on examples that it has not learnt from.

    Args:
        way: ``"zero-shot"``, ``"probe"`` or ``"both"``.
        right: of so many ``examples``.
        error: expected calibration error.
        strength: of the probe.
    """

    way: str
    right: int
    examples: int
    error: float
    log_loss: float
    strength: float | None = None

    @property
    def accuracy(self) -> tuple[float, float]:
        """Its interval at 95%."""
        return wilson(self.right, self.examples)

    def __str__(self) -> str:
        low, high = self.accuracy
        share = self.right / self.examples
        return (
            f"{self.way}: {share:.1%} ({low:.1%} to {high:.1%}) of {self.examples:,} examples right, calibration error "
            f"{self.error:.3f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """Every item with its label.

    Args:
        way: that was used.
        temperature: of its scores; of the probe, relative to the one that the model was trained at.
        quality: of each way, the best one first; empty where there were no or too few examples.
        notes: lines for a person.
    """

    items: Sequence[Labelled]
    labels: Sequence[str]
    way: str
    temperature: float
    threshold: float
    quality: Sequence[Quality] = ()
    notes: Sequence[str] = ()

    def counts(self) -> dict[str, int]:
        """Items of each label, in the order of the labels, and then of none."""
        found = Counter(item.label for item in self.items)
        return {label: found[label] for label in (*self.labels, NONE) if label != NONE or found[NONE]}

    def unsure(self, limit: int = 10) -> list[Labelled]:
        """Those of the lowest scores, the lowest first; no examples."""
        return sorted((item for item in self.items if not item.given), key=lambda item: item.score)[:limit]


def _label_vectors(labels: Mapping[str, Sequence[str]], encode: Encode) -> Vectors:
    """A unit vector (L, D) for each label, the mean of those of its prompts."""
    texts = [prompt for prompts in labels.values() for prompt in prompts]
    vector_PD, found, start = encode(texts), [], 0
    for prompts in labels.values():
        mean_D = vector_PD[start : start + len(prompts)].mean(axis=0)
        found.append(mean_D / np.linalg.norm(mean_D))
        start += len(prompts)
    return np.stack(found)


def classify(
    things: Things,
    labels: Mapping[str, Sequence[str]],
    encode: Encode,
    *,
    examples: Examples | None = None,
    threshold: float = 0.0,
    temperature: float = TEMPERATURE,
    seed: int = 0,
) -> Classified:
    """A label for each item.

    Args:
        things: with vectors.
        labels: the prompts of each, at least one.
        encode: texts, into the items' space.
        temperature: of zero-shot scores; with enough examples it is found by them.

    Raises:
        UserError: fewer than two labels, or an example of none of them.
    """
    names = list(labels)
    if len(names) < 2:
        raise UserError(f"labels {', '.join(names) or 'none'}: at least two, to choose between")
    assert things.vector_ND is not None
    class_LD = _label_vectors(labels, encode)
    way, notes = "zero-shot", []
    quality: list[Quality] = []
    logits: Callable[[Vectors], Floats] = _Cosines(class_LD, temperature)
    factor = 1.0  # of the temperature, that the examples ask for
    if examples is not None:
        unknown = [label for label in examples.labels if label not in labels]
        if unknown:
            raise UserError(f"an example is of {unknown[0]!r}, which is none of the labels: {', '.join(names)}")
        target_N = np.array([names.index(label) for label in examples.labels], np.intp)
        fold_N = deal_folds(target_N, seed)
        if np.count_nonzero(fold_N >= 0) < ENOUGH or len(np.unique(target_N)) < 2:
            notes.append(
                f"{len(target_N):,} examples are too few to compare a probe with the prompts, which takes {ENOUGH} of "
                "labels that have two or more; prompts alone are used"
            )
        else:
            quality, logits, factor = _compare(examples.vector_ND, target_N, fold_N, class_LD, temperature)
            way = quality[0].way
    probability_NL = softmax(logits(things.vector_ND) / factor, axis=1)
    given = {} if examples is None else dict(zip(examples.ids, examples.labels, strict=False))
    return Classified(
        items=[
            _labelled(thing.id, thing.name, names, probability_L, threshold, given.get(thing.id))
            for thing, probability_L in zip(things.all, probability_NL, strict=True)
        ],
        labels=names,
        way=way,
        temperature=temperature * factor,
        threshold=threshold,
        quality=quality,
        notes=notes,
    )


def _compare(
    vector_ND: Vectors, target_N: Ints, fold_N: Ints, class_LD: Vectors, temperature: float
) -> tuple[list[Quality], Callable[[Vectors], Floats], float]:
    """What each way is worth, the best one first; the logits of that one, and their temperature."""
    asked = fold_N >= 0
    target, folds = target_N[asked], fold_N[asked]
    prompts = _Cosines(class_LD, temperature)
    tried: list[tuple[Quality, Floats]] = []

    def judge(way: str, logit_NL: Floats, strength: float | None) -> None:
        probability_NL = calibrated(logit_NL, target, folds)
        found = Quality(
            way=way,
            right=int((probability_NL.argmax(axis=1) == target).sum()),
            examples=len(target),
            error=calibration_error(probability_NL, target),
            log_loss=log_loss(probability_NL, target),
            strength=strength,
        )
        tried.append((found, logit_NL))

    prompt_NL = prompts(vector_ND[asked])
    judge("zero-shot", prompt_NL, None)
    for strength in STRENGTHS:
        probe_NL = np.zeros_like(prompt_NL)
        for fold in np.unique(folds):
            learnt = fold_N != fold
            probe = _Probe(vector_ND[learnt], target_N[learnt], strength, len(class_LD))
            probe_NL[folds == fold] = probe(vector_ND[~learnt])
        judge("probe", probe_NL, strength)
        judge("both", prompt_NL + probe_NL, strength)
    tried.sort(key=lambda pair: (pair[0].log_loss, -pair[0].right))
    best, logit_NL = tried[0]
    of_way = {found.way: found for found, _ in reversed(tried)}
    logits: Callable[[Vectors], Floats] = prompts
    if best.strength is not None:
        whole = _Probe(vector_ND, target_N, best.strength, len(class_LD))
        logits = whole if best.way == "probe" else lambda vectors: prompts(vectors) + whole(vectors)
    return sorted(of_way.values(), key=lambda each: each.log_loss), logits, fit_temperature(logit_NL, target)


class _Cosines:
    """Of the labels' vectors, at a temperature."""

    def __init__(self, class_LD: Vectors, temperature: float) -> None:
        self._class_LD, self._temperature = class_LD, temperature

    def __call__(self, vector_ND: Vectors) -> Floats:
        return (vector_ND @ self._class_LD.T).astype(np.float64) / self._temperature


class _Probe:
    """Logistic regression; a label that it has no example of has the lowest logit of the others."""

    def __init__(self, vector_ND: Vectors, target_N: Ints, strength: float, labels: int) -> None:
        from sklearn.linear_model import LogisticRegression

        self._labels = labels
        self._model: Any = LogisticRegression(C=strength, max_iter=2000).fit(vector_ND, target_N)

    def __call__(self, vector_ND: Vectors) -> Floats:
        found: Floats = np.asarray(self._model.decision_function(vector_ND), np.float64)
        if found.ndim == 1:  # of two labels, that of the second
            found = np.stack([-found / 2, found / 2], axis=1)
        logit_NL = np.repeat(found.min(axis=1, keepdims=True), self._labels, axis=1)
        logit_NL[:, self._model.classes_] = found
        return logit_NL


def _labelled(
    identity: str, name: str, names: Sequence[str], probability_L: Floats, threshold: float, given: str | None
) -> Labelled:
    best, second = np.argsort(-probability_L, kind="stable")[:2]
    score = float(probability_L[best])
    return Labelled(
        id=identity,
        name=name,
        label=given or (names[best] if score >= threshold else NONE),
        score=score,
        second=names[second],
        second_score=float(probability_L[second]),
        given=given is not None,
    )
