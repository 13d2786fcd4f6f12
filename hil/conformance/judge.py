"""Holds what a station says and what flows against the course in force, for one case's outcome."""

from __future__ import annotations

from hil.config.conformance import ConformanceCase
from hil.conformance import compare
from hil.conformance.calls import Reported
from hil.conformance.compare import Asked
from hil.conformance.flow import Lately, Seen, follows
from hil.conformance.in_force import InForce
from hil.conformance.oracle import ORACLES, Step, within
from hil.conformance.scene import Scene
from hil.conformance.verdicts import Outcome


def composite_schedule(
    case: ConformanceCase, outcome: Outcome, in_force: InForce, asked: Asked, reported: Reported
) -> bool:
    """Whether a composite schedule is the oracle's; another oracle that it matches is named."""
    expected = in_force.course()
    found = compare.differences(reported, expected, asked)
    if found:
        others = [
            name
            for name in ORACLES
            if name != case.oracle
            and not compare.differences(reported, in_force.course(name), asked)
        ]
        found += [f"it matches the oracle {name}" for name in others]
    outcome.composite.add(
        "FAIL" if found else "PASS",
        "; ".join(found),
        unit=asked.unit,
        duration_s=asked.duration_s,
        expected=[
            [round(step.from_s - asked.at_s, 3), step.limit]
            for step in within(expected, asked.at_s, asked.at_s + asked.duration_s)
        ],
        reported=[list(step) for step in reported.steps],
    )
    return not found


def flow(
    scene: Scene, outcome: Outcome, in_force: InForce, from_s: float, until_s: float, seen: Seen
) -> None:
    """What was seen between two instants of the run, stretch by stretch."""
    zero_s = scene.utc_s(0.0)
    steps = [
        Step(step.from_s - zero_s, None if step.limit is None else scene.amperes(step.limit))
        for step in within(in_force.course(), from_s + zero_s, until_s + zero_s)
    ]
    limits = in_force.lately(from_s)
    lately = None if limits is None else Lately(*map(scene.amperes, limits))
    for stretch in follows(steps, until_s, seen, scene.tolerance, lately):
        facts = {k: v for k, v in stretch._asdict().items() if k not in ("verdict", "reason")}
        outcome.current.add(stretch.verdict, stretch.reason, **facts)
