"""Lower confidence bounds on mu (Gaussian DP) from an attacker's guesses about which canaries were in the data.

The game: m canaries, each put into the data set by its own fair coin; the mechanism runs once; the attacker guesses
the coins of c canaries, a number fixed beforehand, and abstains on the rest. If the mechanism is f-DP for adding or
removing one canary, then only few guesses are right, whatever else it does. Two bounds follow:

- `mu_from_one_run`: Mahloujifar, Melis, Chaudhuri 2024, "Auditing f-differential privacy in one run" (arXiv
  2410.22235), which sharpens Steinke, Nasr, Jagielski 2023 (arXiv 2305.08846). One run says little at high
  confidence, however large m is: f-DP allows a mechanism that nearly always reveals little and rarely all coins at
  once (Xiang, Wang, Wang 2025, arXiv 2501.17750).
- `mu_from_many_runs`: where runs are cheap. f-DP bounds the *mean* number of correct guesses of a run exactly, and a
  product of ratios with mean at most 1 exceeds 1/t with probability at most t (Markov). It allows any confidence.

Both hold for every mechanism and every attacker; within a run, canaries may depend on each other in any way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import ndtr, ndtri

_STEP = 1e-5
"""Bounds found by bisection are rounded down by less than this."""


def mu_from_one_run(canaries: int, guesses: int, correct: int, confidence: float) -> float:
    """The largest mu that one run refutes, rounded down; 0 if it refutes none.

    A mechanism that is mu-GDP for adding or removing one canary gets a bound above its mu with probability at most
    1 - confidence.

    Args:
        canaries: coins that were thrown.
        guesses: coins that the attacker guessed, a number fixed beforehand.
        correct: how many of the guesses were right.

    Raises:
        ValueError: the numbers do not fit each other.
    """
    _check(canaries, guesses, confidence)
    if not 0 <= correct <= guesses:
        raise ValueError(f"correct must be in 0..{guesses}, not {correct}")
    tail = 1 - confidence
    low, high = 0.0, 1.0
    while _refutes(high, canaries, guesses, correct, tail):
        low, high = high, 2 * high
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if _refutes(middle, canaries, guesses, correct, tail) else (low, middle)
    return low


def _refutes(mu: float, canaries: int, guesses: int, correct: int, tail: float) -> bool:
    """Whether mu-GDP forbids that `correct` or more guesses are right with probability `tail`.

    Let p_j be the probability of exactly j correct guesses, right_i = sum over j >= i of p_j * j / m, and wrong_i the
    same with c - j for j: the chance that i or more guesses are right and that a random canary is among the right
    (wrong) ones. Flipping a rightly guessed coin makes it a wrong one and leaves i or more right, so f-DP gives
    wrong_i >= inverse(right_(i+1)), with inverse(x) = Phi(Phi^-1(x) - mu) for mu-GDP. Starting from the assumed tail,
    the least masses that this allows are followed down to i = 0, where they must not exceed all there is, c / m.
    """
    right, wrong = tail * correct / canaries, tail * (guesses - correct) / canaries
    everything = guesses / canaries
    for i in range(correct - 1, -1, -1):
        if right + wrong >= everything:
            return True
        least = float(ndtr(ndtri(right) - mu))
        if least <= wrong:
            return False  # nothing forces more mass on fewer correct guesses, neither here nor further down
        right += (least - wrong) * i / (guesses - i)
        wrong = least
    return right + wrong >= everything


def mu_from_many_runs(canaries: int, guesses: int, correct: Sequence[int], confidence: float) -> float:
    """The largest mu that the runs together refute; 0 if they refute none.

    For mu-GDP the mean share of correct guesses is at most a = `best_accuracy(...)`, whatever happened in earlier runs,
    so the product of share / a over the runs has mean at most 1.

    Args:
        canaries, guesses: of each run.
        correct: for each run, how many guesses were right. A run may depend on earlier ones.

    Raises:
        ValueError: the numbers do not fit each other.
    """
    _check(canaries, guesses, confidence)
    if not correct or not all(0 <= number <= guesses for number in correct):
        raise ValueError(f"there must be runs, each with 0..{guesses} correct guesses")
    if min(correct) == 0:
        return 0.0  # the product is 0
    mean_log = sum(math.log(number / guesses) for number in correct) / len(correct)
    # The accuracy for which the product is exactly 1 / (1 - confidence), and the mu that allows it.
    accuracy = math.exp(mean_log + math.log(1 - confidence) / len(correct))
    if accuracy <= 0.5:
        return 0.0
    share = guesses / canaries
    return float(ndtri(share * accuracy) - ndtri(share * (1 - accuracy)))


def best_accuracy(mu: float, canaries: int, guesses: int) -> float:
    """The largest mean share of correct guesses that mu-GDP allows an attacker who makes `guesses` guesses.

    A random canary is guessed rightly with probability r and wrongly with probability w, r + w = guesses / canaries.
    Since its coin is fair, f-DP gives r <= Phi(Phi^-1(w) + mu). Independent Gaussian noise reaches this bound.
    """
    _check(canaries, guesses, 0.5)
    share = guesses / canaries
    low, high = 0.0, share / 2
    for _ in range(100):
        wrong = (low + high) / 2
        low, high = (wrong, high) if float(ndtr(ndtri(wrong) + mu)) < share - wrong else (low, wrong)
    return 1 - low / share


def _check(canaries: int, guesses: int, confidence: float) -> None:
    if not 1 <= guesses <= canaries:
        raise ValueError(f"guesses must be in 1..{canaries}, not {guesses}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), not {confidence}")
