"""The vocabulary of the bench: what is measured, commanded and said, and in which unit.

Every number inside ``hil`` is in the unit of :data:`UNITS`; conversion happens where a number
enters (configuration, register maps, OCPP unit fields) and nowhere else. Power, current and energy
are signed: import from the grid, hence charging, is positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, NamedTuple


class Quantity(StrEnum):
    """What a reading is a reading of. The unit of each is in :data:`UNITS`."""

    POWER = "power"
    CURRENT = "current"
    VOLTAGE = "voltage"
    FREQUENCY = "frequency"
    POWER_FACTOR = "power_factor"
    ENERGY_IMPORT = "energy_import"
    ENERGY_EXPORT = "energy_export"
    CURRENT_OFFERED = "current_offered"
    POWER_OFFERED = "power_offered"
    STATE_OF_CHARGE = "state_of_charge"
    TEMPERATURE = "temperature"
    DUTY = "duty"
    PILOT_FREQUENCY = "pilot_frequency"
    PILOT_HIGH = "pilot_high"
    PILOT_LOW = "pilot_low"


UNITS: Mapping[Quantity, str] = {
    Quantity.POWER: "W",
    Quantity.CURRENT: "A",
    Quantity.VOLTAGE: "V",
    Quantity.FREQUENCY: "Hz",
    Quantity.POWER_FACTOR: "1",
    Quantity.ENERGY_IMPORT: "Wh",
    Quantity.ENERGY_EXPORT: "Wh",
    Quantity.CURRENT_OFFERED: "A",
    Quantity.POWER_OFFERED: "W",
    Quantity.STATE_OF_CHARGE: "%",
    Quantity.TEMPERATURE: "Cel",
    Quantity.DUTY: "%",
    Quantity.PILOT_FREQUENCY: "Hz",
    Quantity.PILOT_HIGH: "V",
    Quantity.PILOT_LOW: "V",
}


class Phase(StrEnum):
    """The conductor a reading belongs to; ``TOTAL`` for sums and for what has no phase."""

    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    TOTAL = "total"


LINES: tuple[Phase, Phase, Phase] = (Phase.L1, Phase.L2, Phase.L3)


class Quality(StrEnum):
    """How far a reading may be trusted."""

    GOOD = "good"
    CLAIMED = "claimed"
    """The device under test says so of itself; never used as a reference."""
    SUSPECT = "suspect"
    """Used as far as it could be read; a finding says what was wrong."""


class Reading(NamedTuple):
    """One measured value.

    ``t`` is the best estimate of the instant the value belongs to, in seconds since the run
    started: midway between request and reply for a polled device, the arrival for one that
    reports unasked (then ``t_request`` is ``None``).
    """

    t: float
    t_request: float | None
    t_reply: float
    device: str
    quantity: Quantity
    phase: Phase
    value: float
    quality: Quality = Quality.GOOD


class Seen(NamedTuple):
    """The newest of what its meters say of the supply of one EVSE."""

    t: float
    """Nothing of it was measured before this instant: the oldest of the newest readings, less what
    its meter may take to show a value. Minus infinity before the first."""
    power_w: float | None
    """``None`` where none was read yet."""
    current_a: float | None
    """Largest of the phases; ``None`` where none was read yet."""
    changed_s: float
    """When a value of each meter last was another one than before."""


class Setpoint(NamedTuple):
    """A commanded limit: ``value`` in ``unit``; amperes are per phase, watts the sum of phases."""

    value: float
    unit: Literal["A", "W"]

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


class Event(NamedTuple):
    """Something that happened, ``t`` seconds after the run started. Kinds: :class:`EventKind`."""

    t: float
    kind: EventKind
    device: str
    data: Mapping[str, Any]


class EventKind(StrEnum):
    """What an :class:`Event` tells; the keys of its ``data`` stand behind each."""

    RUN = "run"
    """``state``: opening, playing, closing, ended; ``detail``."""
    COMMAND = "command"
    """A step of the plan begins: ``number``, ``action``, ``text``, ``planned_s``."""
    SETPOINT_SENT = "setpoint_sent"
    """``setpoint`` (its number in the run), ``value``, ``unit``, ``deadline_s``, ``lateness_s``."""
    SETPOINT_ACKNOWLEDGED = "setpoint_acknowledged"
    """``setpoint``, ``claim`` (what the device answered, such as ``Accepted``)."""
    SETPOINT_FAILED = "setpoint_failed"
    """``setpoint``, ``reason``: rejected, CALLERROR, no answer in time; ``answered``: whether the
    device clearly said no; an answer that cannot be read counts as none; ``in_force_a``: the
    current per phase that it put in force instead, where it says one."""
    PILOT_EDGE = "pilot_edge"
    """A duty change: ``duty_percent``, ``current_a``, ``previous_percent``, ``device_time_s``."""
    PILOT_STATE = "pilot_state"
    """``state``: A to F, as IEC 61851-1 names them; ``cause``."""
    PLUG_FAULT = "plug_fault"
    """A pilot emulator shows a fault of the vehicle, or mends it: ``fault``, ``state`` (shown,
    mended)."""
    EVSE_STATUS = "evse_status"
    """What the EVSE says of its connector: ``status``, ``connector``, ``error_code``. Over OCPP 2.x
    ``status`` is made of that and the transaction, and ``connector_status`` is as it was said."""
    TRANSACTION = "transaction"
    """``state``: started or stopped; ``transaction_id``, ``meter_wh``."""
    DEVICE = "device"
    """A device was opened, closed, lost or came back: ``state``, ``identity``."""
    FINDING = "finding"
    """``code``, ``severity`` (note, warning, error), ``text``."""
    SAFE_STATE = "safe_state"
    """One rung of the way to the safe state: ``step``, ``outcome``, ``confirmed``."""
    SETPOINT_RENEWED = "setpoint_renewed"
    """The newest setpoint was sent again so that its lease begins anew: ``setpoint``, ``claim``,
    ``lease_s``."""
    COMPOSITE_SCHEDULE = "composite_schedule"
    """What the EVSE says it would allow from now on, asked after a setpoint: ``setpoint`` (the
    number of the newest), ``status``, ``unit``, ``start``, ``periods`` (a list of
    [start_s, limit])."""
    INTERLOCK = "interlock"
    """A limit of the bench file was broken: ``interlock``, ``phase``, ``value``, ``limit``,
    ``unit``, ``since_s``."""
    METER_CHECK = "meter_check"
    """What the start-up check says of a meter: ``part`` (opening, load, energy, end), ``doubts``
    (the codes of its findings), ``refresh_s`` (how often its values change; ``None`` where too few
    changes were seen), ``intervals`` (how many say so)."""
    CONFORMANCE = "conformance"
    """A conformance case begins, takes a step, or ends: ``case``, ``text``; ``verdict`` at its
    end."""
    CHARGING_LIMIT = "charging_limit"
    """The EVSE says that somebody beside the bench limits it: ``state`` (set, cleared), ``source``,
    ``limit`` and ``unit``, or ``None`` where it does not say how much."""
    SOURCE = "source"
    """What an AC source puts out changes: ``state`` (commanded, confirmed, lost_output),
    ``voltage_v``, ``frequency_hz``, ``output`` (whether it is on)."""
    OPERATOR = "operator"
    """What a person was asked: ``question`` (its number), ``state`` (asked, refused, discarded,
    answered, skipped, unanswered, withdrawn), ``text``, ``typed``, ``operator`` (the name)."""
    READ_BY_HAND = "read_by_hand"
    """A person read an instrument: ``quantity``, ``phase``, ``value`` (SI), ``typed`` (as it was),
    ``operator`` (the name), ``t_asked``, ``t_answered``, ``quality``."""
    FAULT = "fault"
    """A fault was injected on a twin, or taken away again: ``fault``, ``state`` (injected,
    cleared)."""


class Frame(NamedTuple):
    """One raw protocol frame as it crossed the wire, ``t`` seconds after the run started."""

    t: float
    device: str
    direction: Literal["sent", "received"]
    protocol: str
    payload: str
    """Text as it was; bytes in hexadecimal."""
