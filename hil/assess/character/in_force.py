"""Which limit binds when, by the setpoints that were acknowledged.

A setpoint is a limit. A lower one binds ``ev_grace`` after the pilot offered it, the EVSE having
``evse_grace`` after its acknowledgement to turn the pilot; where no pilot was seen, ``ev_grace``
after the acknowledgement. A higher one may be used from sending on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hil.assess.outcome.step import NO_ANSWER, Bench, Measured
from hil.assess.outcome.tracking import Conditions, conditions, requested_w
from hil.assess.reading.devices import SAME_A, Rating
from hil.assess.reading.trace import Trace
from hil.assess.uncertainty import rectangular
from hil.config.limits import Definitions


class Piece(NamedTuple):
    """A stretch of time under one limit."""

    start_s: float
    """The first value that tells of nothing but this limit comes after it."""
    end_s: float
    limit_w: float
    one: Measured
    at: Conditions
    binds_s: float | None
    """From when the limit binds; ``None`` if it is not lower than what was tolerated before."""
    sign: int = 1
    """-1 for a limit of what is fed back, which is then counted positive."""


def offered_s(one: Measured) -> float | None:
    """When a setpoint reached the car, as far as is known; ``None`` if it was not acknowledged."""
    if one.step.acknowledged_s is None:
        return None
    return one.step.acknowledged_s if one.pilot_s is None else one.pilot_s


def binds_s(one: Measured, definitions: Definitions) -> float | None:
    """From when power must keep to a setpoint; ``None`` if it was not acknowledged."""
    since_s, acknowledged_s = offered_s(one), one.step.acknowledged_s
    if since_s is None or acknowledged_s is None:
        return None
    return min(since_s, acknowledged_s + definitions.evse_grace) + definitions.ev_grace


def counted_from(steps: Sequence[Measured], definitions: Definitions) -> str:
    """From what the grace of the car counts, in words."""
    grace_s = definitions.evse_grace
    lower = [one for one in steps if one.direction == "down"]
    seen = [one for one in lower if one.pilot_s is not None]
    if not seen:
        return "acknowledgement"
    words = ["pilot edge"]
    if len(seen) < len(lower):
        words.append("acknowledgement where none was seen")
    if any((offered_s(one) or 0.0) > (one.step.acknowledged_s or 0.0) + grace_s for one in seen):
        words.append(f"{grace_s:g} s after the acknowledgement where it came later")
    return ", or ".join(words)


def pieces(steps: Sequence[Measured], bench: Bench, sign: int = 1) -> Iterator[Piece]:
    """Stretches of one limit each: the highest of all that are still tolerated.

    A setpoint bounds the power between nothing and itself: nothing may be fed back under one that
    charges, nor drawn under one that discharges. ``sign`` -1 is for what is fed back.

    A limit is tolerated from sending until the next one that was acknowledged binds, and as long
    as a value may still tell of the time before.
    """
    age_s = bench.trace.averaging_s + 0.5 * bench.trace.bracket_s
    tolerated: list[tuple[float, float]] = [(math.inf, math.inf)]
    for one, at in zip(steps, _supplies(steps, bench), strict=True):
        binds = binds_s(one, bench.definitions)
        if binds is not None:
            tolerated = [(min(until_s, binds + age_s), limit) for until_s, limit in tolerated]
        if binds is not None or one.outcome == NO_ANSWER or _put_another(one, bench.rating):
            tolerance_w = bench.definitions.over_tolerance * at.voltage_v * at.phases
            asked_w = max(sign * requested_w(one.step.setpoint, at), 0.0)
            tolerated.append((math.inf, asked_w + tolerance_w))
        sent_s, ends_s = one.step.sent_s, one.step.ends_s
        tolerated = [pair for pair in tolerated if pair[0] > sent_s]
        turns_s = sorted({until_s for until_s, _ in tolerated if until_s < ends_s})
        for start_s, end_s in zip([sent_s, *turns_s], [*turns_s, ends_s], strict=True):
            limit_w = max(limit for until_s, limit in tolerated if until_s > start_s)
            since_s = start_s - age_s if start_s > sent_s else None
            yield Piece(start_s, end_s, limit_w, one, at, since_s, sign)


def _put_another(one: Measured, rating: Rating) -> bool:
    """Whether the EVSE took a setpoint in part: then it may use as much as that asked for."""
    instead, previous = one.step.instead, one.step.previous
    if instead is None:
        return False
    return previous is None or abs(instead.value - rating.amperes(previous)) > SAME_A


def _supplies(steps: Sequence[Measured], bench: Bench) -> list[Conditions]:
    """The supply of every step; over the whole hold where its steady window was not looked at."""
    start_s = np.array([one.step.sent_s for one in steps])
    end_s = np.array([one.step.ends_s for one in steps])
    unseen = [place for place, one in enumerate(steps) if one.at is None]
    found = conditions(bench.supply, bench.rating, start_s[unseen], end_s[unseen])
    seen = dict(zip(unseen, found, strict=True))
    return [one.at or seen[place] for place, one in enumerate(steps)]


def noise_w(one: Measured, trace: Trace) -> float:
    """Deviation of one value by noise, as told by the levels of a step."""
    known = [level.noise_w for level in (one.before, one.after) if level is not None]
    return math.hypot(max(known, default=0.0), rectangular(0.5 * trace.resolution_w))
