"""What the player needs of a device, whatever it is made of. Small on purpose.

A driver is built from its part of the bench file, the journal it reports to, and nothing else; it
touches no hardware before :meth:`open`. Every method that talks to a device ends within a time
limit and raises :class:`hil.errors.DeviceError` with the remedy when the device does not do its
part. ``close`` never raises and may be called at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hil.config.by_hand import FaceValue
from hil.config.profiles import Register
from hil.config.sources import Level
from hil.drivers.capabilities import Capabilities
from hil.j1772 import PilotState, PlugFault
from hil.quantities import Setpoint


class Identity(NamedTuple):
    """What a device says it is, for the manifest: maker, model, serial number, firmware."""

    description: str
    details: Mapping[str, str]


class Device(Protocol):
    """Anything on the bench."""

    name: str

    async def open(self) -> Identity:
        """Reach the device and learn what it is."""
        ...

    async def close(self) -> None:
        """Let go of the device."""
        ...


class Acknowledgement(NamedTuple):
    """What became of a setpoint, as far as the device says. ``accepted`` is a claim, no proof."""

    accepted: bool
    answer: str
    """The device's own word (``Accepted``, ``Rejected``, an error code), or why there is none."""


class HeldLease(NamedTuple):
    """The lease of the setpoint in force: unless renewed, the EVSE goes to the safe setpoint."""

    since_s: float
    """Instant at which the setpoint, or its last renewal, was sent."""
    lasts_s: float
    answered_within_s: float = 0.0
    """Longest that the EVSE has taken to answer a setpoint so far."""


@runtime_checkable
class Evse(Device, Protocol):
    """A charger that takes setpoints.

    A setpoint is a lease that the EVSE, or its watchdog, ends by itself; :meth:`renew` prolongs it.
    ``apply`` records SETPOINT_SENT the instant the command leaves and SETPOINT_ACKNOWLEDGED or
    SETPOINT_FAILED when its fate is known, under the number ``setpoint_number``.
    """

    status: str
    """The last connector status the EVSE reported, in OCPP's words; empty before the first."""

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; ``deadline_s`` is the instant at which it was due."""
        ...

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        ...

    async def renew(self) -> None:
        """Let the lease begin anew; that it could not be done is a finding, no exception."""
        ...

    async def start_charging(self) -> None:
        """Let the EVSE start a transaction, the way its profile says."""
        ...

    async def stop_charging(self) -> None:
        """End the transaction, if there is one."""
        ...

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command the safe setpoint, to stay, at once; what was done, in words."""
        ...

    async def stop_now(self) -> str:
        """Command the end of the transaction, and do not wait for it; what was done, in words."""
        ...


@runtime_checkable
class Negotiates(Protocol):
    """A driver that finds out while it opens which driver its device needs."""

    @property
    def chosen(self) -> Evse:
        """That driver, which stands in for this one from then on."""
        ...


class OcppReply(NamedTuple):
    """What became of a call that was made as it stands."""

    word: str
    """The station's status, the code of its CALLERROR, or why there is no answer."""
    payload: Mapping[str, Any]
    """As the station sent it; empty if it sent none."""
    answered: bool
    """Whether the station said anything."""


@runtime_checkable
class OcppStation(Protocol):
    """A charger that can be spoken to in OCPP itself, beside what :class:`Evse` asks of it."""

    @property
    def ocpp_version(self) -> str:
        """``1.6``, ``2.0.1`` or ``2.1``."""
        ...

    @property
    def transaction_id(self) -> int | str | None:
        """The running transaction."""
        ...

    async def call(self, action: str, payload: Mapping[str, Any]) -> OcppReply:
        """Make a call with a payload in OCPP's own spelling; what became of it."""
        ...


@runtime_checkable
class ReportsProfiles(Protocol):
    """A charger that reports the charging profiles that it keeps: OCPP 2.x."""

    async def reported_profiles(
        self, payload: Mapping[str, Any]
    ) -> tuple[OcppReply, list[dict[str, Any]]]:
        """The answer to a GetChargingProfiles (its requestId is added), and what it reports.

        Of each profile ``chargingLimitSource``, ``evseId`` and ``chargingProfile``.
        """
        ...


LimitElsewhere = Callable[[float | None], None]
"""What limits a charger beside the bench, to amperes per phase; ``None`` for no longer."""


@runtime_checkable
class Capable(Protocol):
    """A charger that can be tried for what it takes of smart charging."""

    async def capabilities(self) -> Capabilities:
        """Try it, at or below the safe setpoint, and clear what was tried; not while measuring."""
        ...


@runtime_checkable
class ReportsSchedule(Protocol):
    """An EVSE that can be asked after each setpoint what it would allow, for the record."""

    @property
    def schedule_due_s(self) -> float | None:
        """When the newest setpoint was accepted; ``None`` if there is nothing to be asked for."""
        ...

    async def record_schedule(self) -> None:
        """Ask, and record COMPOSITE_SCHEDULE; that it could not be done is a finding."""
        ...


@runtime_checkable
class Meter(Device, Protocol):
    """An instrument that is asked at a fixed rate, that publishes, or that a person reads."""

    async def read(self) -> None:
        """Ask once, and report the readings with the instants of request and reply.

        Of one that publishes: wait for what it says next, and report that with its arrival.
        """
        ...


@runtime_checkable
class ReadByHand(Meter, Protocol):
    """A meter that a person reads: :meth:`read` takes as long as that person needs."""

    async def read_flow(self) -> bool:
        """Have power and currents read once, to see what flows; whether all of it was read."""
        ...


class Person(Protocol):
    """Who can be asked to do something at the bench."""

    async def do(self, words: str, shows: FaceValue | None) -> None:
        """Have it done, and what an instrument shows then typed. Raises DeviceError if not."""
        ...


@runtime_checkable
class ReadsOtherwise(Protocol):
    """A meter whose values can be read by another line than that of its profile, to compare."""

    async def read_as(
        self, register: Register, word_order: str | None = None, function: int | None = None
    ) -> float | None:
        """The value, in the unit of its quantity; it is no reading of the meter."""
        ...


@runtime_checkable
class Pilot(Device, Protocol):
    """A control-pilot emulator on the vehicle's side."""

    async def set_state(self, state: PilotState) -> None:
        """Show the EVSE this vehicle state (A to E)."""
        ...

    async def set_proximity(self, current_a: float | None) -> None:
        """Fit the cable's resistor for this rated current; ``None`` opens the contact."""
        ...

    async def show_fault(self, fault: PlugFault) -> None:
        """Show the EVSE a fault of the vehicle, until it is mended."""
        ...

    async def mend(self) -> None:
        """End the fault that is shown; nothing if none is."""
        ...

    async def make_safe(self) -> str:
        """Go to state A and mend what is shown as broken; what was done, in words."""
        ...


@runtime_checkable
class Source(Device, Protocol):
    """An AC source that feeds chargers. Opening it switches it on at its first level.

    Each change is a SOURCE event when its command leaves, and another when it was read back.
    """

    level: Level
    """What it was last told to put out while it is on."""
    may_be_on: bool
    """Whether it was switched on, or found on, and not been made safe since."""

    async def set_level(self, level: Level) -> None:
        """Put out this voltage and frequency, and read back that it was taken."""
        ...

    async def switch(self, on: bool) -> None:
        """Switch the output on or off, and read back that it is."""
        ...

    async def read(self) -> None:
        """Ask what it puts out and report it. Raises RunAborted if it went off by itself."""
        ...

    async def make_safe(self) -> str:
        """Switch off; what was read back of that, in words."""
        ...
