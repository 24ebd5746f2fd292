"""Scores as probabilities that can be believed: one temperature, found by log loss on examples that it has not seen."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

__all__ = ["calibrated", "calibration_error", "deal_folds", "fit_temperature", "log_loss"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
FOLDS, BINS = 5, 10
RANGE = (-4.0, 3.0)
"""Powers of ten between which a factor of the temperature is sought."""
LEAST = 1e-12


def log_loss(probability_NL: Floats, target_N: Ints) -> float:
    """Mean of the negative logarithm of what the right label got."""
    right_N = probability_NL[np.arange(len(target_N)), target_N]
    return float(-np.log(np.maximum(right_N, LEAST)).mean())


def calibration_error(probability_NL: Floats, target_N: Ints) -> float:
    """Expected calibration error (Guo et al. 2017): how far the best label's probability is from how often it is
    right, in the mean over ten bins of equal width."""
    top_N = probability_NL.max(axis=1)
    right_N = probability_NL.argmax(axis=1) == target_N
    bin_N = np.minimum((top_N * BINS).astype(int), BINS - 1)
    gaps = [abs(float(top_N[bin_N == each].sum() - right_N[bin_N == each].sum())) for each in range(BINS)]
    return sum(gaps) / len(target_N)


def fit_temperature(logit_NL: Floats, target_N: Ints) -> float:
    """By which logits are divided so that the log loss is least."""
    scale = max(float(np.ptp(logit_NL, axis=1).mean()), LEAST)
    found = minimize_scalar(
        lambda power: log_loss(softmax(logit_NL / (scale * 10**power), axis=1), target_N),
        bounds=RANGE,
        method="bounded",
    )
    return float(scale * 10**found.x)


def deal_folds(target_N: Ints, seed: int) -> Ints:
    """A fold (N,) for each example, labels spread over all of them; -1 of the only example of a label, which is always
    learnt from and never asked."""
    rng = np.random.default_rng(seed)
    fold_N = np.full(len(target_N), -1, np.intp)
    for label in np.unique(target_N):
        places = rng.permutation(np.flatnonzero(target_N == label))
        if len(places) > 1:
            fold_N[places] = (np.arange(len(places)) + rng.integers(FOLDS)) % FOLDS
    return fold_N


def calibrated(logit_NL: Floats, target_N: Ints, fold_N: Ints) -> Floats:
    """Probabilities (N, L), each fold's at the temperature that the other folds give."""
    probability_NL = np.zeros_like(logit_NL)
    for fold in np.unique(fold_N):
        others = fold_N != fold
        probability_NL[~others] = softmax(
            logit_NL[~others] / fit_temperature(logit_NL[others], target_N[others]), axis=1
        )
    return probability_NL
