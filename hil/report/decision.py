"""How it was judged and what it was measured with: decision rule, limits, reference meters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hil.report import rounding, words
from hil.report.sections import Fact

_CERTIFYING = (
    "marked as certifying: they apply only to real devices, with a reference meter whose "
    "calibration is in force and a clock that is good enough"
)
_NOT_CERTIFYING = (
    "not marked as certifying: virtual devices and meters without calibration are judged alike"
)


def decision_facts(result: Mapping[str, Any]) -> list[Fact]:
    """The rule, its risk and the limits it was applied to; as much of it as the result tells."""
    return list(_decision_facts(result))


def _decision_facts(result: Mapping[str, Any]) -> Iterator[Fact]:
    decision = result.get("decision") or {}
    limits = str(result["limits"]["name"])
    if "certifying" in decision:
        limits += ", " + (_CERTIFYING if decision["certifying"] else _NOT_CERTIFYING)
    yield Fact("limits", limits)
    risk = str(decision.get("risk") or "")
    rule = str(decision.get("words") or result.get("decision_rule") or "")
    if risk and rule.endswith(f"; {risk}."):
        rule = rule.removesuffix(f"; {risk}.") + "."
    if rule:
        name = str(decision.get("rule") or "")
        yield Fact("decision rule", f"{name}: {rule}" if name else rule)
    if risk:
        yield Fact("its risk", risk)


def meter_facts(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, list[Fact]]:
    """By EVSE, the meter behind its figures: its calibration, its error, its pace."""
    devices = manifest.get("devices") or {}
    found = {}
    for evse, meter in (result.get("meters") or {}).items():
        device = devices.get(meter.get("device")) or {}
        found[evse] = list(_meter(meter, device))
    return found


def covers(result: Mapping[str, Any]) -> str:
    """What the stated uncertainties cover, and what of the meter's own error they do not."""
    meters = (result.get("meters") or {}).values()
    if not meters or any("power_standard_share" not in meter for meter in meters):
        error = words.METER_ERROR_UNTOLD
    elif any(not meter["power_standard_share"] for meter in meters):
        error = words.METER_ERROR_UNKNOWN
    else:
        error = words.METER_ERROR_COVERED
    return f"{words.UNCERTAINTY_COVERS} {error}"


def _meter(meter: Mapping[str, Any], device: Mapping[str, Any]) -> Iterator[Fact]:
    identity = (device.get("identity") or {}).get("description")
    name = str(meter.get("device") or "")
    yield Fact("reference meter", f"{name}: {identity}" if identity else name)
    if "calibration" in meter:
        yield Fact("calibration", _calibration(meter, device))
    if "power_standard_share" in meter:
        share = meter["power_standard_share"]
        text = "not known: not in U"
        if share:
            text = f"{rounding.significant(100 * share)} % of the reading, in U"
        yield Fact("standard uncertainty of its power", text)
    if meter.get("problem"):
        yield Fact("problem", str(meter["problem"]))
    pace = [
        (words_of, meter[key])
        for key, words_of in (
            ("refresh_s", "a new value every"),
            ("averaging_s", "a mean over"),
            ("lag_s", "taken off every instant for the age of a value:"),
        )
        if meter.get(key) is not None
    ]
    if pace:
        text = ", ".join(f"{what} {rounding.plain(value, 3)} s" for what, value in pace)
        yield Fact("pace", text)


def _calibration(meter: Mapping[str, Any], device: Mapping[str, Any]) -> str:
    if meter["calibration"]:
        certificate, due = meter.get("certificate"), meter.get("due")
        parts = [f"calibrated: {meter['calibration']}"]
        parts += [f"certificate {certificate}"] if certificate else []
        parts += [f"due {due}"] if due else []
        return ", ".join(parts)
    accuracy = device.get("accuracy")
    stated = accuracy.get("class") if isinstance(accuracy, Mapping) else None
    if meter.get("power_standard_share"):
        return f"not calibrated: {stated or 'class of its maker'}"
    return "not calibrated, and its error is not known"
