"""What the page says, section by section, as plain text and numbers already rounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hil.quantities import LINES, UNITS, Phase, Quantity
from hil.report import rounding, words
from hil.report.steps import segments
from hil.report.traces import Target

if TYPE_CHECKING:
    from hil.record.run_folder import Record

MOST_FINDINGS = 500
_BEFORE_U, _BOUND_TO_U = "\u00b1 ", "\u00b1\u00a0"
"""In a narrow column a line may end before the sign, not behind it."""

_STATES = {
    "aborted": "This run was aborted before its end.",
    "failed": "This run failed: a device or the bench did not do what it must.",
    "open": "This run was never closed: it was killed, or it is still under way.",
    "recovered": "This run was killed before its end, and what it left was recovered.",
}


class Fact(NamedTuple):
    """A name and what it is; ``key`` picks the colour of a part of the delay."""

    name: str
    text: str
    key: str = ""


class Banner(NamedTuple):
    """A line that must not be overlooked."""

    style: str
    title: str
    text: str
    reasons: Sequence[str] = ()


def virtual_words(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """What is to be said of virtual devices; ``None`` if every device was real."""
    if not result.get("virtual") and not result.get("virtual_devices"):
        return None
    chargers = [d for d in manifest.get("devices", {}).values() if d.get("role") == "evse"]
    if all(charger.get("virtual") for charger in chargers):
        return "virtual lab: no real charger was measured"
    return "partly virtual bench: not every device was real"


def banners(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[Banner]:
    """Everything that limits what this report may be used for, most important first."""
    safe_state = manifest.get("safe_state") or {}
    safe_detail = str(safe_state.get("detail") or "")
    if safe_state.get("confirmed") is False:
        yield Banner("alarm", "The safe state was not confirmed.", safe_detail)
        safe_detail = ""
    state = result.get("state", "sealed")
    if state in _STATES:
        safe = f"Safe state: {safe_detail}." if safe_detail else ""
        detail = ". ".join(filter(None, (str(manifest.get("detail") or "").rstrip("."), safe)))
        yield Banner("alarm", _STATES[state], detail)
    if result.get("incomplete"):
        text = "The record is incomplete: what follows rests on the part that could be read."
        yield Banner("alarm", "Incomplete record.", text)
    blocked = (result.get("decision") or {}).get("blocked") or ()
    if blocked:
        title = "No attribute is judged: these limits certify, and do not apply."
        yield Banner("alarm", title, "What was measured is stated without a verdict.", blocked)
    faults = result.get("faults") or ()
    if faults:
        title = "Faults were injected on purpose."
        text = "What was measured is of a bench, or a charger, that was made to fail."
        yield Banner("alarm", title, text, [_fault(fault) for fault in faults])
    virtual = virtual_words(result, manifest)
    if virtual:
        names = ", ".join(result.get("virtual_devices") or ())
        yield Banner("virtual", virtual, f"Virtual: {names}.")


def _fault(fault: Mapping[str, Any]) -> str:
    """One injected fault in words."""
    until_s = fault["cleared_s"]
    until = "to the end" if until_s is None else f"to {rounding.plain(until_s, 5)} s"
    measures = ", ".join(
        f"{key.removesuffix('_s').replace('_', ' ')} {rounding.exact(value)}"
        + (" s" if key.endswith("_s") else "")
        for key, value in fault["parameters"].items()
        if key not in ("at", "for_s")
    )
    told = f"{fault['fault']} on {fault['device']}" + (f" ({measures})" if measures else "")
    return f"{told}, from {rounding.plain(fault['injected_s'], 5)} s {until}"


class StepRow(NamedTuple):
    """A line of the table of steps, and the head of its zoom."""

    number: int
    target: str
    sent: str
    change: str
    outcome: str
    followed: bool
    reason: str
    numbers: Mapping[str, str]


def step_rows(result: Mapping[str, Any], rated_w: Mapping[str, float]) -> list[StepRow]:
    """Every setpoint of the run with what became of it; ``rated_w`` is each EVSE's rating."""
    return [_step_row(step, rated_w.get(step["target"])) for step in result["steps"]]


