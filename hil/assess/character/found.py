"""What a record tells of one further attribute, before it stands in the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from hil.assess.entry import Figure
from hil.assess.reading.trace import Trace
from hil.assess.response.passage import Level
from hil.assess.uncertainty import Estimate, Term, rectangular

NO_METER = "no meter told the power"

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Found(NamedTuple):
    """A figure, why there is none, what keeps it from passing, and what stands beside it."""

    figure: Figure
    missing: str = ""
    doubts: Sequence[str] = ()
    extra: Mapping[str, Any] = _NOTHING
    """Further keys of the entry, there whether or not they are known."""
    undecided: str = ""
    """Why the figure must neither pass nor fail; its uncertainty is not known."""


def steady_power(after: Level, trace: Trace) -> Estimate:
    """Power of one steady window, W, with the meter's own error."""
    return Estimate(
        after.mean_w,
        (
            trace.reference.power.term(after.mean_w, "power"),
            Term("noise of the power", after.standard_w, freedom=after.freedom, kind="A"),
            Term(
                "meter resolution",
                rectangular(0.5 * trace.resolution_w),
                shared=True,
                rectangular=True,
            ),
        ),
    )
