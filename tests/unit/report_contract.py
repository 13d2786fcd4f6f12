"""What an evaluation tells a certifier, made up for the tests of the reports."""

from __future__ import annotations

from typing import Any

from report_stand_in import Run, attribute, changed

RISK = "a PASS is wrong in at most about 2.5 % of all cases, and so is a FAIL"
RULE = "PASS if |value| + U <= limit; FAIL if |value| - U > limit; otherwise INCONCLUSIVE"
DECISION: dict[str, Any] = {
    "rule": "guard-band",
    "words": f"{RULE}. U is the half width of the interval of 95 %; {RISK}.",
    "risk": RISK,
    "certifying": False,
    "blocked": [],
}
BLOCKED = [
    "virtual devices: dut, reference, vehicle",
    "the reference meter reference has no calibration",
]
METER: dict[str, Any] = {
    "device": "reference",
    "refresh_s": 0.1,
    "averaging_s": 0.05,
    "lag_s": 0.075,
    "calibration": "em540-sn1234",
    "certificate": "K-2026-0117",
    "due": "2027-03-01",
    "power_standard_share": 0.00125,
    "problem": "",
}
LINKS = (
    ("network", "sent", "acknowledged", 0.0614, 0.00096),
    ("evse", "acknowledged", "pilot", 0.612, 0.0025),
    ("ev_dead_time", "pilot", "departed", 1.1734, 0.0602),
    ("ramp", "departed", "high", 0.4321, 0.0411),
    ("settling", "high", "settled", 0.1289, 0.0312),
    ("total", "sent", "settled", 2.4021, 0.0598),
)
"""Name, first and last instant, median and U."""


def full(run: Run) -> Run:
    """The run with everything that an evaluation may tell."""
    extended = changed(
        run,
        decision=dict(DECISION),
        meters={"dut": dict(METER)},
        chain=[chain("isolated"), untold_chain("rapid", "no two setpoints were that close")],
        services=services(),
    )
    for entry in extended.result["attributes"]:
        _with_budget(entry)
    extended.result["attributes"] += character(len(run.result["steps"]))
    return extended


def term(
    name: str, standard: float, share: float, unit: str, kind: str = "B", **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "distribution": "normal" if kind == "A" else "rectangular",
        "standard_uncertainty": standard,
        "unit": unit,
        "degrees_of_freedom": None,
        "shared": kind == "B",
        "share": share,
        **more,
    }


def _with_budget(entry: dict[str, Any]) -> None:
    """Terms of 91.2, 8.75 and 0.05 % of the variance, one that is nil and one nobody knows."""
    unit, standard = entry["unit"], entry["expanded_uncertainty"] / 1.9604
    practical = entry["limit"] is not None
    entry.update(
        group="practical" if practical else "chain",
        standard_uncertainty=standard,
        effective_degrees_of_freedom=55.47,
        coverage_factor=1.9604,
        probability_beyond_limit=1.2e-9 if practical else None,
        uncertainty_terms=[
            term("noise of the response", 0.0875**0.5 * standard, 0.0875, unit, "A"),
            term("meter sampling and refresh", 0.912**0.5 * standard, 0.912, unit),
            term("round trip", 0.0005**0.5 * standard, 0.0005, unit, degrees_of_freedom=19.0),
            term("most extreme of several steps", 0.0, 0.0, unit),
        ],
    )
    if unit == "W":
        entry["uncertainty_terms"].append(term("power: error of the meter unknown", 0.0, 0.0, unit))


