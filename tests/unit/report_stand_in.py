"""A scripted run for the tests of the reports: it looks like a record, and nothing was measured."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from synthetic_run import MadeRecord

from hil.quantities import Event, EventKind, Phase, Quantity
from hil.record.samples import Series

NAMES = {
    "schema": 1,
    "run": "warp-3f2a90c1",
    "bench": "virtual-ac",
    "scenario": "practical-attributes",
    "seed": 1,
    "hil": "0.1.0",
}
"""What manifest and result say alike."""
VOLTAGE_V = 230.0
W_PER_A = 3 * VOLTAGE_V


class Run(NamedTuple):
    record: MadeRecord
    result: dict[str, Any]


PRACTICAL: tuple[float, ...] = (6, *(16, 6) * 5, 8, 12, 16, 20, 24, 28, 32, 28, 24, 20, 16, 12, 8)
HOLD_S = 25.0


def practical_run(
    setpoints_a: Sequence[float] = PRACTICAL,
    *,
    virtual: bool = True,
    rejected: int | None = None,
    seed: int = 1,
    hold_s: float = HOLD_S,
) -> Run:
    """A charger that is stepped through ``setpoints_a``; number ``rejected`` is not taken."""
    random = np.random.default_rng(seed)
    events = [
        Event(0.0, EventKind.RUN, "", {"state": "playing"}),
        Event(2.0, EventKind.COMMAND, "vehicle", {"number": 0, "action": "plug_in", "text": ""}),
        Event(4.1, EventKind.PILOT_EDGE, "vehicle", _edge(32.0, None)),
    ]
    end_s = 20.0 + hold_s * len(setpoints_a) + 5.0
    t = np.arange(0.0, end_s, 0.1)
    current_a = np.where(t > 12.0, np.minimum(31.0, np.maximum(0.0, 6.0 * (t - 12.0))), 0.0)
    steps: list[dict[str, Any]] = []
    before_a, offered_a = 31.0, 32.0
    for number, asked_a in enumerate(setpoints_a, start=1):
        sent_s = 20.0 + hold_s * (number - 1) + random.uniform(0.0, 2.0)
        refused = number == rejected
        step, after_a = _step(number, asked_a, offered_a, sent_s, before_a, random, refused)
        step["ends_s"] = 20.0 + hold_s * number
        events += _chain(step, asked_a, offered_a)
        if not refused:
            known = step["instants_s"]
            took_s = max(known["settled"] - known["departed"], 0.01)
            ramp = np.clip((t - known["departed"]) / took_s, 0.0, 1.0)
            current_a = np.where(
                t < known["departed"], current_a, before_a + (after_a - before_a) * ramp
            )
            before_a, offered_a = after_a, asked_a
        steps.append(step)
    unplugged_s = end_s - 5.0
    current_a = np.where(t > unplugged_s, 0.0, current_a)
    events.append(Event(unplugged_s, EventKind.COMMAND, "vehicle", {"action": "unplug"}))
    events.sort(key=lambda event: event.t)
    noise_a = np.where(current_a > 0, random.normal(0.0, 0.02, t.size), 0.0)
    power_w = (current_a + noise_a) * W_PER_A * 0.985
    record = MadeRecord(_manifest(virtual, end_s), events, _all_series(t, power_w, random))
    return Run(record, _result(steps, virtual))


def _edge(current_a: float, previous_a: float | None) -> dict[str, Any]:
    previous = None if previous_a is None else previous_a / 0.6
    return {
        "duty_percent": current_a / 0.6,
        "current_a": current_a,
        "previous_percent": previous,
        "device_time_s": 1.0,
    }


def _step(
    number: int,
    asked_a: float,
    offered_a: float,
    sent_s: float,
    before_a: float,
    random: np.random.Generator,
    refused: bool,
) -> tuple[dict[str, Any], float]:
    after_a = 0.97 * asked_a
    up = after_a > before_a
    acknowledged = sent_s + random.normal(0.06, 0.01)
    pilot = acknowledged + random.normal(0.6, 0.1)
    departed = pilot + (1.2 if up else 0.8)
    settled = departed + abs(after_a - before_a) / (6.0 if up else 12.0)
    low, high = departed + 0.1 * (settled - departed), departed + 0.9 * (settled - departed)
    known = [sent_s, acknowledged, pilot, departed, low, high, settled]
    if refused:
        known = [sent_s, None, None, None, None, None, None]
    names = ("sent", "acknowledged", "pilot", "departed", "low", "high", "settled")
    times = dict(zip(names, known, strict=True))

    def apart(first: str, last: str, expanded: float) -> dict[str, float] | None:
        if refused:
            return None
        return {"value": times[last] - times[first], "expanded_uncertainty": expanded}

    step = {
        "setpoint": number,
        "target": "dut",
        "value": float(asked_a),
        "unit": "A",
        "previous_value": None if number == 1 else float(offered_a),
        "direction": "up" if up else "down",
        "outcome": "rejected" if refused else "followed",
        "reason": "the EVSE answered Rejected" if refused else "",
        "instants_s": times,
        "ends_s": None,
        "level_before_w": before_a * W_PER_A * 0.985,
        "level_after_w": None if refused else after_a * W_PER_A * 0.985,
        "noise_before_w": 13.6,
        "requested_w": asked_a * W_PER_A,
        "voltage_v": VOLTAGE_V,
        "activation_time_s": apart("acknowledged", "departed", 0.0829),
        "total_activation_time_s": apart("sent", "departed", 0.0816),
        "evse_delay_s": apart("acknowledged", "pilot", 0.0412),
        "ev_dead_time_s": apart("pilot", "departed", 0.0816),
        "ramp_time_s": apart("departed", "settled", 0.115),
        "accuracy_w": None
        if refused
        else {"value": (after_a * 0.985 - asked_a) * W_PER_A, "expanded_uncertainty": 6.28},
        "precision_w": None if refused else {"value": 13.71, "expanded_uncertainty": 1.94},
        "accuracy_a": None
        if refused
        else {"value": after_a - asked_a, "expanded_uncertainty": 0.0094},
    }
    return step, (before_a if refused else after_a)


def _chain(step: Mapping[str, Any], asked_a: float, offered_a: float) -> list[Event]:
    known, number = step["instants_s"], step["setpoint"]
    sent = {"setpoint": number, "value": float(asked_a), "unit": "A", "lateness_s": 0.0}
    chain = [Event(known["sent"], EventKind.SETPOINT_SENT, "dut", sent)]
    if known["acknowledged"] is None:
        reason = {"setpoint": number, "reason": "Rejected"}
        return [*chain, Event(known["sent"] + 0.06, EventKind.SETPOINT_FAILED, "dut", reason)]
    claim = {"setpoint": number, "claim": "Accepted"}
    chain.append(Event(known["acknowledged"], EventKind.SETPOINT_ACKNOWLEDGED, "dut", claim))
    if asked_a != offered_a:
        edge = _edge(asked_a, offered_a)
        chain.append(Event(known["pilot"], EventKind.PILOT_EDGE, "vehicle", edge))
    return chain


def series_of(
    t: NDArray[np.float64], value: NDArray[np.float64], good: bool | NDArray[np.bool_] = True
) -> Series:
    return Series(t, t - 0.002, t + 0.002, value, np.broadcast_to(np.asarray(good), t.shape))


def _all_series(
    t: NDArray[np.float64], power_w: NDArray[np.float64], random: np.random.Generator
) -> dict[tuple[str, Quantity, Phase], Series]:
    found = {
        ("reference", Quantity.POWER, Phase.TOTAL): series_of(t, power_w),
        ("dut", Quantity.POWER, Phase.TOTAL): series_of(t[::100], 0.98 * power_w[::100], False),
        ("reference", Quantity.FREQUENCY, Phase.TOTAL): series_of(t, np.full(t.size, 50.0)),
    }
    for phase in (Phase.L1, Phase.L2, Phase.L3):
        voltage_v = VOLTAGE_V + random.normal(0.0, 0.2, t.size)
        found[("reference", Quantity.VOLTAGE, phase)] = series_of(t, voltage_v)
        found[("reference", Quantity.CURRENT, phase)] = series_of(t, power_w / voltage_v / 3)
        found[("reference", Quantity.POWER, phase)] = series_of(t, power_w / 3)
    return found


def _manifest(virtual: bool, end_s: float) -> dict[str, Any]:
    return {
        **NAMES,
        "python": "3.11.7",
        "libraries": {"numpy": "2.4.6", "ocpp": "2.1.0", "pymodbus": "3.16.1"},
        "clock": {
            "kind": "warp",
            "epoch_utc": "2020-01-01T00:00:00Z",
            "started_utc": "2026-11-20T10:00:00Z",
            "ended_utc": "2026-11-20T10:00:03Z",
            "bench_s": end_s,
            "wall_s": 2.13,
            "speedup": end_s / 2.13,
        },
        "state": "sealed",
        "detail": "",
        "safe_state": {"confirmed": True, "detail": "6 A acknowledged, pilot in state A"},
        "limits": "ac-charger",
        "devices": {
            "dut": {
                "role": "evse",
                "driver": "ocpp16",
                "profile": "generic-ac",
                "virtual": virtual,
                **({"personality": "everyday-evse", "vehicle": "everyday-car"} if virtual else {}),
                "identity": {
                    "description": "hil virtual EVSE",
                    "details": {"vendor": "hil", "model": "virtual AC", "firmware": "0.1.0"},
                },
                "rating": {"current_a": 32, "phases": 3, "voltage_v": 230, "power_w": 22080},
            },
            "reference": {
                "role": "meter",
                "driver": "modbus",
                "profile": "carlo-gavazzi-em540",
                "virtual": virtual,
                **({"personality": "em540-fast"} if virtual else {}),
                "identity": {"description": "EM540", "details": {"serial": "VIRTUAL"}},
                "measures": "dut",
                "poll_s": 0.1,
                "refresh_s": 0.1,
                "averaging_s": None,
            },
            "vehicle": {
                "role": "pilot",
                "driver": "pilot-emulator",
                "virtual": virtual,
                "identity": {"description": "pilot emulator", "details": {"protocol": "1"}},
                "plugged_into": "dut",
            },
        },
        "files": dict.fromkeys(("bench.yaml", "samples.parquet"), "9f86d081884c7d65" * 4),
    }


def _result(steps: list[dict[str, Any]], virtual: bool) -> dict[str, Any]:
    followed = [step for step in steps if step["outcome"] == "followed"]
    return {
        **NAMES,
        "virtual": virtual,
        "virtual_devices": ["dut", "reference", "vehicle"] if virtual else [],
        "clock": {"kind": "warp"},
        "state": "sealed",
        "incomplete": False,
        "limits": {
            "name": "ac-charger",
            "description": "Everyday limits for an AC charger and its car.",
            "definitions": {
                "depart_sigmas": 5.0,
                "depart_floor": 0.25,
                "depart_hold": 0.5,
                "pre_window": 5.0,
                "steady_window": 10.0,
                "ramp_low": 0.1,
                "ramp_high": 0.9,
                "settle_share": 0.02,
                "settle_sigmas": 3.0,
            },
        },
        "verdict": "INCONCLUSIVE",
        "verdict_reason": "accuracy of dut is inconclusive: its uncertainty reaches over the limit",
        "decision_rule": "PASS if |value| + U <= limit; FAIL if |value| - U > limit; "
        "otherwise INCONCLUSIVE",
        "attributes": _attributes(followed, len(steps)),
        "steps": steps,
        "findings": [
            finding(8.25, "dut", "meter_values_late", "MeterValues came 2.3 s late"),
            finding(241.0, "vehicle", "duty_out_of_tolerance", "duty 26.1 % for 16 A", "note"),
        ],
    }


def finding(t: float, device: str, code: str, text: str, severity: str = "warning") -> dict:
    return {"t": t, "device": device, "code": code, "severity": severity, "text": text}


def _attributes(followed: list[dict[str, Any]], steps: int) -> list[dict[str, Any]]:
    ups = [s for s in followed if s["direction"] == "up"]
    downs = [s for s in followed if s["direction"] == "down"]
    rows = [
        ("activation_time", "s", "max", 0.0829, 10.0, followed, "activation_time_s", "PASS"),
        ("ramp_up_time", "s", "max", 0.115, 30.0, ups, "ramp_time_s", "PASS"),
        ("ramp_down_time", "s", "max", 0.115, 7.0, downs, "ramp_time_s", "PASS"),
        ("accuracy", "W", "worst", 6.28, 1104.0, followed, "accuracy_w", "INCONCLUSIVE"),
        ("precision", "W", "pooled", 1.94, 220.8, followed, "precision_w", "PASS"),
        (
            "total_activation_time",
            "s",
            "max",
            0.0816,
            None,
            followed,
            "total_activation_time_s",
            "",
        ),
        ("accuracy_current", "A", "worst", 0.0094, None, followed, "accuracy_a", ""),
    ]
    return [attribute(*row[:5], _figures(row[5], row[6]), steps, row[7]) for row in rows]


def _figures(steps: list[dict[str, Any]], key: str) -> list[float]:
    return [step[key]["value"] for step in steps]


def attribute(
    name: str,
    unit: str,
    statistic: str,
    expanded: float,
    limit: float | None,
    values: Sequence[float],
    of: int,
    verdict: str,
) -> dict[str, Any]:
    value = max(values, key=abs) if values else None
    return {
        "name": name,
        "target": "dut",
        "value": value,
        "unit": unit,
        "statistic": statistic,
        "expanded_uncertainty": expanded,
        "coverage_factor": 2,
        "n": len(values),
        "of": of,
        "percent_of_rated": value / 220.8 if unit == "W" and value is not None else None,
        "distribution": {
            "n": len(values),
            "min": min(values),
            "median": float(np.median(values)),
            "mean": float(np.mean(values)),
            "p95": float(np.percentile(values, 95)),
            "max": max(values),
        }
        if values
        else None,
        "limit": limit,
        "limit_source": "bench convention after the -5 % side of the Nordic FCR band"
        if limit
        else None,
        "verdict": verdict or "NOT_APPLICABLE",
        "reason": "" if verdict else "the limits name no limit for it",
        "definition": f"{name}: from the acknowledgement to the departure of the measured power",
        "uncertainty_terms": [
            {"name": "meter sampling and refresh", "standard_uncertainty": 0.0408, "unit": unit},
            {"name": "round trip", "standard_uncertainty": 0.0012, "unit": unit},
        ],
    }


def changed(run: Run, **result: Any) -> Run:
    """The run with other entries in its result."""
    return Run(copy.deepcopy(run.record), {**copy.deepcopy(run.result), **result})
