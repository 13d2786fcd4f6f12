"""What the virtual charge point's own meter says, worded as OCPP 1.6 SampledValues. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse
from hil.virtual.plant import Electrical, Plant

MEASURANDS = (
    "Current.Import",
    "Current.Offered",
    "Energy.Active.Import.Register",
    "Power.Active.Import",
    "Power.Offered",
    "Voltage",
)

_LINES = ("L1", "L2", "L3")


class Station(NamedTuple):
    """What the charger knows besides its meter."""

    offered_a: float
    """Limit per phase that the pilot offers, or will."""
    phases: int
    voltage_v: float
    """Nominal, line to neutral."""
    gain: float
    """What its meter makes of one watt, one ampere, one watt-hour."""


class StationMeter:
    """The charger's own meter, which may stand still; every version of OCPP tells of the same."""

    def __init__(self, plant: Plant, personality: VirtualEvse, rating: Rating) -> None:
        self._plant, self._personality, self._rating = plant, personality, rating
        self._first: Electrical | None = None
        """The first sample of the running transaction."""

    def sampled(
        self, measurands: Sequence[str], now_s: float, asked_a: float, context: str
    ) -> list[dict[str, Any]]:
        """The sample of this instant; ``asked_a`` is the limit that was asked for, per phase."""
        evse, rating = self._personality, self._rating
        supply = self._plant.measure(now_s, now_s)
        if evse.meter_freezes and context != "Transaction.Begin":
            supply = self._first = self._first or supply
        offered_a = self._plant.limit_a if evse.offered == "signalled" else asked_a
        station = Station(offered_a, rating.phases, rating.voltage, evse.meter_gain)
        return sampled_values(measurands, supply, station, context)

    def forget(self) -> None:
        """The transaction is over."""
        self._first = None


def sampled_values(
    measurands: Sequence[str], supply: Electrical, station: Station, context: str
) -> list[dict[str, Any]]:
    """The sample as MeterValues carries it: numbers as text, in W, A, V and Wh."""
    common = {"context": context, "location": "Outlet"}
    return [
        {**value, **common, "measurand": measurand}
        for measurand in measurands
        for value in _values(measurand, supply, station)
    ]


def _values(measurand: str, supply: Electrical, station: Station) -> Iterator[dict[str, str]]:
    gain, lines = station.gain, _LINES[: station.phases]
    if measurand == "Power.Active.Import":
        yield {"value": f"{gain * sum(supply.power_w):.1f}", "unit": "W"}
    elif measurand == "Energy.Active.Import.Register":
        yield {"value": f"{gain * supply.energy_wh:.0f}", "unit": "Wh"}
    elif measurand == "Current.Import":
        for line, current_a in zip(lines, supply.current_a, strict=False):
            yield {"value": f"{gain * current_a:.2f}", "unit": "A", "phase": line}
    elif measurand == "Voltage":
        for line, voltage_v in zip(lines, supply.voltage_v, strict=False):
            yield {"value": f"{voltage_v:.1f}", "unit": "V", "phase": f"{line}-N"}
    elif measurand == "Current.Offered":
        yield {"value": f"{station.offered_a:.1f}", "unit": "A"}
    elif measurand == "Power.Offered":
        offered_w = station.offered_a * station.voltage_v * station.phases
        yield {"value": f"{offered_w:.0f}", "unit": "W"}
