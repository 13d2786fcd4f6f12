"""The rest of a charger's character, beside the practical attributes and the delays.

In W against the meter, in A against the pilot. Each figure is one entry of the result; what the
record cannot tell says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hil.assess.character.catalogue import KINDS, Kind
from hil.assess.character.energy_accuracy import energy_accuracy
from hil.assess.character.excursion import Excess, over_limit
from hil.assess.character.floor import power_at_zero, smallest_stable_power
from hil.assess.character.found import NO_METER, Found
from hil.assess.character.granularity import Staircase, dead_band, granularity, staircases
from hil.assess.character.linearity import Instrument, hysteresis, lines, power_points
from hil.assess.character.offered import NO_PILOT, current_points, duty_terms, pilot_error
from hil.assess.character.overshoot import overshoot
from hil.assess.character.phase_use import phase_use, phases_in_words
from hil.assess.character.register import register_odd
from hil.assess.character.sessions import (
    fault_stop_delay,
    setpoint_delay,
    start_delay,
    stop_delay,
    turns,
)
from hil.assess.character.unused import under_use
from hil.assess.entry import Bound, entry, judged
from hil.assess.outcome.doubts import allowing, refused, without_figure
from hil.assess.outcome.step import Bench, Measured
from hil.assess.reading.devices import Rating
from hil.assess.reading.plug_faults import plug_faults
from hil.assess.reading.reference import MeterError, Reference
from hil.assess.reading.steps import DIGITAL, PilotEdge, pilot_edges
from hil.assess.verdict import Ruling, Verdict
from hil.config.limits import (
    CurrentLimit,
    DeviationLimit,
    EnergyLimit,
    LimitsConfig,
    ShareLimit,
    TimeLimit,
)

if TYPE_CHECKING:
    from hil.record.run_folder import Record

Entries = list[dict[str, Any]]
Findings = list[dict[str, Any]]


_TIMES = frozenset({"start_delay", "stop_delay", "fault_stop_delay", "pause_delay", "resume_delay"})


def character(
    record: Record,
    evse: str,
    measured: Sequence[Measured],
    bench: Bench | None,
    rating: Rating,
    limits: LimitsConfig,
    metered: bool,
    ruling: Ruling,
    reference: Reference | None,
) -> tuple[Entries, Findings]:
    """Further attributes of one EVSE as they stand in the result, and what a reader must know.

    ``bench`` is what the steps were measured with, ``None`` where no meter told the power all the
    time; ``metered`` whether the bench has a meter for the EVSE at all; ``reference`` what is known
    of the errors of whichever meter told its levels.
    """
    within_s = limits.definitions.rapid_within
    isolated = [one for one in measured if refused(one) or not one.step.rapid(within_s)]
    edges = pilot_edges(record, evse)
    subject = _Subject(
        record, evse, measured, isolated, bench, rating, limits, metered, edges, reference
    )
    trace = bench.trace if bench is not None else None
    excess = over_limit(measured, bench, metered)
    register_found, register = energy_accuracy(record, evse, trace, rating)
    found: dict[str, Found] = {
        **_in_watts(subject),
        **_in_amperes(subject),
        **_stairs(subject),
        **_delays(subject),
        "power_at_zero": power_at_zero(measured, bench, edges, metered),
        "smallest_stable_power": smallest_stable_power(measured, bench, metered),
        "overshoot": overshoot(isolated, trace, metered),
        "over_limit_energy": excess.found,
        "under_use_energy": under_use(measured, bench, metered),
        "phase_use": phase_use(measured, metered),
        "energy_accuracy": register_found,
    }
    entries = [_entry(kind, subject, found[kind.name], ruling) for kind in KINDS]
    findings = _remarks(subject, found, excess)
    odd = register_odd(register) if register is not None else ""
    if register is not None and odd:
        at_s = float(register.t[0]) if len(register.t) else 0.0
        findings.append(_finding(at_s, evse, "energy_register", "warning", odd))
    return entries, findings


def _entry(kind: Kind, subject: _Subject, found: Found, ruling: Ruling) -> dict[str, Any]:
    """One attribute, judged where the limits name it."""
    limit = getattr(subject.limits.attributes, kind.name, None)
    figure, rating = found.figure, subject.rating
    if found.missing == NO_METER and subject.metered:
        # A meter that is there and told nothing excuses nothing.
        figure = figure._replace(of=max(figure.of, len(subject.steps)))
    one = entry(kind.name, subject.evse, kind.unit, kind.definition, figure, "character")
    one.update(found.extra)
    if kind.unit == "W" and figure.estimate is not None:
        one["percent_of_rated"] = 100.0 * figure.estimate.value / rating.power_w
    told = judged(
        one,
        figure,
        _bound(limit, rating),
        found.missing,
        found.doubts if limit is not None else (),
        subject.metered,
        ruling,
        signed=kind.name in _TIMES,
    )
    if found.undecided and told["verdict"] in (Verdict.PASS.value, Verdict.FAIL.value):
        told["verdict"], told["reason"] = Verdict.INCONCLUSIVE.value, found.undecided
    return told


def _bound(
    limit: TimeLimit | DeviationLimit | CurrentLimit | ShareLimit | EnergyLimit | None,
    rating: Rating,
) -> Bound:
    if limit is None:
        return Bound()
    if isinstance(limit, DeviationLimit):
        return Bound(limit.watts(rating.power_w), limit.source)
    return Bound(limit.at_most, limit.source)


# --- by subject ---------------------------------------------------------------------------------


class _Subject(NamedTuple):
    """What every figure of one EVSE is made from."""

    record: Record
    evse: str
    steps: Sequence[Measured]
    isolated: Sequence[Measured]
    """Without those that came, or were overtaken, too soon; a refusal counts wherever it falls."""
    bench: Bench | None
    rating: Rating
    limits: LimitsConfig
    metered: bool
    edges: Sequence[PilotEdge]
    reference: Reference | None


def _in_watts(subject: _Subject) -> dict[str, Found]:
    """The line and the hysteresis of the power."""
    bench, reference = subject.bench, subject.reference
    counted = allowing(subject.steps, subject.rating, subject.limits.definitions.rapid_within)
    doubts = without_figure(counted, [one.accuracy for one in counted], subject.metered)
    points = list(power_points(counted, subject.rating))
    missing = "the power was steady in no step" if subject.metered else NO_METER
    instrument = Instrument("power", MeterError(""), 0.0)
    if reference is not None:
        resolution_w = bench.trace.resolution_w if bench is not None else 0.0
        amperes = any(one.step.setpoint.unit == "A" for one in counted)
        volts = reference.voltage.term(0.0, "voltage")._replace(standard=reference.voltage.share)
        asked = (volts,) if amperes else ()
        instrument = Instrument("power", reference.power, resolution_w, asked)
    line = lines(points, instrument, len(counted), missing, doubts)
    return {**line._asdict(), "hysteresis": hysteresis(points, instrument, missing, doubts)}


def _in_amperes(subject: _Subject) -> dict[str, Found]:
    """The line of the current, and the error of the pilot."""
    steps, edges, reference = subject.steps, subject.edges, subject.reference
    rating, definitions = subject.rating, subject.limits.definitions
    duty = duty_terms(subject.record, subject.evse)
    points = list(current_points(steps, edges, rating, definitions))
    error = reference.current if reference is not None else MeterError("")
    seen = [one.at for one in steps if one.at is not None and one.accuracy is not None]
    finest_a = max((at.current_resolution_a for at in seen), default=0.0)
    missing = "no steady current was measured while the pilot stood still"
    if not edges:
        missing = NO_PILOT
    elif not subject.metered:
        missing = "no meter told the current"
    elif any(edge.digital for edge in edges):
        missing = DIGITAL
    instrument = Instrument("current", error, finest_a, shifts=duty)
    line = lines(points, instrument, len(points), missing, ())
    found = {f"{name}_current": one for name, one in line._asdict().items()}
    return {**found, "pilot_error": pilot_error(steps, edges, rating, definitions, duty)}


def _stairs(subject: _Subject) -> dict[str, Found]:
    """Granularity and dead bands."""
    bench, metered = subject.bench, subject.metered
    stairs: list[Staircase] = []
    if bench is not None:
        stairs = list(staircases(subject.steps, bench.trace, subject.rating))
    missing = [
        one
        for one in subject.steps
        if refused(one) and subject.rating.lets_power_flow(one.step.setpoint)
    ]
    doubts = without_figure(missing, [None] * len(missing), metered)
    found = {
        "granularity": granularity(stairs, bench is not None),
        "dead_band_up": dead_band(stairs, bench is not None, rises=True),
        "dead_band_down": dead_band(stairs, bench is not None, rises=False),
    }
    return {name: one._replace(doubts=doubts) for name, one in found.items()}


def _delays(subject: _Subject) -> dict[str, Found]:
    """Start, stop, pause and resume."""
    bench, metered, limits = subject.bench, subject.metered, subject.limits.attributes
    ends_s = bench.record_ends_s if bench is not None else 0.0
    found = turns(subject.record, subject.evse, ends_s)

    def statistic(limit: TimeLimit | None) -> str:
        return limit.statistic if limit is not None else "median"

    shown = plug_faults(subject.record, subject.evse)
    starts, stops = statistic(limits.start_delay), statistic(limits.stop_delay)
    pauses, resumes = statistic(limits.pause_delay), statistic(limits.resume_delay)
    return {
        "start_delay": start_delay(found, subject.steps, bench, starts),
        "stop_delay": stop_delay(found, bench, stops),
        "fault_stop_delay": fault_stop_delay(shown, bench, statistic(limits.fault_stop_delay)),
        "pause_delay": setpoint_delay(subject.isolated, "pause", metered, pauses),
        "resume_delay": setpoint_delay(subject.isolated, "resume", metered, resumes),
    }


# --- findings -----------------------------------------------------------------------------------


def _remarks(subject: _Subject, found: Mapping[str, Found], excess: Excess) -> Findings:
    """What a reader must know beside the figures."""
    evse, remarks = subject.evse, []
    energy = excess.found.figure.estimate
    if energy is not None and excess.excursions and energy.value > excess.told.expanded:
        remarks.append(
            _finding(excess.excursions[0].start_s, evse, "over_limit", "error", _breach(excess))
        )
    if excess.unheard_s > 0.0:
        text = "; ".join(excess.found.doubts)
        remarks.append(_finding(excess.unheard_at_s, evse, "over_limit_unseen", "warning", text))
    below = found["power_at_zero"].extra["behaviour"]
    if below:
        text = f"setpoints below 6 A: {'; '.join(below)}"
        remarks.append(_finding(0.0, evse, "below_minimum", "note", text))
    phases = phases_in_words(subject.steps)
    if phases:
        remarks.append(_finding(0.0, evse, "phase_use", "note", phases))
    return remarks


def _breach(excess: Excess) -> str:
    """What flowed above the limits, in words."""
    estimate, extra = excess.found.figure.estimate, excess.found.extra
    assert estimate is not None
    numbers = dict.fromkeys(str(one.number) for one in excess.excursions)
    return (
        f"{estimate.value:.3g} Wh flowed above the setpoints and their tolerance, at most "
        f"{extra['largest_excursion_w']:.0f} W above and {extra['longest_excursion_s']:.3g} s at a "
        f"time, counted from the {extra['counted_from']} (number {', '.join(numbers)})"
    )


def _finding(t: float, device: str, code: str, severity: str, text: str) -> dict[str, Any]:
    return {"t": t, "device": device, "code": code, "severity": severity, "text": text}
