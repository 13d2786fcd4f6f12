"""A reported composite schedule against the oracle's. Pure.

Both are looked at second by second, so that it does not matter how a station cuts its periods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hil.conformance.calls import TIME_DEVIATION_S, Reported
from hil.conformance.oracle import Course, limit_at


class Asked(NamedTuple):
    """What a composite schedule was asked for, and when."""

    at_s: float
    """Seconds since 1970."""
    duration_s: float
    connector: int
    unit: str
    limit_tolerance: float
    """In the unit."""
    own_limit: float | None = None
    """What the station said before where no profile applied."""


def differences(reported: Reported, course: Course, asked: Asked) -> list[str]:
    """What is not as it must be, in words; nothing if all is."""
    found = [*_frame(reported, asked)]
    if reported.start_s is not None and reported.steps:
        found += _first_difference(reported, course, asked)
    return found


def _frame(reported: Reported, asked: Asked) -> Iterator[str]:
    """Connector, unit, duration and start, which must be those that were asked for."""
    if reported.damage:
        yield reported.damage
    if reported.connector != asked.connector:
        yield f"it is of connector {reported.connector}, asked for {asked.connector}"
    if reported.unit != asked.unit:
        yield f"its unit is {reported.unit}, asked for {asked.unit}"
    if reported.duration != round(asked.duration_s):
        yield f"its duration is {reported.duration} s, asked for {asked.duration_s:g} s"
    if reported.start_s is None:
        yield "it does not say when it begins"
    elif abs(reported.start_s - asked.at_s) > TIME_DEVIATION_S:
        yield f"it begins {reported.start_s - asked.at_s:+.0f} s from when it was asked for"
    if reported.steps and reported.steps[0][0] != 0.0:
        yield f"its first period begins at {reported.steps[0][0]:g} s"


def _first_difference(reported: Reported, course: Course, asked: Asked) -> Iterator[str]:
    edges_s = [step.from_s for step in course]
    start_s = reported.start_s or 0.0
    for second in range(round(asked.duration_s)):
        at_s = start_s + second
        if any(abs(edge_s - at_s) <= TIME_DEVIATION_S for edge_s in edges_s):
            continue  # an edge may lie on either side of this second
        told = [limit for from_s, limit in reported.steps if from_s <= second]
        limit = told[-1] if told else None
        expected = limit_at(course, at_s)
        if limit is None:
            yield f"at {second} s it says nothing"
        elif expected is None and limit <= 0.0:
            yield (
                f"at {second} s it says {limit:g} {asked.unit}; no profile applies there, and the "
                "station's own limit is a positive number"
            )
        elif expected is None and _another(limit, asked):
            yield (
                f"at {second} s it says {limit:g} {asked.unit}; no profile applies there, and "
                f"where none did it said {asked.own_limit:g} {asked.unit} before"
            )
        elif expected is not None and abs(limit - expected) > asked.limit_tolerance:
            yield f"at {second} s it says {limit:g} {asked.unit}, not {expected:g} {asked.unit}"
        else:
            continue
        return


def _another(limit: float, asked: Asked) -> bool:
    return asked.own_limit is not None and abs(limit - asked.own_limit) > asked.limit_tolerance
