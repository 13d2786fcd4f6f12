"""From a record to ``result.json``: pure, and the same bytes for the same record and limits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hil.assess.certifying import obstacles, step_found, stepped_s
from hil.assess.chain import chain
from hil.assess.character.table import character
from hil.assess.claims.connector import contradictions
from hil.assess.claims.table import claims
from hil.assess.faults import faults_of
from hil.assess.outcome.attribution import attributed
from hil.assess.outcome.by_hand import hand_supply_of, read_by_hand
from hil.assess.outcome.disbelieved import disbelieved
from hil.assess.outcome.doubts import answered_late, phases_changed
from hil.assess.outcome.measure import measure_all
from hil.assess.outcome.plausibility import plausible
from hil.assess.outcome.step import NO_RESPONSE, Bench, Measured
from hil.assess.outcome.tracking import Supply, phases_in_use, supply_of
from hil.assess.reading.by_hand import HandMeter, hand_meter_of, readings_by_hand
from hil.assess.reading.devices import (
    Rating,
    check_manifest,
    devices_of,
    metered,
    needed,
    pilots_of,
    rating_of,
)
from hil.assess.reading.reference import Reference
from hil.assess.reading.steps import broken_chains, cut, never_sent, pilot_edges
from hil.assess.reading.trace import Trace, trace_of
from hil.assess.services.requirement import flaws_of
from hil.assess.services.step_groups import granularity_in
from hil.assess.services.table import services
from hil.assess.summary import attributes
from hil.assess.supplies import by_supply
from hil.assess.uncertainty import Estimate
from hil.assess.verdict import Ruling, Verdict, in_words, of_run, risk_of
from hil.config.limits import LimitsConfig
from hil.config.services import ServicesConfig
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

Findings = list[dict[str, Any]]

_NEVER_SENT = "setpoint_never_sent"

_MEASURED = frozenset(
    {"events.jsonl", "samples.parquet", "limits.yaml", "services.yaml", "manifest.json"}
)
"""Files that the figures and verdicts are made from."""


def evaluate(
    record: Record, limits: LimitsConfig, asked: ServicesConfig | None = None
) -> dict[str, Any]:
    """The content of ``result.json``: SI units, unrounded, ``None`` where a thing is not known.

    ``asked`` are the services to hold it against; without any, the table of services is empty.
    Raises RecordError if the record lacks what every record has.
    """
    manifest = record.manifest
    check_manifest(manifest)
    findings = _recorded(record) + _altered(record) + _clock(record)
    entries: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    meters: dict[str, dict[str, Any]] = {}
    chains: list[dict[str, Any]] = []
    claimed: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    supplies: list[dict[str, Any]] = []
    subjects = [_measure(record, evse, limits, findings) for evse in devices_of(record, "evse")]
    references = [one.reference for one in subjects if one.reference is not None]
    blocked = obstacles(record, references, limits)
    ruling = Ruling(limits.decision_rule, blocked)
    edited = sorted(_MEASURED & set(record.altered))
    summed = bool(manifest.get("files"))
    flaws = flaws_of(manifest.get("state", "open"), record.incomplete, summed, edited)
    for subject in subjects:
        evse, rating, bench, measured, _ = subject
        trace = subject.trace
        if trace is not None:
            meters[evse] = _meter(trace)
        elif subject.hand is not None:
            meters[evse] = _meter_by_hand(subject.hand)
        bounds = limits.attributes
        has_meter = metered(record, evse)
        entries.extend(
            attributes(evse, measured, trace, rating, bounds, limits.definitions, has_meter, ruling)
        )
        more, remarks = character(
            record, evse, measured, bench, rating, limits, has_meter, ruling, subject.reference
        )
        entries.extend(_by_hand(more) if subject.hand is not None else more)
        findings.extend(remarks)
        piloted = bool(pilots_of(record, evse))
        chains.extend(chain(evse, measured, limits.definitions, has_meter, piloted))
        rows, disagreements = claims(record, evse, measured, rating, limits.definitions)
        claimed.extend(rows)
        findings.extend(disagreements)
        findings.extend(contradictions(record, evse, limits.definitions))
        if asked is not None:
            grain = granularity_in(more)
            seen = (record, evse, measured, bench, rating)
            table.extend(services(*seen, asked, ruling, flaws, grain))
        steps.extend(_step(one) for one in measured)
        supplies.extend(by_supply(evse, measured, trace, rating, limits.definitions, has_meter))
    verdicts = {f"{e['name']} of {e['target']}": Verdict(e["verdict"]) for e in entries}
    unsent = sum(finding["code"] == _NEVER_SENT for finding in findings)
    state = manifest.get("state", "open")
    verdict, reason = of_run(verdicts, state, record.incomplete, blocked, unsent)
    if edited:
        verdict, reason = Verdict.ERROR, f"{', '.join(edited)} changed since the run was sealed"
    return {
        **_run_in_brief(record, limits, asked),
        "verdict": verdict.value,
        "verdict_reason": reason,
        "decision_rule": in_words(limits.decision_rule),
        "decision": {
            "rule": limits.decision_rule,
            "words": in_words(limits.decision_rule),
            "risk": risk_of(limits.decision_rule),
            "certifying": limits.certifying,
            "blocked": list(blocked),
        },
        "attributes": entries,
        "meters": meters,
        "readings_by_hand": readings_by_hand(record),
        "chain": chains,
        "claims": claimed,
        "services": table,
        "supplies": supplies,
        "steps": steps,
        "findings": findings,
    }


def _run_in_brief(
    record: Record, limits: LimitsConfig, asked: ServicesConfig | None
) -> dict[str, Any]:
    """Which run it was, on what, how it ended, and what it is held against."""
    manifest = record.manifest
    devices = manifest["devices"]
    virtual = [name for name, facts in devices.items() if facts.get("virtual")]
    return {
        "schema": 1,
        "run": needed(manifest, "run", "the manifest"),
        "bench": needed(manifest, "bench", "the manifest"),
        "scenario": needed(manifest, "scenario", "the manifest"),
        "seed": manifest.get("seed"),
        "hil": needed(manifest, "hil", "the manifest"),
        "virtual": bool(virtual),
        "virtual_devices": virtual,
        "clock": {"kind": needed(needed(manifest, "clock", "the manifest"), "kind", "its clock")},
        "state": manifest.get("state", "open"),
        "detail": manifest.get("detail") or "",
        "incomplete": record.incomplete,
        "faults": faults_of(record),
        "limits": {
            "name": limits.limits,
            "description": limits.description,
            "services": asked.services if asked else None,
            "definitions": limits.definitions.model_dump(mode="json"),
        },
    }


def _altered(record: Record) -> Findings:
    """Files that are not those of the run, as its manifest's sums tell."""
    at_s = record.events[-1].t if record.events else 0.0
    text = "was changed or removed since the run was sealed"
    return [
        _finding(at_s, "bench", "file_altered", "error", f"{name} {text}")
        for name in record.altered
    ]