def _step_row(step: Mapping[str, Any], rated_w: float | None) -> StepRow:
    sent_s = (step.get("instants_s") or {}).get("sent")
    before, after = step.get("previous_value"), rounding.exact(step["value"])
    change = f"{after} {step['unit']}"
    if before is not None:
        change = f"{rounding.exact(before)} \u2192 {change}"
    numbers = {
        key: _amount(step.get(key), unit, signed=key.startswith("accuracy"))
        for key, unit in _STEP_NUMBERS.items()
    }
    accuracy = rounding.amount(step.get("accuracy_w"))
    if accuracy and rated_w:
        spread = accuracy.expanded_uncertainty
        share = rounding.rounded(
            100 * accuracy.value / rated_w, spread and 100 * spread / rated_w, signed=True
        )
        numbers["accuracy_percent"] = f"{share.value} % of rated"
    return StepRow(
        number=step["setpoint"],
        target=step["target"],
        sent="" if sent_s is None else f"{sent_s:.2f}",
        change=change,
        outcome=words.outcome(step["outcome"]),
        followed=step["outcome"] == "followed",
        reason=step.get("reason") or "",
        numbers=numbers,
    )


_PARTS = {
    "network": "communication_delay_s",
    "evse": "evse_delay_s",
    "ev": "ev_dead_time_s",
    "evse_ev": "activation_time_s",
    "ramp": "ramp_time_s",
}
"""Where the number of each part of a delay stands in a step."""

_STEP_NUMBERS = {
    "communication_delay_s": "s",
    "activation_time_s": "s",
    "total_activation_time_s": "s",
    "evse_delay_s": "s",
    "ev_dead_time_s": "s",
    "ramp_time_s": "s",
    "accuracy_w": "W",
    "precision_w": "W",
    "accuracy_a": "A",
}


def _amount(entry: Any, unit: str, *, signed: bool) -> str:
    number = rounding.amount(entry)
    if number is None:
        return ""
    text = str(rounding.rounded(*number, signed=signed))
    return f"{text.replace(_BEFORE_U, _BOUND_TO_U)}\u00a0{unit}"


def step_facts(step: Mapping[str, Any], row: StepRow) -> list[Fact]:
    """The numbers beside the zoom of a step."""
    parts = [
        Fact(
            part.text,
            row.numbers[_PARTS[part.kind]] or f"{rounding.plain(part.end_s - part.start_s, 3)} s",
            part.kind,
        )
        for part in segments(step)
    ]
    named = [
        ("activation time", row.numbers["activation_time_s"]),
        ("total activation time", row.numbers["total_activation_time_s"]),
        ("requested", _watts(step.get("requested_w"))),
        ("level before", _watts(step.get("level_before_w"))),
        ("level after", _watts(step.get("level_after_w"))),
        ("noise before (\u03c3)", _watts(step.get("noise_before_w"), 2)),
        ("accuracy", row.numbers["accuracy_w"]),
        ("", row.numbers.get("accuracy_percent", "")),
        ("accuracy, current", row.numbers["accuracy_a"]),
        ("precision", row.numbers["precision_w"]),
        ("mean phase voltage", _with_unit(step.get("voltage_v"), "V", 5)),
        ("supply as set", _with_unit(step.get("supply_v"), "V", 5)),
    ]
    return [*parts, *(Fact(name, text) for name, text in named if text)]


def _watts(value: float | None, digits: int = 5) -> str:
    return _with_unit(value, "W", digits)


def _with_unit(value: float | None, unit: str, digits: int) -> str:
    return "" if value is None else f"{rounding.plain(value, digits)} {unit}"


_SHOWN = (
    "driver",
    "profile",
    "instrument",
    "personality",
    "vehicle",
    "measures",
    "plugged_into",
)


def device_facts(device: Mapping[str, Any]) -> list[Fact]:
    """Identity, versions and settings of a device."""
    identity = device.get("identity") or {}
    facts = [Fact("identity", identity.get("description") or "not told")]
    facts += [
        Fact(str(key).replace("_", " "), rounding.exact(value))
        for key, value in (identity.get("details") or {}).items()
    ]
    for key in _SHOWN:
        if device.get(key) is not None:
            facts.append(Fact(key.replace("_", " "), str(device[key])))
    if device.get("listens"):
        facts.append(Fact("part", "listens beside a real car"))
    rating = device.get("rating")
    if rating:
        facts.append(Fact("rating", _rating(rating)))
    if device.get("role") == "source":
        facts += _source_facts(device)
    for key in ("poll_s", "refresh_s", "averaging_s"):
        if key in device:
            unstated = "none, it publishes by itself" if key == "poll_s" else "unknown"
            text = unstated if device[key] is None else f"{rounding.exact(device[key])} s"
            facts.append(Fact(f"{key.removesuffix('_s')} interval", text))
    return list(dict.fromkeys(facts))


