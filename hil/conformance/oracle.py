"""What a composite schedule must be, computed from a case's own data. Pure.

Each profile is a course over time; courses are laid over each other and the least is taken. Inside
a purpose the higher stack level lies on top; a TxProfile lies on top of the TxDefaultProfile; the
ChargePointMaxProfile caps the result. Documents differ on what lies under a TxProfile that has
ended while its transaction goes on: :data:`ORACLES`.

Instants are seconds of any one clock, limits in the unit of the case; a setpoint of OCPP 2.1 is a
limit that may be negative, and then it is to be followed. ``None`` is an instant at
which no profile applies: the station's own limit, which the bench does not know.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Final, NamedTuple

from hil.config.conformance import OracleName
from hil.config.conformance_steps import Place, Purpose

MAX: Final = "ChargePointMaxProfile"
DEFAULT: Final = "TxDefaultProfile"
TX: Final = "TxProfile"


class Oracle(NamedTuple):
    """What a document says where documents differ."""

    default_returns: bool
    """Whether the TxDefaultProfile comes back where a TxProfile ends inside its transaction."""
    watts_per_ampere: Callable[[int], float]
    """By the number of phases: how a limit in amperes is written for a station that takes watts."""


ORACLES: Mapping[OracleName, Oracle] = {
    "octt16-2024-04": Oracle(False, lambda _: 1000.0),
    "octt201-errata-2025-04": Oracle(True, lambda phases: 230.0 * phases),
}
"""OCTT 1.6 of 2024-04, case TC_066; OCTT 2.0.1 with the errata of 2025-02 and 2025-04, TC_K_41."""


class Installed(NamedTuple):
    """A profile that the station has accepted."""

    profile_id: int
    purpose: Purpose
    stack_level: int
    start_s: float
    duration_s: float
    periods: tuple[tuple[float, float], ...]
    """Seconds after the start, limit."""
    place: Place = "own"
    valid_from_s: float = -math.inf
    valid_to_s: float = math.inf
    repeats_s: float | None = None
    """After how long its schedule begins anew."""


class Step(NamedTuple):
    """From ``from_s`` on ``limit`` holds, until the next step."""

    from_s: float
    limit: float | None


Course = Sequence[Step]
"""Steps in order, the first from minus infinity on."""

_NOTHING: Course = (Step(-math.inf, None),)

_MOST_TURNS = 3
"""Of a schedule that begins anew; a case is over long before."""


def composite(
    installed: Iterable[Installed], oracle: OracleName, elsewhere: float | None = None
) -> Course:
    """The limit at every instant, of the profiles that are installed now.

    ``elsewhere`` is what somebody else allows. What is to be discharged is below every limit.
    """
    profiles = list(installed)
    default = _stack(profiles, DEFAULT)
    session = _stack(profiles, TX)
    has_tx = any(profile.purpose == TX for profile in profiles)
    if ORACLES[oracle].default_returns or not has_tx:
        session = _merge(session, default, _upper)
    capped = _merge(session, _stack(profiles, MAX), _least)
    return _merge(capped, [Step(-math.inf, elsewhere)], _least)


def limit_at(course: Course, at_s: float) -> float | None:
    """The limit at an instant; ``None`` where no profile applies."""
    return course[bisect.bisect_right(course, at_s, key=lambda step: step.from_s) - 1].limit


def within(course: Course, from_s: float, until_s: float) -> list[Step]:
    """The steps of a window, the first at its beginning."""
    inside = [step for step in course if from_s < step.from_s < until_s]
    return [Step(from_s, limit_at(course, from_s)), *inside]


def _stack(profiles: Iterable[Installed], purpose: Purpose) -> Course:
    of_purpose = (profile for profile in profiles if profile.purpose == purpose)
    bottom_up = sorted(of_purpose, key=lambda profile: profile.stack_level)
    return reduce(lambda below, p: _merge(_course(p), below, _upper), bottom_up, _NOTHING)


def _course(profile: Installed) -> Course:
    repeats_s = profile.repeats_s
    turns = 1 if repeats_s is None else _MOST_TURNS
    starts_s = [profile.start_s + turn * (repeats_s or 0.0) for turn in range(turns)]
    laid = reduce(
        lambda course, at_s: _merge(_turn(profile, at_s), course, _upper), starts_s, _NOTHING
    )
    valid = [Step(-math.inf, None), Step(profile.valid_from_s, math.inf)]
    if profile.valid_from_s == -math.inf:
        valid = valid[1:]
    return _merge(laid, [*valid, Step(profile.valid_to_s, None)], _while_valid)


def _turn(profile: Installed, start_s: float) -> Course:
    ends_s = start_s + profile.duration_s
    steps = [Step(start_s + at_s, limit) for at_s, limit in profile.periods]
    return [*_NOTHING, *(step for step in steps if step.from_s < ends_s), Step(ends_s, None)]


def _while_valid(limit: float | None, valid: float | None) -> float | None:
    return None if valid is None else limit


def _upper(upper: float | None, lower: float | None) -> float | None:
    return lower if upper is None else upper


def _least(one: float | None, other: float | None) -> float | None:
    given = [limit for limit in (one, other) if limit is not None]
    return min(given, default=None)


def _merge(
    one: Course, other: Course, choose: Callable[[float | None, float | None], float | None]
) -> Course:
    merged: list[Step] = []
    for from_s in sorted({step.from_s for step in (*one, *other)}):
        limit = choose(limit_at(one, from_s), limit_at(other, from_s))
        if not merged or merged[-1].limit != limit:
            merged.append(Step(from_s, limit))
    return merged
