"""The delay chain: what lies between sending a setpoint and the settled power, link by link.

The links of one step follow each other and add up to its total:

    network        sent -> acknowledged         the bench's network, a back end, the EVSE's answer
    evse           acknowledged -> pilot        the EVSE, until the duty cycle offers the setpoint
    ev_dead_time   pilot -> departed            the EV, until its power leaves the level before
    ramp           departed -> high             the EV, until 90 % of the change
    settling       high -> settled              the EV, until the power stays in its band
    total          sent -> settled

Isolated steps and rapid ones (closer together than ``rapid_within``) are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hil.assess.outcome.step import Measured
from hil.assess.reading.steps import DIGITAL
from hil.assess.uncertainty import Estimate, distribution
from hil.config.limits import Definitions


class Link(NamedTuple):
    """One link, between two instants."""

    name: str
    start: str
    end: str
    estimate: Callable[[Measured], Estimate | None]
    needs: tuple[str, ...]
    """Devices without which it cannot be told."""


def _ramp(one: Measured) -> Estimate | None:
    """From the departure to 90 %: as uncertain as the whole way to the settled power, at most."""
    timing = one.timing
    if one.ramp is None or timing is None or timing.high_s is None:
        return None
    return one.ramp._replace(value=timing.high_s - timing.departed_s)


LINKS = (
    Link("network", "sent", "acknowledged", lambda one: one.communication, ()),
    Link("evse", "acknowledged", "pilot", lambda one: one.evse_delay, ("pilot",)),
    Link("ev_dead_time", "pilot", "departed", lambda one: one.ev_dead, ("pilot", "meter")),
    Link("ramp", "departed", "high", _ramp, ("meter",)),
    Link("settling", "high", "settled", lambda one: one.settling, ("meter",)),
    Link("total", "sent", "settled", lambda one: one.total, ("meter",)),
)

_MISSING = {
    "pilot": "no pilot emulator is plugged in, so the duty cycle was not seen",
    "meter": "no meter told the power",
}


def chain(
    target: str,
    steps: Sequence[Measured],
    definitions: Definitions,
    metered: bool,
    piloted: bool,
) -> list[dict[str, Any]]:
    """The chain of one EVSE for isolated and for rapid steps, as it stands in the result."""
    changes = [one for one in steps if one.transition == "change"]
    rapid = [one.step.rapid(definitions.rapid_within) for one in changes]
    there = {"meter": metered, "pilot": piloted}
    return [
        {
            "target": target,
            "spacing": spacing,
            "links": [
                _link(link, [o for o, r in zip(changes, rapid, strict=True) if r is which], there)
                for link in LINKS
            ],
        }
        for spacing, which in (("isolated", False), ("rapid", True))
    ]


def _link(link: Link, steps: Sequence[Measured], there: dict[str, bool]) -> dict[str, Any]:
    found = [one for one in map(link.estimate, steps) if one is not None]
    figures = distribution(np.array([one.value for one in found]))._asdict() if found else {}
    return {
        "name": link.name,
        "from": link.start,
        "to": link.end,
        "n": len(found),
        "of": len(steps),
        **{name: figures.get(name) for name in ("min", "median", "mean", "p95", "max")},
        "expanded_uncertainty": (
            float(np.median([one.expanded for one in found])) if found else None
        ),
        "reason": "" if found else _why(link, steps, there),
    }


def _why(link: Link, steps: Sequence[Measured], there: dict[str, bool]) -> str:
    """Why a link cannot be told: a device that is missing, or what the steps say."""
    missing = [_MISSING[device] for device in link.needs if not there[device]]
    if missing:
        return "; ".join(missing)
    if not steps:
        return "no such setpoint was sent"
    if "pilot" in link.needs and any(edge.digital for one in steps for edge in one.step.edges):
        return DIGITAL
    reasons = dict.fromkeys(one.reason for one in steps if one.reason)
    if not reasons:
        return "the duty cycle never turned to the setpoint" if "pilot" in link.needs else ""
    return "; ".join(list(reasons)[:3])