def _source_facts(device: Mapping[str, Any]) -> list[Fact]:
    """What a source feeds, and the limits that no scenario could exceed."""
    limits = device.get("limits") or {}
    units = {"voltage_v": "V", "frequency_hz": "Hz", "current_a": "A"}
    facts = [Fact("feeds", ", ".join(map(str, device.get("feeds") or ())))]
    for key, unit in units.items():
        ends = limits.get(key)
        told = ends if isinstance(ends, list) else [ends]
        text = " to ".join(rounding.exact(end) for end in told)
        facts.append(Fact(f"limits, {key.rpartition('_')[0]}", f"{text} {unit}"))
    return facts


def _rating(rating: Mapping[str, Any]) -> str:
    current, phases, voltage, power = (
        rounding.exact(rating.get(key)) for key in ("current_a", "phases", "voltage_v", "power_w")
    )
    of = "1 phase" if phases == "1" else f"{phases} phases"
    return f"{current} A, {of}, {voltage} V, {power} W"


def clock_facts(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Fact]:
    """Clock, seed and versions."""
    clock = manifest.get("clock") or {}
    kind = result["clock"]["kind"]
    meaning = "simulated time, as fast as the computer can" if kind == "warp" else "real time"
    facts = [Fact("clock", f"{kind} ({meaning})")]
    if clock.get("bench_s") is not None:
        facts.append(Fact("duration", f"{rounding.plain(clock['bench_s'], 5)} s on the bench"))
    if clock.get("speedup") is not None and kind == "warp":
        text = f"{rounding.plain(clock['speedup'], 3)} times real time"
        facts.append(Fact("speed-up", f"{text} ({rounding.plain(clock.get('wall_s'), 3)} s)"))
    for key, name in (
        ("epoch_utc", "calendar at 0 s of the run"),
        ("started_utc", "started, computer's clock (UTC)"),
        ("ended_utc", "ended, computer's clock (UTC)"),
    ):
        if clock.get(key):
            facts.append(Fact(name, str(clock[key])))
    facts.append(Fact("seed", rounding.exact(result.get("seed"))))
    facts += [Fact("hil", str(result["hil"])), Fact("Python", str(manifest.get("python", "")))]
    libraries = manifest.get("libraries") or {}
    if libraries:
        facts.append(Fact("libraries", ", ".join(f"{n} {v}" for n, v in libraries.items())))
    return [fact for fact in facts if fact.text]


def condition_facts(record: Record, target: Target) -> list[Fact]:
    """What the supply and the surroundings were while it was measured, as far as known."""
    facts = []
    if target.meter is not None:
        shown = [(Quantity.VOLTAGE, phase) for phase in LINES] + [(Quantity.FREQUENCY, Phase.TOTAL)]
        facts += [_range(record, target.meter, *what, good_only=True) for what in shown]
    for quantity in (Quantity.STATE_OF_CHARGE, Quantity.TEMPERATURE):
        facts.append(_range(record, target.name, quantity, Phase.TOTAL, good_only=False))
    return [fact for fact in facts if fact is not None]


def _range(
    record: Record, device: str, quantity: Quantity, phase: Phase, *, good_only: bool
) -> Fact | None:
    series = record.series(device, quantity, phase)
    values = series.value[series.good] if good_only else series.value
    if not values.size:
        return None
    low, mean, high = (
        rounding.plain(float(v), 5) for v in (values.min(), values.mean(), values.max())
    )
    name = str(quantity).replace("_", " ")
    claim = "" if good_only else " (the device's own claim)"
    where = "" if phase is Phase.TOTAL else f" {phase}"
    unit = {"Cel": "\u00b0C"}.get(UNITS[quantity], UNITS[quantity])
    return Fact(f"{name}{where}{claim}", f"{mean} {unit} on average, {low} to {high} {unit}")


def definition_facts(result: Mapping[str, Any]) -> list[Fact]:
    """Every parameter of the measurement with its value."""
    found = []
    for key, value in (result["limits"].get("definitions") or {}).items():
        text, unit = words.definition(key)
        share = unit == "1" and isinstance(value, (int, float))
        shown = (
            f"{rounding.exact(round(100 * value, 9))} %"
            if share
            else f"{rounding.exact(value)} {unit}"
        )
        found.append(Fact(text, shown.strip(), key))
    return found
