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
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959964
"""Half width of the 95 % interval of a normal distribution, in standard deviations."""
CONFIDENCE = 0.95
_MEDIAN_TO_MEAN = math.sqrt(math.pi / 2.0)
"""What a normal error of each step makes of a median, to what it makes of a mean."""
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
    p95_bound: float | None
    """See :func:`p95_bound`."""


def p95_bound(values: NDArray[np.float64]) -> float | None:
    """What 95 % of all steps stay below, those not played included, with 95 % confidence.

    The smallest ordered value that is beyond the true P95 in 95 % of all runs, whatever the
    distribution: of n independent steps, k or more lie below the P95 with the binomial probability
    of n, k and 0.95, and the k-th value is claimed if that is 5 % at most. ``None`` for fewer than
    59 values, as 0.95^58 is more than 5 %. The bound is one of the values: what each of them is
    uncertain by is not in it.
    """
    count = len(values)
    rank, beyond = count + 1, 0.0
    while rank > 1:
        beyond += _binomial(count, rank - 1, 0.95)
        if beyond > 1.0 - CONFIDENCE:
            break
        rank -= 1
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= count else None


def _binomial(count: int, hits: int, share: float) -> float:
    """How likely so many of ``count`` are hits, if this share of all is."""
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways + hits * math.log(share) + (count - hits) * math.log(1.0 - share))


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
        p95_bound(values),
    )


def summarise(
    estimates: Sequence[Estimate], statistic: str, groups: Sequence[Hashable] = ()
) -> Estimate:
    """A figure over all steps, with its terms.

    ``statistic`` is ``median``, ``mean``, ``p95``, ``max``, or ``worst`` (the signed value of the
    largest magnitude). Shared terms enter with their largest value; in a mean or median with their
    mean or median.

    ``mean`` and ``median`` are estimates of what the equipment does in the long run: the scatter of
    repeats (of steps of the same group; of all steps, where nothing was repeated) enters as
    repeatability, with its degrees of freedom, as far as the steps' own uncertainties, which
    average alike, do not explain it. For the mean it is their deviation by the root of n; for the
    median see :func:`median_scatter` and :func:`mixture_scatter`.

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
    own_square = _unshared(estimates)
    if statistic == "median" and number > 2 and own_square.min() > 0.0:
        # A median goes by how dense the figures are about it: a few poor ones do not blur it.
        density = float(np.mean(1.0 / np.sqrt(own_square)))
        factor /= density * math.sqrt(float(own_square.mean()))
    # The same error of a meter is in each figure by as much as that figure depends on it.
    usual = np.mean if statistic == "mean" else np.median
    terms = _terms(
        estimates,
        lambda square: factor * math.sqrt(float(square.mean())),
        lambda square: float(usual(np.sqrt(square))),
    )
    if number < 2:
        return Estimate(value, terms)
    deviation, freedom = scatter_of(values, groups)
    scatter = deviation / math.sqrt(number)
    if statistic == "median" and number > 2:
        spread = mixture_scatter(values, groups)
        scatter = spread if spread is not None else median_scatter(values)
    own = root_sum(term.standard for term in terms if not term.shared)
    unexplained = math.sqrt(max(scatter**2 - own**2, 0.0))
    repeats = Term("repeatability", unexplained, freedom=freedom, kind="A")
    return Estimate(value, (*terms, repeats))


def mixture_scatter(values: NDArray[np.float64], groups: Sequence[Hashable]) -> float | None:
    """Standard uncertainty of the median of steps of several kinds; ``None`` without repeats.

    Each kind (group) is taken as normal about its mean with the pooled deviation of the repeats.
    The share of all steps below an instant m is F(m), the mean of their distribution functions,
    uncertain by s = sqrt(sum p (1 - p)) / n; the median is where F is one half, uncertain from
    F = 1/2 - s to 1/2 + s. For one kind that is 1.25 sigma / sqrt(n); between two kinds that lie
    apart it is wide, as it must be.
    """
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(values.tolist(), groups, strict=False):
        members.setdefault(group, []).append(value)
    if not any(len(some) > 1 for some in members.values()):
        return None
    deviation, _ = scatter_of(values, groups)
    if deviation <= 0.0:
        return 0.0
    kinds = [NormalDist(sum(some) / len(some), deviation) for some in members.values()]
    weights = [len(some) for some in members.values()]
    number = len(values)

    def below(instant: float) -> float:
        return sum(w * k.cdf(instant) for k, w in zip(kinds, weights, strict=True)) / number

    ends = float(values.min()) - 6.0 * deviation, float(values.max()) + 6.0 * deviation
    middle = _where(below, 0.5, *ends)
    shares = [kind.cdf(middle) for kind in kinds]
    square = sum(w * p * (1.0 - p) for p, w in zip(shares, weights, strict=True))
    spread = max(math.sqrt(square) / number, 1e-6)
    low, high = (_where(below, 0.5 + sign * spread, *ends) for sign in (-1.0, 1.0))
    return 0.5 * (high - low)


def _where(rising: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Where a rising function comes to a level; by bisection."""
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return 0.5 * (low + high)


def median_scatter(values: NDArray[np.float64]) -> float:
    """Standard uncertainty of a median of at least three values, whatever they scatter like.

    Two ordered values, about as far from the middle as the root of their number, hold the true
    median between them with a binomial probability; their half distance is as many standard
    uncertainties as that probability is of a normal distribution. Delays are not normal: the wait
    for a timer, say, is even, and its median scatters 1.4 times as much as that of a normal one.
    """
    number = len(values)
    rank = max(int((number + 1) / 2 - math.sqrt(number)), 1)
    outside = sum(_binomial(number, below, 0.5) for below in range(rank))
    ordered = np.sort(values)
    deviations = NormalDist().inv_cdf(1.0 - outside)
    return float(ordered[number - rank] - ordered[rank - 1]) / (2.0 * deviations)


def _unshared(estimates: Sequence[Estimate]) -> NDArray[np.float64]:
    """Variance of every step by the terms that are its own."""
    return np.array([sum(t.standard**2 for t in e.terms if not t.shared) for e in estimates])


def _terms(
    estimates: Sequence[Estimate],
    own: Callable[[NDArray[np.float64]], float],
    alike: Callable[[NDArray[np.float64]], float] = lambda square: math.sqrt(float(square.max())),
) -> tuple[Term, ...]:
    """Every term that occurs, from its variances: by ``alike`` if it is shared, else by ``own``.

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
        standard = alike(variances[name]) if shared else own(variances[name])
        even = term.rectangular and (shared or standard >= 0.99 * largest)
        combined.append(term._replace(standard=standard, rectangular=even))
    return tuple(combined)
