"""The further attributes: their names, units and definitions, in the order of the result."""

from __future__ import annotations

from typing import NamedTuple

from hil.assess.entry import Unit


class Kind(NamedTuple):
    """Name, unit and definition of an attribute."""

    name: str
    unit: Unit
    definition: str


_LINE = "of the straight line by least squares through all steady steps: "
KINDS = (
    Kind("gain", "1", f"gain g {_LINE}power = g x power asked for + o"),
    Kind("offset", "W", f"offset o {_LINE}power = g x power asked for + o"),
    Kind(
        "non_linearity",
        "1",
        "largest deviation of a setpoint's mean power from that line, signed, as a share of the "
        "range of the power asked for",
    ),
    Kind(
        "hysteresis",
        "W",
        "largest difference, signed, between the power after a rise to a setpoint and after a fall "
        "to it, each less the power asked for",
    ),
    Kind("gain_current", "1", f"gain g {_LINE}current = g x current offered by the pilot + o"),
    Kind("offset_current", "A", f"offset o {_LINE}current = g x current offered by the pilot + o"),
    Kind(
        "non_linearity_current",
        "1",
        "largest deviation of a setpoint's mean current from that line, signed, as a share of the "
        "range of the current that was offered",
    ),
    Kind(
        "pilot_error",
        "A",
        "current that the pilot offers less the setpoint, signed, where it is furthest off in the "
        "steady window; the value is the step with the largest magnitude",
    ),
    Kind(
        "granularity",
        "A",
        "distance of the setpoint from one effect on the power to the next one, on average over "
        "the staircases",
    ),
    Kind(
        "dead_band_up",
        "A",
        "largest rise of the setpoint, in staircases, without a change of the power that can be "
        "told",
    ),
    Kind(
        "dead_band_down",
        "A",
        "largest fall of the setpoint, in staircases, without a change of the power that can be "
        "told",
    ),
    Kind("power_at_zero", "W", "largest steady power at a setpoint of 0"),
    Kind(
        "smallest_stable_power",
        "W",
        "steady power at the lowest setpoint at which the car charges for the whole hold",
    ),
    Kind(
        "overshoot",
        "1",
        "how far the power goes beyond its new level after 90 % of a change, as a share of the "
        "change: max sign(dY) (y - Y1) / |dY|; the value is the largest of all steps",
    ),
    Kind(
        "over_limit_energy",
        "Wh",
        "energy above the setpoint and its tolerance, from the grace of the car on: a breach",
    ),
    Kind(
        "under_use_energy",
        "Wh",
        "energy asked for less energy that flowed, of all holds in which less flowed, from the "
        "grace of the car on: allowed",
    ),
    Kind(
        "start_delay",
        "s",
        "from the car asking for power (pilot state C; else the command to plug in or to start) "
        "until it draws more than half of 6 A on one phase",
    ),
    Kind(
        "stop_delay",
        "s",
        "from the command to stop or to unplug until the power is below half of 6 A on one phase",
    ),
    Kind(
        "fault_stop_delay",
        "s",
        "from a fault that the pilot emulator shows at the plug until the power is below half of "
        "6 A on one phase; where it never is, until the fault was mended, which is less than true",
    ),
    Kind(
        "pause_delay",
        "s",
        "from sending a setpoint that lets no car charge until the power has settled",
    ),
    Kind(
        "resume_delay",
        "s",
        "from sending a setpoint that lets a car charge again until the power has settled",
    ),
    Kind("phase_use", "1", "phases that carry current in steady steps; the most frequent number"),
    Kind(
        "energy_accuracy",
        "1",
        "advance of the charger's energy register less the reference's energy, as a share of the "
        "latter",
    ),
)
"""The rest of a charger's character."""
