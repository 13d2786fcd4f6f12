"""Uncertainty: terms, how they combine, and what they mean for a figure taken over many steps.

By the GUM (JCGM 100): standard uncertainties combine as the root of the sum of their squares; the
effective degrees of freedom are those of Welch and Satterthwaite; the expanded uncertainty U is the
half width of the interval that holds the truth in 95 % of all cases, so ``k = U / u`` says what the
distributions make of it: about 1.65 where one rectangular term rules, 1.96 where many add up, more
where a deviation is known from few values. A term is *shared* when it is the same, unknown, for
every step of a run, such as the phase between polling and a meter's refresh; it does not average
away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959964
"""Half width of the 95 % interval of a normal distribution, in standard deviations."""
CONFIDENCE = 0.95
_MEDIAN_TO_MEAN = math.sqrt(math.pi / 2.0)
_SHARES = 64
"""Shares of the largest rectangular term for which a coverage factor is worked out."""


class Term(NamedTuple):
    """One contribution, as a standard uncertainty in the unit of the figure it belongs to."""

    name: str
    standard: float
    shared: bool = False
    freedom: float = math.inf
    """Degrees of freedom; finite where the uncertainty itself was told from few values."""
    rectangular: bool = False
    """Whether it lies anywhere within a width, evenly; else it is taken as normal."""
    kind: Literal["A", "B"] = "B"
    """GUM: A from a statistic of the record, B from anything else that is known."""


class Estimate(NamedTuple):
    """A value and what makes it uncertain."""

    value: float
    terms: tuple[Term, ...]

    @property
    def standard(self) -> float:
        """Combined standard uncertainty."""
        return root_sum(term.standard for term in self.terms)

    @property
    def freedom(self) -> float:
        """Effective degrees of freedom (Welch and Satterthwaite); may be infinite."""
        return effective_freedom(self.terms)

    @property
    def expanded(self) -> float:
        """Half width of the interval that holds the truth in 95 % of all cases."""
        return expanded(self.terms)

    @property
    def coverage_factor(self) -> float:
        """K = U / u; that of a normal distribution where there is no uncertainty at all."""
        standard = self.standard
        return self.expanded / standard if standard > 0.0 else NORMAL_95


def effective_freedom(terms: Iterable[Term]) -> float:
    """u^4 / sum(u_i^4 / nu_i), GUM equation G.2b; infinite if no term has a finite one."""
    square, quartic = 0.0, 0.0
    for term in terms:
        square += term.standard**2
        if term.freedom != math.inf:
            quartic += term.standard**4 / term.freedom
    return square**2 / quartic if quartic > 0.0 else math.inf


def expanded(terms: Sequence[Term]) -> float:
    """Half width of the 95 % interval of the sum of all terms.

    The largest rectangular term is convolved exactly with a normal distribution that stands for
    all others, widened by Student's t for their effective degrees of freedom (GUM, annex G).
    """
    square, quartic, largest = 0.0, 0.0, 0.0
    for _, standard, _, freedom, even, _ in terms:
        if even and standard > largest:
            # The one that was the largest so far is one of the others.
            standard, largest = largest, standard
        square += standard * standard
        if freedom != math.inf:
            quartic += standard**4 / freedom
    if quartic > 0.0:
        square *= student(square**2 / quartic) ** 2
    total = math.sqrt(square + largest * largest)
    return total * coverage_factor(largest / total) if total > 0.0 else 0.0


def coverage_factor(share: float) -> float:
    """Of a rectangular term that is ``share`` of u, with a normal one for the rest: k = U / u."""
    table = _coverage_factors()
    place = min(max(share, 0.0), 1.0) * _SHARES
    index = min(int(place), _SHARES - 1)
    return table[index] + (place - index) * (table[index + 1] - table[index])


@lru_cache(maxsize=1)
def _coverage_factors() -> tuple[float, ...]:
    return tuple(_covers(n / _SHARES) for n in range(_SHARES + 1))


def _covers(share: float) -> float:
    """The k for which P(|a R + s N| < k) = 0.95, R even within +/-1, a^2 / 3 + s^2 = 1."""
    half, deviation = math.sqrt(3.0) * share, math.sqrt(max(1.0 - share**2, 0.0))
    if deviation < 1e-6:
        return CONFIDENCE * half
    if half < 1e-6:
        return NORMAL_95

    def area(z: float) -> float:
        """Integral of the normal distribution function up to z."""
        return z * _normal_below(z) + math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)

    def inside(k: float) -> float:
        upper = area((k + half) / deviation) - area((k - half) / deviation)
        lower = area((half - k) / deviation) - area((-half - k) / deviation)
        return (upper - lower) * deviation / (2.0 * half)

    low, high = 1.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < CONFIDENCE else (low, middle)
    return high


def root_sum(parts: Iterable[float]) -> float:
    """Root of the sum of squares."""
    return math.sqrt(sum(part * part for part in parts))


def rectangular(half_width: float) -> float:
    """Standard uncertainty of something that lies anywhere within +/- ``half_width``."""
    return half_width / math.sqrt(3.0)


def student(freedom: float) -> float:
    """Student's t for 95 % over that of the normal distribution, for a deviation known from few.

    An uncertainty of type A times this keeps its 95 % at the k of a normal distribution. Expansion
    of Abramowitz and Stegun 26.7.5; within 3 % from two degrees of freedom on, and 6.5 (exact) for
    one.
    """
    if freedom < 1.5:
        return 6.5
    z = NORMAL_95
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


@lru_cache(maxsize=512)
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


def summarise(
    estimates: Sequence[Estimate], statistic: str, groups: Sequence[Hashable] = ()
) -> Estimate:
    """A figure over all steps, with its terms.

    ``statistic`` is ``median``, ``mean``, ``p95``, ``max``, or ``worst`` (the signed value of the
    largest magnitude). Shared terms enter with their largest value.

    ``mean`` and ``median`` are estimates of what the equipment does in the long run: the scatter of
    repeats (of steps of the same group; of all steps, where nothing was repeated) enters as
    repeatability, with its degrees of freedom, divided by the root of n (for the median times 1.25,
    the ratio for normal errors), as far as the steps' own uncertainties, which average alike, do
    not explain it.

    The others describe the steps that were played; nothing is added for steps that might have
    been. An extreme is picked from figures that each have an error, so it tends to be too extreme:
    a further term covers the largest error of all the steps that could, within their uncertainty,
    be the extreme one. That is conservative, as not all of them need be equal.
    """
    values = np.array([estimate.value for estimate in estimates])
    if statistic in ("mean", "median"):
        return _central(estimates, values, statistic, groups)
    magnitude = np.abs(values) if statistic == "worst" else values
    chosen = int(np.argmax(magnitude))
    value = float(np.quantile(values, 0.95)) if statistic == "p95" else float(values[chosen])
    terms = _terms(estimates, lambda square: math.sqrt(square[chosen]))
    own = np.sqrt(_unshared(estimates))
    reached = abs(value) if statistic == "worst" else value
    rivals = magnitude >= reached - 3.0 * np.hypot(own, own[chosen])
    needed = largest_of(int(rivals.sum())) / NORMAL_95 * float(own[rivals].max())
    extra = math.sqrt(max(needed**2 - float(own[chosen]) ** 2, 0.0))
    return Estimate(value, (*terms, Term("most extreme of several steps", extra)))


def scatter_of(values: NDArray[np.float64], groups: Sequence[Hashable]) -> tuple[float, float]:
    """Standard deviation of repeats, pooled over groups, and its degrees of freedom.

    Without groups, or where no group has two values, that of all values about their mean.
    """
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(values.tolist(), groups, strict=False):
        members.setdefault(group, []).append(value)
    repeated = [np.array(some) for some in members.values() if len(some) > 1]
    freedom = sum(len(some) - 1 for some in repeated)
    if not freedom:
        return float(values.std(ddof=1)), len(values) - 1.0
    square = sum(float(((some - some.mean()) ** 2).sum()) for some in repeated)
    return math.sqrt(square / freedom), float(freedom)


def _central(
    estimates: Sequence[Estimate],
    values: NDArray[np.float64],
    statistic: str,
    groups: Sequence[Hashable],
) -> Estimate:
    """Mean or median, with the repeatability of the steps."""
    number = len(values)
    factor = 1.0 / math.sqrt(number)
    if statistic == "median" and number > 2:
        factor *= _MEDIAN_TO_MEAN
    value = float(values.mean() if statistic == "mean" else np.median(values))
    terms = _terms(estimates, lambda square: factor * math.sqrt(float(square.mean())))
    if number < 2:
        return Estimate(value, terms)
    deviation, freedom = scatter_of(values, groups)
    scatter = factor * deviation
    own = root_sum(term.standard for term in terms if not term.shared)
    unexplained = math.sqrt(max(scatter**2 - own**2, 0.0))
    repeats = Term("repeatability", unexplained, freedom=freedom, kind="A")
    return Estimate(value, (*terms, repeats))


def _unshared(estimates: Sequence[Estimate]) -> NDArray[np.float64]:
    """Variance of every step by the terms that are its own."""
    return np.array([sum(t.standard**2 for t in e.terms if not t.shared) for e in estimates])


def _terms(
    estimates: Sequence[Estimate], own: Callable[[NDArray[np.float64]], float]
) -> tuple[Term, ...]:
    """Every term that occurs: the largest of each shared one, ``own(its variances)`` of the others.

    Degrees of freedom are the fewest of any step; a mean of several rectangular terms is normal.
    """
    number = len(estimates)
    found: dict[tuple[str, bool], Term] = {}
    squares: dict[str, list[float]] = {}
    for place, estimate in enumerate(estimates):
        for term in estimate.terms:
            name, standard, shared, freedom, _, _ = term
            square = squares.get(name)
            if square is None:
                square = squares[name] = [0.0] * number
            square[place] += standard * standard
            other = found.get((name, shared))
            if other is None:
                found[name, shared] = term
            elif freedom < other.freedom:
                found[name, shared] = other._replace(freedom=freedom)
    variances = {name: np.array(square) for name, square in squares.items()}
    combined = []
    for (name, shared), term in found.items():
        largest = math.sqrt(float(variances[name].max()))
        standard = largest if shared else own(variances[name])
        even = term.rectangular and (shared or standard >= 0.99 * largest)
        combined.append(term._replace(standard=standard, rectangular=even))
    return tuple(combined)
