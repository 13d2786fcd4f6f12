"""Uncertainty: terms, how they combine, and what they mean for a figure taken over many steps.

Standard uncertainties are combined as the root of the sum of their squares and expanded by
``k = 2``, about 95 % (GUM). A term is *shared* when it is the same, unknown, for every step of a
run, such as the phase between polling and a meter's refresh; it does not average away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COVERAGE_FACTOR = 2.0
_NORMAL_95 = 1.959964
_MEDIAN_TO_MEAN = math.sqrt(math.pi / 2.0)


class Term(NamedTuple):
    """One contribution, as a standard uncertainty in the unit of the figure it belongs to."""

    name: str
    standard: float
    shared: bool = False


class Estimate(NamedTuple):
    """A value and what makes it uncertain."""

    value: float
    terms: tuple[Term, ...]

    @property
    def standard(self) -> float:
        """Combined standard uncertainty."""
        return root_sum(term.standard for term in self.terms)

    @property
    def expanded(self) -> float:
        """Expanded uncertainty, k = 2."""
        return COVERAGE_FACTOR * self.standard


def root_sum(parts: Iterable[float]) -> float:
    """Root of the sum of squares."""
    return math.sqrt(sum(part * part for part in parts))


def rectangular(half_width: float) -> float:
    """Standard uncertainty of something that lies anywhere within +/- ``half_width``."""
    return half_width / math.sqrt(3.0)


def student(freedom: float) -> float:
    """Student's t for 95 % over that of the normal distribution, for a deviation known from few.

    An uncertainty of type A times this keeps its 95 % at k = 2. Expansion of Abramowitz and
    Stegun 26.7.5; within 3 % from two degrees of freedom on, and 6.5 (exact) for one.
    """
    if freedom < 1.5:
        return 6.5
    z = _NORMAL_95
    correction = (
        (z**2 + 1) / 4 / freedom
        + (5 * z**4 + 16 * z**2 + 3) / 96 / freedom**2
        + (3 * z**6 + 19 * z**4 + 17 * z**2 - 15) / 384 / freedom**3
    )
    return 1.0 + correction


@lru_cache(maxsize=512)
def deviation_factor(freedom: float) -> float:
    """Half width of the 95 % interval of a standard deviation, as a share of it.

    The c for which the true deviation lies within s (1 +/- c) in 95 % of all cases, s having
    ``freedom`` degrees of freedom: P(nu / (1 + c)^2 < chi^2_nu < nu / (1 - c)^2) = 0.95, with the
    approximation of Wilson and Hilferty for chi^2; solved by bisection.
    """
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        above = 1.0 if middle >= 1.0 else _chi_square_below(1 / (1 - middle) ** 2, freedom)
        inside = above - _chi_square_below(1 / (1 + middle) ** 2, freedom)
        low, high = (middle, high) if inside < 0.95 else (low, middle)
    return high


def _chi_square_below(share: float, freedom: float) -> float:
    """P(chi^2_nu < share * nu)."""
    spread = 2.0 / (9.0 * freedom)
    return _normal_below((share ** (1 / 3) - 1 + spread) / math.sqrt(spread))


def _normal_below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def largest_of(count: int) -> float:
    """What the largest of ``count`` equal figures, each with a normal error, exceeds in 2.5 %.

    In units of the error's standard deviation; 1.96 for one figure. By bisection.
    """
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _normal_below(middle) ** count < 0.975 else (low, middle)
    return high


class Distribution(NamedTuple):
    """The usual figures of a set of values."""

    n: int
    min: float
    median: float
    mean: float
    p95: float
    max: float


def distribution(values: NDArray[np.float64]) -> Distribution:
    """Figures of at least one value; p95 by straight lines between the ordered values."""
    median, p95 = np.quantile(values, (0.5, 0.95))
    return Distribution(
        len(values),
        float(values.min()),
        float(median),
        float(values.mean()),
        float(p95),
        float(values.max()),
    )


def summarise(estimates: Sequence[Estimate], statistic: str) -> Estimate:
    """A figure over all steps, with its terms.

    ``statistic`` is ``median``, ``mean``, ``p95``, ``max``, or ``worst`` (the signed value of the
    largest magnitude). It describes the steps that were played; nothing is added for steps that
    might have been. Shared terms enter with their largest value. The rest averages: for ``mean``
    by the root of n, for ``median`` by that times 1.25, the ratio for normal errors. An extreme is
    picked from figures that each have an error, so it tends to be too extreme: a further term
    covers the largest error of all the steps that could, within their uncertainty, be the extreme
    one. That is conservative, as not all of them need be equal.
    """
    values = np.array([estimate.value for estimate in estimates])
    if statistic in ("mean", "median"):
        factor = 1.0 / math.sqrt(len(values))
        if statistic == "median" and len(values) > 2:
            factor *= _MEDIAN_TO_MEAN
        value = float(values.mean() if statistic == "mean" else np.median(values))
        return Estimate(value, _terms(estimates, lambda name: factor * _rms(estimates, name)))
    magnitude = np.abs(values) if statistic == "worst" else values
    chosen = int(np.argmax(magnitude))
    value = float(np.quantile(values, 0.95)) if statistic == "p95" else float(values[chosen])
    terms = _terms(estimates, lambda name: _of(estimates[chosen], name))
    own = np.array([root_sum(t.standard for t in e.terms if not t.shared) for e in estimates])
    reached = abs(value) if statistic == "worst" else value
    rivals = magnitude >= reached - 3.0 * np.hypot(own, own[chosen])
    needed = largest_of(int(rivals.sum())) / _NORMAL_95 * float(own[rivals].max())
    extra = math.sqrt(max(needed**2 - float(own[chosen]) ** 2, 0.0))
    return Estimate(value, (*terms, Term("most extreme of several steps", extra)))


def _terms(estimates: Sequence[Estimate], own: Callable[[str], float]) -> tuple[Term, ...]:
    """Every term that occurs: the largest of each shared one, ``own(name)`` of the others."""
    names = dict.fromkeys((term.name, term.shared) for e in estimates for term in e.terms)
    return tuple(
        Term(name, max(_of(e, name) for e in estimates) if shared else own(name), shared)
        for name, shared in names
    )


def _of(estimate: Estimate, name: str) -> float:
    return root_sum(term.standard for term in estimate.terms if term.name == name)


def _rms(estimates: Sequence[Estimate], name: str) -> float:
    return root_sum(_of(estimate, name) for estimate in estimates) / math.sqrt(len(estimates))