def character(of: int) -> list[dict[str, Any]]:
    """Figures that no limit is for, one of them that no step told."""
    figures = [
        ("granularity", "A", "max", 0.012, [1.0]),
        ("non_linearity", "%", "max", 0.21, [0.934]),
        ("overshoot", "%", "max", 0.4, [2.31]),
        ("energy_accuracy", "%", "pooled", 0.32, [-1.874]),
        ("gain", "1", "pooled", 0.0021, [0.96917]),
    ]
    found = [attribute(*figure[:4], None, figure[4], of, "") for figure in figures]
    hysteresis = attribute("hysteresis", "W", "max", 0.0, None, [], of, "")
    hysteresis.update(
        expanded_uncertainty=None,
        coverage_factor=None,
        reason="no setpoint was approached from below and from above; a staircase up and down, "
        "such as that of the scenario 'staircase', would tell it",
        uncertainty_terms=[],
    )
    for entry in (*found, hysteresis):
        entry["group"] = "character"
        if entry["verdict"] == "NOT_APPLICABLE" and entry["value"] is not None:
            entry["reason"] = "no limit is given"
    return [*found, hysteresis]


def chain(spacing: str, scale: float = 1.0) -> dict[str, Any]:
    links = [
        _link(*ends, n=22, of=23, median=scale * median, spread=spread)
        for *ends, median, spread in LINKS
    ]
    return {"target": "dut", "spacing": spacing, "links": links}


def untold_chain(spacing: str, reason: str) -> dict[str, Any]:
    links = [_link(*ends, n=0, of=0, reason=reason) for *ends, _, _ in LINKS]
    return {"target": "dut", "spacing": spacing, "links": links}


def _link(
    name: str,
    first: str,
    last: str,
    *,
    n: int,
    of: int,
    median: float | None = None,
    spread: float | None = None,
    reason: str = "",
) -> dict[str, Any]:
    return {
        "name": name,
        "from": first,
        "to": last,
        "n": n,
        "of": of,
        "min": None if median is None else 0.8 * median,
        "median": median,
        "mean": None if median is None else 1.01 * median,
        "p95": None if median is None else 1.3 * median,
        "max": None if median is None else 1.4 * median,
        "expanded_uncertainty": spread,
        "reason": reason,
    }


FCR_D = "Nordic FCR-D dynamic"


def services() -> list[dict[str, Any]]:
    """One service that passes, one that fails, one that is half told, one not at all."""
    source = "Nordic FCR technical requirements 2025, 3.2"
    untold = "no signal was followed in this run"
    return [
        requirement("aFRR", "full activation", "down", (2.4, 0.06), "at most", 300.0, "PASS"),
        requirement("aFRR", "full activation", "up", (2.61, 0.06), "at most", 300.0, "PASS"),
        requirement(
            FCR_D, "86 % of the change", "down", (100.0, 0.21), "at least", 86.0, "PASS",
            unit="%", source=source,
        ),
        requirement(
            FCR_D, "energy delivered within 7.5 s", "down", (2.871, 0.084), "at least", 3.2, "FAIL",
            unit="s", source=source, reason="slowest of 11 steps: setpoint 14",
        ),
        requirement(
            "Continental FCR", "half of the change", None, (2.3, 0.06), "at most", 15.0, "PASS",
            source="system operation guideline, as remembered", confidence="from memory",
        ),
        requirement(
            "Continental FCR", "static band", "up", (4.63, 0.41), "within", [-5.0, 10.0],
            "INCONCLUSIVE", unit="%", reason="closer to the limit than its guard band",
        ),
        requirement(
            "PJM performance score", "score", None, None, "at least", 0.75, "NOT_APPLICABLE",
            unit="1", reason=untold, confidence="derived",
        ),
    ]  # fmt: skip


def requirement(
    service: str,
    words: str,
    direction: str | None,
    measured: tuple[float, float] | None,
    comparison: str,
    limit: float | list[float],
    verdict: str,
    *,
    unit: str = "s",
    reason: str = "",
    source: str = "market rules",
    confidence: str = "sourced",
) -> dict[str, Any]:
    return {
        "target": "dut",
        "service": service,
        "requirement": words,
        "direction": direction,
        "measured": measured[0] if measured else None,
        "unit": unit,
        "expanded_uncertainty": measured[1] if measured else None,
        "comparison": comparison,
        "limit": limit,
        "verdict": verdict,
        "reason": reason,
        "source": source,
        "confidence": confidence,
        "as_of": "2025",
    }