def _clock(record: Record) -> Findings:
    """Whether the calendar was set, or the computer slept, during the run."""
    drift_s = stepped_s(record)
    if drift_s is None or step_found(record):  # which is marked at its instant
        return []
    text = f"the computer's calendar went {drift_s:+.3g} s away from the run's clock: it was set, "
    text += "or the computer slept"
    return [_finding(0.0, "bench", "clock_stepped", "warning", text)]


def to_json(result: Mapping[str, Any]) -> str:
    """The text of ``result.json``; the same result always gives the same bytes."""
    return json.dumps(result, sort_keys=False, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _meter(trace: Trace) -> dict[str, Any]:
    """The meter behind an EVSE's figures; the lag was taken off every instant."""
    return {
        "device": trace.device,
        "refresh_s": trace.refresh_s,
        "refresh_seen_s": trace.refresh_seen_s,
        "averaging_s": trace.averaging_s,
        "lag_s": trace.lag_s,
        **_errors(trace.reference),
    }


def _meter_by_hand(meter: HandMeter) -> dict[str, Any]:
    """The same of a meter that a person read; nothing that is told of a pace."""
    return {"device": meter.device, "by_hand": True, **_errors(meter.reference)}


def _errors(reference: Reference) -> dict[str, Any]:
    return {
        "calibration": reference.calibration or None,
        "accuracy": reference.power.name or None,
        "power_standard_share": reference.power.share,
        "problem": reference.problem,
    }


class Subject(NamedTuple):
    """One EVSE and what was measured of it."""

    evse: str
    rating: Rating
    bench: Bench | None
    measured: list[Measured]
    hand: HandMeter | None = None
    """The meter that was read by hand, where no other tells its power."""

    @property
    def reference(self) -> Reference | None:
        """What is known of the errors of its meter."""
        return self.hand.reference if self.hand else self.trace.reference if self.trace else None

    @property
    def trace(self) -> Trace | None:
        """What the reference meter said."""
        return self.bench.trace if self.bench is not None else None


def _measure(record: Record, evse: str, limits: LimitsConfig, findings: Findings) -> Subject:
    """Every step of one EVSE; what was odd goes to the findings."""
    rating = rating_of(record, evse)
    rating = rating._replace(by_duty=any(e.offered_a > 0.0 for e in pilot_edges(record, evse)))
    trace, oddities = trace_of(record, evse)
    for device, odd in oddities:
        findings.append(_finding(odd.t, device, odd.code, odd.severity, odd.text))
    if not pilots_of(record, evse):
        text = f"no pilot emulator is plugged into {evse}: the EVSE's delay and the EV's dead time "
        findings.append(_finding(0.0, evse, "no_pilot", "note", text + "cannot be told apart"))
    ends_s = max(
        record.events[-1].t if record.events else 0.0,
        float(trace.t[-1]) if trace is not None else 0.0,
    )
    bench = None
    supply: Supply | None = None
    if trace is not None:
        findings.extend(_error_unknown(trace.device, trace.reference))
        supply = supply_of(record, trace.device, trace.reference)
        rating = rating._replace(car_phases=phases_in_use(supply))
        bench = Bench(trace, supply, rating, limits.definitions, ends_s)
    measured = measure_all(cut(record, evse, ends_s), bench, rating)
    hand = hand_meter_of(record, evse)
    if hand is not None and trace is not None:
        text = f"{hand.device} was read by hand; the figures are taken from {trace.device}"
        findings.append(_finding(0.0, hand.device, "meter_not_used", "note", text))
        hand = None
    if hand is not None:
        findings.extend((*_error_unknown(hand.device, hand.reference), _on_reading(record, hand)))
        supply = hand_supply_of(record, hand)
        rating = rating._replace(car_phases=phases_in_use(supply))
        measured = read_by_hand(measured, hand, supply, rating)
    measured = plausible(attributed(measured, rating), rating, supply)
    measured = disbelieved(measured, record, trace)
    for t, text in broken_chains(record, evse):
        findings.append(_finding(t, evse, "event_chain", "error", text))
    for t, text in never_sent(record, evse):
        findings.append(_finding(t, evse, _NEVER_SENT, "warning", text))
    findings.extend(_remarks(evse, measured))
    return Subject(evse, rating, bench, measured, hand)


def _by_hand(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures that need a power all the time, where a person read it now and then."""
    untold = ("no meter told the power", "no setpoint was acknowledged")
    why = "its meter is read by hand, and this takes readings all the time"
    return [
        {**one, "reason": why} if one["value"] is None and one["reason"] in untold else one
        for one in entries
    ]


def _error_unknown(device: str, reference: Reference) -> Findings:
    """Errors of a meter of which nothing is known."""
    unknown = reference.unknown()
    if not unknown:
        return []
    text = f"neither a calibration nor a class of {device} tells the error of its "
    text += f"{', '.join(unknown)}: what rests on it lacks that in its uncertainty"
    return [_finding(0.0, device, "meter_error_unknown", "warning", text)]


def _on_reading(record: Record, meter: HandMeter) -> dict[str, Any]:
    """That a person read it, and what that leaves open."""
    read = [one for one in readings_by_hand(record) if one["device"] == meter.device]
    people = ", ".join(dict.fromkeys(str(one["operator"]) for one in read))
    text = f"{meter.instrument} was read by hand, by {people or 'nobody'}: {len(read)} readings. "
    text += "When the power moved, and how steady it was, cannot be told"
    if meter.times < 2:
        text += ". Each value was read once ('times: 1'): how it scatters is in no uncertainty"
    return _finding(0.0, meter.device, "read_by_hand", "note", text)


def _recorded(record: Record) -> Findings:
    """Findings of the run itself."""
    return [
        _finding(
            event.t,
            event.device,
            str(event.data.get("code", "")),
            str(event.data.get("severity", "warning")),
            str(event.data.get("text", "")),
        )
        for event in record.events
        if event.kind is EventKind.FINDING
    ]


def _finding(t: float, device: str, code: str, severity: str, text: str) -> dict[str, Any]:
    return {"t": t, "device": device, "code": code, "severity": severity, "text": text}


def _remarks(evse: str, measured: Sequence[Measured]) -> Findings:
    """What the steps show that a reader must know."""
    remarks: Findings = []
    if not measured:
        remarks.append(
            _finding(0.0, evse, "no_steps", "warning", f"no setpoint was sent to {evse}")
        )
    remarks.extend(remark for one in measured for remark in _remarks_on(evse, one))
    for one, phases in phases_changed(measured):
        assert one.at is not None
        text = f"{one.at.phases} phases carry current after setpoint {one.step.number}, "
        text += f"{phases} did before: accuracy would be judged by another number of phases"
        remarks.append(_finding(one.step.sent_s, evse, "phases_changed", "warning", text))
    seen = [one for one in measured if one.at is not None]
    assumed = {
        "voltage_assumed": [o for o in seen if o.at and not o.at.voltage_measured],
        "phases_assumed": [
            o
            for o in seen
            if o.at and not o.at.phases_measured and o.requested is None and o.after is not None
        ],
    }
    what = {"voltage_assumed": "voltage", "phases_assumed": "number of phases that carry current"}
    for code, some in assumed.items():
        if some:
            text = f"the {what[code]} was not measured in {len(some)} steps; the rated one was used"
            remarks.append(_finding(some[0].step.sent_s, evse, code, "note", text))
    return remarks


def _remarks_on(evse: str, one: Measured) -> Findings:
    """What one step shows that a reader must know."""
    step = one.step
    what = f"setpoint {step.number} ({step.setpoint})"
    remarks: Findings = []
    if one.implausible:
        text = f"{what}: {one.reason}"
        remarks.append(_finding(step.sent_s, evse, "meter_implausible", "error", text))
    elif one.pause_ignored:
        text = f"{what} was acknowledged and the pause not followed: {one.reason}"
        remarks.append(_finding(step.sent_s, evse, "pause_not_followed", "error", text))
    elif one.late:
        remarks.append(
            _finding(step.sent_s, evse, "late_response", "warning", f"{what}: {one.reason}")
        )
    elif one.outcome == NO_RESPONSE:
        text = f"{what} was acknowledged and not followed: {one.reason}"
        remarks.append(_finding(step.sent_s, evse, "not_followed", "warning", text))
    why = answered_late(one)
    if why and step.acknowledged_s is not None:
        text = f"{what} was acknowledged {why}"
        remarks.append(_finding(step.acknowledged_s, evse, "late_acknowledgement", "warning", text))
    return remarks


def _step(one: Measured) -> dict[str, Any]:
    """One step as it stands in the result."""
    step, timing = one.step, one.timing
    return {
        "setpoint": step.number,
        "target": step.target,
        "value": step.setpoint.value,
        "unit": step.setpoint.unit,
        "previous_value": step.previous.value if step.previous else None,
        "previous_unit": step.previous.unit if step.previous else None,
        "direction": one.direction,
        "transition": one.transition,
        "outcome": one.outcome,
        "reason": one.reason,
        "instants_s": {
            "sent": step.sent_s,
            "acknowledged": step.acknowledged_s,
            "pilot": one.pilot_s,
            "departed": timing.departed_s if timing else None,
            "low": timing.low_s if timing else None,
            "high": timing.high_s if timing else None,
            "settled": timing.settled_s if timing else None,
        },
        "ends_s": step.ends_s,
        "ended_by": step.ended_by,
        "level_before_w": one.before.mean_w if one.before else None,
        "level_after_w": one.after.mean_w if one.after else None,
        "noise_before_w": one.before.deviation_w if one.before else None,
        "noise_after_w": one.after.deviation_w if one.after else None,
        "depart_band_w": one.depart_band_w,
        "settle_band_w": one.settle_band_w,
        "requested_w": one.requested,
        "voltage_v": one.at.voltage_v if one.at else None,
        "phases": one.at.phases if one.at else None,
        "supply_v": step.supplied.voltage_v if step.supplied else None,
        "supply_hz": step.supplied.frequency_hz if step.supplied else None,
        "activation_time_s": _figure(one.activation),
        "total_activation_time_s": _figure(one.total_activation),
        "communication_delay_s": _figure(one.communication),
        "evse_delay_s": _figure(one.evse_delay),
        "ev_dead_time_s": _figure(one.ev_dead),
        "ramp_time_s": _figure(one.ramp),
        "accuracy_w": _figure(one.accuracy),
        "accuracy_a": _figure(one.accuracy_current),
        "precision_w": _figure(one.precision),
    }


def _figure(estimate: Estimate | None) -> dict[str, float] | None:
    if estimate is None or not math.isfinite(estimate.value):
        return None
    return {"value": estimate.value, "expanded_uncertainty": estimate.expanded}
