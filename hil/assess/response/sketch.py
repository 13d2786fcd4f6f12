"""Where a response is among a meter's values, roughly: what curves are fitted or weighed by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hil.assess.reading.trace import Trace
from hil.assess.response.passage import Passage, Timing
from hil.assess.response.shape import Courses
from hil.config.limits import Definitions

MOST_ROWS = 64
"""Most rows of a fit, those of the levels aside; more values are joined."""
FEW_ROWS = 5
"""With fewer values on the way between the levels, weighing does better than a fit."""
HALFWAY = 0.5
LEAST_MARGIN = 0.03
"""Share of the step within which a value counts as being at a level."""


class Sketch(NamedTuple):
    """Where a response is among the values of its passage, roughly."""

    low: int
    """The last value below ``ramp_low`` before it first is above ``ramp_high``."""
    high: int
    margin: float
    """Share of the step within which a value counts as being at a level."""
    on_the_way: int
    """How many values are at neither level."""
    crosses: tuple[int, ...]
    """The first values beyond ``ramp_low``, half of the way and ``ramp_high``."""


class Guess(NamedTuple):
    """Instants by a course, still to be compared with every value."""

    places: Sequence[int]
    """Which of the passages they are of."""
    timings: Sequence[Timing]
    courses: Courses
    misses: float
    """Share of the step by which a single value may miss its course, noise apart."""


def sketch_of(trace: Trace, passage: Passage, definitions: Definitions) -> Sketch:
    """By the values themselves, or by sliding means where noise is large."""
    progress = passage.progress()
    noise = passage.noise_w(trace) / abs(passage.change_w)
    length = min(int((noise / 0.04) ** 2) + 1, max(len(progress) // 8, 1))
    smooth = progress
    if length > 1:
        smooth = np.convolve(progress, np.full(length, 1.0 / length), mode="same")
    first = max(passage.told.sent, 1)
    above = smooth[first:] >= definitions.ramp_high
    high = first + int(above.argmax())
    if not above[high - first]:
        high = len(progress) - 1
    below = smooth[high - 1 :: -1] <= definitions.ramp_low
    low = high - 1 - int(below.argmax())
    if not below[high - 1 - low]:
        low = first - 1
    margin = max(LEAST_MARGIN, 3.0 * noise)
    way = progress[max(low - 1, 0) : high + 2]
    on_the_way = int(np.count_nonzero((way > margin) & (way < 1.0 - margin)))
    middle = low + max(int((smooth[low : high + 1] >= HALFWAY).argmax()), 1)
    return Sketch(low, high, margin, on_the_way, (low + 1, middle, high))
