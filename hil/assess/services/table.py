"""The table of grid services: each requirement, what was measured, and whether it is met.

What a service asks is data (:mod:`hil.config.services`); what a record tells of each kind of
requirement is in ``step_requirements``, ``share_requirements``, ``pilot_requirements`` and
``pjm``. This module puts the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hil.assess.outcome.step import Bench, Measured
from hil.assess.reading.devices import Rating, metered
from hil.assess.services.curve import curve_of
from hil.assess.services.pilot_requirements import (
    PilotLog,
    duty_interval_told,
    first_current_told,
    opens_under_load_told,
    pilot_log,
    pilot_to_settled_told,
    setpoint_to_pilot_told,
    stop_after_pwm_told,
    stop_after_state_told,
)
from hil.assess.services.pjm import score_told
from hil.assess.services.requirement import FLAWLESS, Bounds, Flaws, Told, row, untold
from hil.assess.services.share_requirements import (
    energy_told,
    reduction_told,
    share_told,
    steady_told,
    stepwise_told,
)
from hil.assess.services.step_groups import Evidence, Granularity, Group, group
from hil.assess.services.step_requirements import (
    answer_told,
    endurance_told,
    full_activation_told,
    overshoot_told,
    response_delay_told,
    step_count_told,
)
from hil.assess.verdict import Ruling
from hil.config.limits import Definitions
from hil.config.services import (
    DutyInterval,
    Endurance,
    Energy,
    FullActivation,
    NotCovered,
    OpensUnderLoad,
    Overshoot,
    PerformanceScore,
    PilotTime,
    PowerShare,
    ReductionFactor,
    Requirement,
    ResponseTime,
    Service,
    ServicesConfig,
    SteadyState,
    StepCount,
    StepwiseBand,
    StopAfterState,
    Way,
)

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_TIMES = (FullActivation, ResponseTime, PilotTime, StopAfterState)
_IN_SECONDS = (*_TIMES, Energy, Endurance, DutyInterval, OpensUnderLoad)


class _Subject(NamedTuple):
    """One EVSE, ready to be held against every requirement."""

    evidence: Evidence
    log: PilotLog | None
    groups: dict[Way | None, Group]
    once: Mapping[tuple[str, Way | None], Told]
    """What is the same whatever the limit, by kind and way."""


def services(
    record: Record,
    evse: str,
    measured: Sequence[Measured],
    bench: Bench | None,
    rating: Rating,
    config: ServicesConfig,
    ruling: Ruling,
    flaws: Flaws = FLAWLESS,
    granularity: Granularity | None = None,
) -> list[dict[str, Any]]:
    """Every requirement of every service for one EVSE, as rows of the result.

    ``flaws`` are those of the run as a whole, which keep rows from PASS or from any verdict.
    ``granularity`` is the charger's own step where a staircase showed it.
    """
    subject = _subject(record, evse, measured, bench, rating, config, granularity)
    rows = []
    for service in config.table:
        for requirement in service.requirements:
            for way in _ways(requirement, service):
                told = _told(requirement, way, subject)
                bounds, unit = _bounds(requirement), _unit(requirement)
                facts = (evse, service, requirement, way, bounds, unit, told)
                rows.append(row(*facts, ruling, flaws))
    return rows


def _subject(
    record: Record,
    evse: str,
    measured: Sequence[Measured],
    bench: Bench | None,
    rating: Rating,
    config: ServicesConfig,
    granularity: Granularity | None,
) -> _Subject:
    within_s = bench.definitions.rapid_within if bench is not None else _RAPID_WITHIN_S
    evidence = Evidence(
        steps=measured,
        bench=bench,
        curve=curve_of(bench.trace) if bench is not None else None,
        rating=rating,
        metered=metered(record, evse),
        rapid_within_s=within_s,
        granularity=granularity,
    )
    wanted: set[tuple[str, Way | None]] = {
        (requirement.kind, way)
        for service in config.table
        for requirement in service.requirements
        for way in _ways(requirement, service)
    }
    compared = {way for kind, way in wanted if kind in _COMPARED}
    ways = {way for _, way in wanted}
    groups = {way: group(evidence, way, way in compared) for way in ways}
    once = {(kind, way): _ONCE[kind](groups[way]) for kind, way in wanted if kind in _ONCE}
    return _Subject(evidence, pilot_log(record, evse), groups, once)


_ONCE: dict[str, Callable[[Group], Told]] = {
    "response_delay": response_delay_told,
    "overshoot": overshoot_told,
}
_COMPARED = {
    "full_activation",
    "power_share",
    "energy",
    "steady_state",
    "stepwise_band",
    "reduction_factor",
    "overshoot",
}
"""Kinds for which responses are compared with what was asked for."""
_RAPID_WITHIN_S = float(Definitions.model_fields["rapid_within"].default)


def _told(requirement: Requirement, way: Way | None, subject: _Subject) -> Told:
    """What the record tells of one requirement."""
    match requirement:
        case NotCovered():
            return untold(requirement.why)
        case PerformanceScore():
            return score_told(subject.evidence, requirement)
        case ResponseTime(kind="answer"):
            return answer_told(subject.evidence, way)
        case ResponseTime() | Overshoot():
            return subject.once[requirement.kind, way]
        case PilotTime() | StopAfterState() | DutyInterval() | OpensUnderLoad():
            return _by_pilot(requirement, subject.groups[way], subject)
        case _:
            return _by_steps(requirement, subject.groups[way])


_ByPilot = PilotTime | StopAfterState | DutyInterval | OpensUnderLoad
_BySteps = (
    FullActivation
    | PowerShare
    | Energy
    | SteadyState
    | StepwiseBand
    | ReductionFactor
    | StepCount
    | Endurance
)


def _by_steps(requirement: _BySteps, steps: Group) -> Told:
    """The same, of the steps one way."""
    match requirement:
        case FullActivation():
            return full_activation_told(steps, requirement)
        case PowerShare():
            return share_told(steps, requirement)
        case Energy():
            return energy_told(steps, requirement)
        case SteadyState():
            return steady_told(steps, requirement)
        case StepwiseBand():
            return stepwise_told(steps, requirement)
        case ReductionFactor():
            return reduction_told(steps, requirement)
        case StepCount():
            return step_count_told(steps)
        case Endurance():
            return endurance_told(steps, requirement)


def _by_pilot(requirement: _ByPilot, steps: Group, subject: _Subject) -> Told:
    """The same, where the control pilot is needed."""
    evidence, log = subject.evidence, subject.log
    match requirement:
        case PilotTime(kind="first_current"):
            return first_current_told(evidence, log)
        case PilotTime(kind="pilot_to_settled"):
            return pilot_to_settled_told(steps, log)
        case PilotTime(kind="setpoint_to_pilot"):
            return setpoint_to_pilot_told(steps, log)
        case PilotTime():
            return stop_after_pwm_told(evidence, log, requirement)
        case StopAfterState():
            return stop_after_state_told(evidence, log, requirement)
        case DutyInterval():
            return duty_interval_told(evidence, log, requirement)
        case OpensUnderLoad():
            return opens_under_load_told(evidence, log, requirement)


def _ways(requirement: Requirement, service: Service) -> tuple[Way | None, ...]:
    """What no record tells needs no row for either way, and what both answer together one."""
    if isinstance(requirement, NotCovered):
        return (None,)
    if isinstance(requirement, StepCount) and requirement.of == "both ways":
        return (None,)
    return service.directions or (None,)


def _bounds(requirement: Requirement) -> Bounds:
    if isinstance(requirement, (SteadyState, StepwiseBand)):
        return Bounds(_exact(requirement.low), _exact(requirement.high))
    if isinstance(requirement, (*_TIMES, Overshoot)):
        return Bounds(None, _exact(requirement.at_most))
    if isinstance(requirement, NotCovered):
        return Bounds(None, None)
    return Bounds(_exact(requirement.at_least), None)


def _exact(limit: float) -> float:
    """A limit as it was written: 95 % is 0.95, without what a product of floats adds."""
    return float(f"{limit:.12g}")


def _unit(requirement: Requirement) -> Literal["s", "1"]:
    return "s" if isinstance(requirement, _IN_SECONDS) else "1"
