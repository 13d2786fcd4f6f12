"""The shape of a response: from a level, after a dead time, to another.

One family covers what chargers and cars do. With x = (t - t_departed) / T the progress is

    p(x) = 1 - (1 - q x)^(1/q)    for x >= 0, and while 1 - q x > 0,

a straight ramp of length T for q = 1, a first-order lag of time constant T as q goes to 0, and a
ramp that slows down towards its end in between. A meter does not see p but its mean over the
meter's averaging window, which has a closed form; so nothing is lost to averaging or to sampling
at points, and a threshold needs no crossing: the departure is a parameter of the curve.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LAG_Q, RAMP_Q = 1e-6, 1.0
"""The two named shapes; 1e-6 stands for 0, by which the formula would divide."""
_LEAST_LEFT = 1e-300
"""Stands for nothing where a logarithm is taken of what is left of the way."""


class Courses(NamedTuple):
    """Parameters of n responses, (n,) each; ``q`` as in the module's formula."""

    departed_s: Array
    length_s: Array
    q: Array
    before: Array
    after: Array
    """The level each tends to."""

    def reaches_s(self, share: Array | float) -> Array:
        """Instants at which they have come ``share`` of their way."""
        reached: Array = self.departed_s + self.length_s * passes(share, self.q)
        return reached

    def means(self, end_s: Array, width_s: Array) -> Array:
        """Their means over windows, (n, m), that end at ``end_s``."""
        progress = mean_progress(
            end_s, width_s, self.departed_s[:, None], self.length_s[:, None], self.q[:, None]
        )
        return self.before[:, None] + (self.after - self.before)[:, None] * progress

    def of(self, places: Any) -> Courses:
        """Some of them."""
        return Courses(*(column[places] for column in self))


class Rows(NamedTuple):
    """What the meter said of n responses: means over windows of ``width_s`` that end at ``end_s``.

    All are (n, m). A row that is there only to make their numbers equal has an infinite deviation,
    and counts for nothing.
    """

    end_s: Array
    width_s: Array
    value: Array
    deviation: Array
    """Standard deviation of each value."""

    @property
    def counts(self) -> NDArray[np.bool_]:
        """(n, m): which of them say something."""
        return np.isfinite(self.deviation)

    def of(self, places: Any) -> Rows:
        """Those of some responses."""
        return Rows(*(column[places] for column in self))


def passes(share: Array | float, q: Array | float) -> Array:
    """The x at which p(x) = share; the inverse of the module's formula."""
    left = np.clip(1.0 - np.asarray(share), 1e-12, 1.0)
    q = _not_nothing(q)
    passed: Array = -np.expm1(q * np.log(left)) / q
    return passed


def _not_nothing(q: Array | float) -> Array:
    q = np.asarray(q)
    return np.where(np.abs(q) > LAG_Q, q, LAG_Q)


class Progress(NamedTuple):
    """Progress at x, its integral from 0 to x, and the derivative of that integral by q."""

    here: Array
    area: Array
    area_by_q: Array


def _area(x: Array, q: Array) -> Array:
    """Integral of p from 0 to x."""
    forward = np.maximum(x, 0.0)
    left = np.maximum(1.0 - q * forward, 0.0)
    area: Array = forward - (1.0 - left ** (1.0 + 1.0 / q)) / (1.0 + q)
    return area


def progress(x: Array, q: Array) -> Progress:
    """Of a shape ``q`` at x; ``q`` is not nothing, and no less than -0.5."""
    forward = np.maximum(x, 0.0)
    left = np.maximum(1.0 - q * forward, _LEAST_LEFT)
    logarithm = np.log(left) / q
    remaining = np.exp(logarithm)
    done = (1.0 - remaining * left) / (1.0 + q)
    # With S = left^(1 + 1/q): dS/dq = -(left ln(left) / q + (1 + q) x) left^(1/q) / q.
    steeper = (left * logarithm + (1.0 + q) * forward) * remaining / q
    return Progress(1.0 - remaining, forward - done, (done - steeper) / (1.0 + q))


def mean_progress(
    end_s: Array,
    width_s: Array | float,
    departed_s: Array | float,
    length_s: Array | float,
    q: Array | float,
) -> Array:
    """Mean of p over windows of ``width_s`` that end at ``end_s``."""
    q = _not_nothing(q)
    x = (end_s - departed_s) / length_s
    width = width_s / length_s
    mean: Array = (_area(x, q) - _area(x - width, q)) / width
    return mean
