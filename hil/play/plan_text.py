"""A plan as lines for a person: what would happen when. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hil.play.timeline import Plan


def plan_lines(plan: Plan) -> Iterator[str]:
    """One line a command: the time since the last wait ended, and what is done."""
    waits = 0
    since_s = 0.0
    for command in plan.commands:
        clock = f"{since_s:9.3f} s" if not waits else f"w{waits} +{since_s:8.3f} s"
        yield f"{command.number:5d}  {clock:>14}  {command.text}"
        if command.waits:
            waits, since_s = waits + 1, 0.0
        else:
            since_s += command.hold_s
    yield (
        f"{len(plan.commands)} commands, {plan.timed_s:.1f} s timed"
        + (f", and {_waits(waits)} of at most {plan.waiting_s:.0f} s" if waits else "")
    )


def _waits(count: int) -> str:
    return "the wait w1" if count == 1 else f"waits w1 to w{count}"
