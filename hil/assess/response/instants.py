"""When the power left its level, how it moved, and when it had settled, for many setpoints.

Definitions: the power *departs* when it leaves Y0 +/- ``depart_band`` for good, dated back to
where it left Y0; it is *settled* once it stays inside Y1 +/- ``settle_band`` until the hold ends
(levels and bands: :mod:`hil.assess.response.passage`). No time is read off a single sample: a curve
is fitted, and only where none describes what was read, instants are interpolated between values,
with the uncertainty that goes with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hil.assess.reading.trace import Trace
from hil.assess.response.crossing import by_crossing, settles
from hil.assess.response.curves import by_fit
from hil.assess.response.passage import Passage, Timing
from hil.assess.response.scrutiny import described, relapsed_s
from hil.assess.response.sketch import sketch_of
from hil.assess.response.weighing import by_weighing
from hil.config.limits import Definitions

_AT_ONCE = 1024
"""Responses that are timed together, so that memory does not grow with the record."""


def time_responses(
    trace: Trace, passages: Sequence[Passage], definitions: Definitions
) -> list[Timing]:
    """Instants of responses that depart; ``settled_s`` is ``None`` where one does not settle."""
    timings: list[Timing] = []
    for first in range(0, len(passages), _AT_ONCE):
        timings += _timed(trace, passages[first : first + _AT_ONCE], definitions)
    return timings


def _timed(trace: Trace, passages: Sequence[Passage], definitions: Definitions) -> list[Timing]:
    sketches = [sketch_of(trace, passage, definitions) for passage in passages]
    found: list[Timing | None] = [None] * len(passages)
    for guessed in (by_weighing, by_fit):
        guess = guessed(trace, passages, sketches, definitions)
        if guess is None:
            continue
        some = [passages[place] for place in guess.places]
        borne_out = described(trace, some, guess.timings, guess.courses, guess.misses)
        relapses = relapsed_s(trace, some, guess.timings)
        for place, passage, timing, holds, relapse_s in zip(
            guess.places, some, guess.timings, borne_out, relapses, strict=True
        ):
            if holds and relapse_s is not None:
                timing = _relapsed(trace, passage, timing, relapse_s)
            found[place] = timing if holds else None
    return [
        timing or by_crossing(trace, passage, definitions)
        for timing, passage in zip(found, passages, strict=True)
    ]


def _relapsed(trace: Trace, passage: Passage, timing: Timing, relapse_s: float) -> Timing:
    """Of a power that left its settling band once more: settled when it is back for good."""
    settled = settles(trace, passage)
    if settled is None:
        return timing._replace(settled_s=None)
    settled_s, standard_s = settled
    return timing._replace(
        settled_s=max(settled_s, relapse_s),
        settled_standard_s=standard_s,
        ramp_standard_s=math.hypot(standard_s, timing.departed_standard_s),
    )
