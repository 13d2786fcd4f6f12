"""Personalities: how a virtual charger, car or meter behaves, well or badly. Data of the plant."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, OneLine
from hil.config.units import (
    Amperes,
    AmperesPerSecond,
    Fraction,
    PositiveAmperes,
    PositiveFraction,
    PositiveSeconds,
    PositiveWatts,
    Seconds,
    WattHours,
    Watts,
)

Unit = Literal["A", "W"]
Purpose = Literal["TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"]
ProfileKind = Literal["Absolute", "Relative", "Recurring", "Dynamic"]

Overlooked = Literal["diode-fault", "proximity-open"]

ProfileFlaw = Literal[
    "takes_foreign_tx_profiles",
    "tx_profile_outlives_transaction",
    "ignores_start_profile",
    "takes_any_start_profile",
    "ignores_clear",
    "lowest_stack_wins",
    "ignores_duration",
    "ignores_maximum",
    "default_waits_for_next_transaction",
    "default_returns_after_tx_profile",
    "minus_one_without_profile",
    "takes_any_evse",
    "takes_any_unit",
    "takes_broken_profiles",
    "reset_forgets_profiles",
    "ignores_validity",
    "ignores_start",
    "recurs_not",
    "ignores_get_filters",
    "tx_profile_keeps_default_out",
    "hides_limit_elsewhere",
    "ignores_limit_elsewhere",
    "keeps_limit_elsewhere",
    "charges_instead",
    "setpoint_of_one_phase",
    "takes_any_mode",
    "ignores_updates",
]
"""How a charger may deal wrongly, or by another document, with charging profiles that it accepts:
a TxProfile without its transaction; one kept after it; the profile of a RemoteStartTransaction not
used, or taken whatever its purpose; a ClearChargingProfile without effect; the stack upside down; a
duration not heeded; the ChargePointMaxProfile not heeded; a TxDefaultProfile that waits for the
next transaction, or returns when a TxProfile has ended; a composite schedule of -1 where no profile
applies.

Over OCPP 2.x also: an EVSE that there is not, or a rate unit that it does not use, taken for its
own; the rules of use case K01 not enforced; profiles gone after a Reset; validFrom and validTo, the
startSchedule, or a recurrency not heeded; the filters of GetChargingProfiles not heeded; a
TxProfile that has ended and keeps the TxDefaultProfile out; a limit that somebody else sets not
told, not heeded, or kept when it is released.

Over OCPP 2.1 also: a setpoint that discharges taken for one that charges; the setpoint of one phase
taken for the sum of all; an operation mode that it does not know taken for ChargingOnly; an
UpdateDynamicSchedule without effect."""


class Spread(Model):
    """A random time, normal and cut off at zero."""

    mean: Seconds
    deviation: Seconds = 0.0


class Replay(Model):
    """What a charger has kept while nobody listened, and sends at its first connection."""

    messages: Annotated[int, Field(ge=1, le=5000)]
    per_second: Annotated[float, Field(gt=0, le=100)] = 20.0
    age: PositiveSeconds
    """How old the oldest is."""


class Wording(Model):
    """How a charger's messages break the form."""

    subprotocol: bool = True
    """Whether it offers ``ocpp1.6`` in the handshake."""
    answers_cut_at: Annotated[int, Field(ge=16, le=65536)] | None = None
    """Its answers end after so many characters."""
    comma_first: bool = False
    """Whether its MeterValues begin with a comma."""
    meter_value: Literal["list", "object"] = "list"
    """What ``meterValue`` is; OCPP wants a list."""
    units: dict[str, str] = Field(default_factory=dict)
    """What it writes for a unit of its MeterValues."""


class Disorder(Model):
    """How a charger's calendar and the order of its messages go wrong."""

    early_stamps: Literal["right", "1970", "local"] = "right"
    """How its first three StatusNotifications are stamped: by the year in which its clock begins,
    or in a local time two hours ahead that is marked as UTC."""
    stops_twice: bool = False
    """Whether each StopTransaction is sent again, with another message id."""
    values_after_stop: bool = False
    """Whether status and MeterValues of the transaction follow its StopTransaction, the status of
    the charge after the one of its end."""
    offline_transaction: Annotated[int, Field(ge=-1, le=0)] | None = None
    """The number that it uses for a transaction begun while it was offline; that which the back
    office gives it, if not given."""


class Sulk(Model):
    """OCPP 2.x: a start soon after a stop is accepted, and charges nothing."""

    within: PositiveSeconds
    """From the end of a transaction."""
    offline: PositiveSeconds
    """For so long it is gone afterwards."""


class Fieldbus(Model):
    """How a charger behaves on Modbus, RAPI or MQTT; ``latency`` and ``keeps`` are of all."""

    latency: Seconds = 0.02
    """From a request's arrival to the answer."""
    needs_gap: bool = False
    """Whether a request that follows too soon on the last reply gets no answer."""
    watchdog_lasts: PositiveSeconds | None = None
    """How long its watchdog waits, whatever it was set to; what it was set to, if not given."""
    keeps: Literal["new", "old"] = "new"
    """Whether a setpoint is what it says then; one that keeps the old answers as if it had it."""
    heartbeat: bool = True
    """On RAPI: whether its firmware has heartbeat supervision."""
    damaged_answers: Fraction = 0.0
    """On RAPI: share of its lines that arrive with a wrong character."""
    late_answers: Fraction = 0.0
    """On RAPI: share of its answers that come late, by ``late_by``."""
    late_by: Seconds = 0.6


class VirtualEvse(Model):
    """A charger: from the accepted command to the pilot's duty cycle."""

    personality: Name
    kind: Literal["evse"]
    description: str = ""
    acknowledge_after: Spread = Spread.model_validate({"mean": "30 ms"})
    """From the command's arrival to the answer."""
    pilot_after: Spread = Spread.model_validate({"mean": "100 ms"})
    """From the command's arrival to the changed duty cycle."""
    duty_hold: Seconds = 0.0
    """Least time between two changes of the duty cycle."""
    quantum: PositiveAmperes = 0.1
    """Limits are rounded down to a multiple of this."""
    steps: list[PositiveAmperes] = Field(default_factory=list)
    """The only currents that it offers, rising; a limit is rounded down to one of them."""
    minimum: PositiveAmperes = 6.0
    below_minimum: Literal["pause", "clamp", "reject", "keep"] = "pause"
    """What a limit below the minimum does: it pauses, counts as the minimum, is refused, or is
    accepted and leaves the one before in force."""
    setpoints: Literal["follows", "ignores", "rejects", "unsupported", "violates"] = "follows"
    """Whether charging profiles have an effect; one that ignores them accepts them all the same,
    and one to which each violates a constraint says so by CALLERROR."""
    stuck_at: PositiveAmperes | None = None
    """What one that ignores them offers; what it offered before, if not given."""
    ceiling: PositiveAmperes | None = None
    """A limit above this is one too many for it, though its rating would allow it."""
    above_ceiling: Literal["clamp", "reject"] = "clamp"
    resumes_at: PositiveAmperes | None = None
    """After a pause it offers this, whatever the limit, until the next one comes."""
    wrong_resumes: Annotated[int, Field(ge=1)] | None = None
    """After how many pauses ``resumes_at`` is offered; after each, if not given."""
    spike: Seconds = 0.0
    """For how long the rating is offered whenever the limit changes, before the limit is."""
    ignores_stop: bool = False
    """Whether a RemoteStopTransaction is accepted and has no effect."""
    duty_error: Fraction = 0.0
    """Error of the pulse width, as a share of the period: ``1 %`` makes 26.7 % read 27.7 %."""
    meter_interval: PositiveSeconds = 10.0
    """Interval of MeterValues, until the back office sets another."""
    meter_interval_least: PositiveSeconds = 1.0
    meter_gain: Annotated[float, Field(gt=0, le=2)] = 1.0
    """What the charger's own meter makes of one watt, or of one ampere."""
    meter_freezes: bool = False
    """Whether its own meter repeats the first sample of a transaction to its end."""
    offered: Literal["signalled", "asked"] = "signalled"
    """What it reports as offered: what its pilot offers, or what it was asked for."""
    unit_taken: Unit | None = None
    """It takes every limit in this unit, whichever is named."""
    watts_phases: Literal[1, 2, 3] | None = None
    """Among how many phases it divides watts, whatever numberPhases says; those named or else its
    own, if not given."""
    units: Annotated[tuple[Unit, ...], Field(strict=False, min_length=1)] = ("A", "W")
    purposes: Annotated[tuple[Purpose, ...], Field(strict=False, min_length=1)] = (
        "TxProfile",
        "TxDefaultProfile",
        "ChargePointMaxProfile",
    )
    kinds: Annotated[tuple[ProfileKind, ...], Field(strict=False, min_length=1)] = (
        "Absolute",
        "Relative",
        "Recurring",
    )
    profile_flaws: Annotated[tuple[ProfileFlaw, ...], Field(strict=False)] = ()
    """What it does wrong with the profiles that it accepts."""
    stack_levels: Annotated[int, Field(ge=1, le=100)] = 10
    """How many stack levels it takes; a higher level is refused."""
    stack_levels_claimed: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many it says it takes; those it does, if not given."""
    without_transaction: Literal["rejects", "ignores"] = "rejects"
    """What becomes of a TxProfile while no transaction runs; one that ignores it accepts it."""
    speaks: Literal["ocpp1.6", "ocpp2.0.1", "ocpp2.1"] = "ocpp2.1"
    """The version of OCPP that it offers to a bench that takes any (``driver: ocpp``); to another
    one that of its driver."""
    start: Literal["remote", "plug"] = "remote"
    """Whether a transaction needs a RemoteStartTransaction or begins by plugging in."""
    discharges: bool = False
    """Whether it can feed back, as far as its rating says, with a car that can. With such a car it
    speaks digitally: its pilot stays at 5 % and the limit, of either sign and any size, goes beside
    it, at the instant at which the pilot's edge would have come. With another car it charges only.
    Without, a negative limit is a pause."""
    socket: bool = False
    """Whether it has a socket, and reads the proximity contact of the cable in it: it offers no
    more than the cable takes, and stops when the contact opens. One with a cable of its own does
    not."""
    overlooks: Annotated[tuple[Overlooked, ...], Field(strict=False)] = ()
    """Faults at the plug through which it goes on charging."""
    contactor_after: Seconds = 0.2
    """From vehicle state C to the closed contactor."""
    boot_time: Seconds = 8.0
    """From the return of its supply to the first connection."""
    keeps_profiles: bool = False
    """Whether charging profiles outlast a restart."""
    boots: Literal["itself", "triggered"] = "itself"
    """Whether it sends a BootNotification by itself, or only when it is asked for one."""
    reboots_every: PositiveSeconds | None = None
    """It restarts whenever it has been on for so long."""
    reboots_when_read: bool = False
    """Whether it restarts over a GetConfiguration of MeterValuesSampledData."""
    finish_lock: bool = False
    """Whether after a transaction no other one starts until the car was unplugged."""
    replay: Replay | None = None
    phase_switch_gap: PositiveSeconds | None = None
    """It switches to the ``numberPhases`` of a limit, all of them where none is named, and offers
    nothing for so long in between; it stays as it is, if not given."""
    disorder: Disorder = Disorder()
    available_after_end: bool = False
    """OCPP 2.x: whether the connector is Available after a transaction, the car plugged in."""
    sulk: Sulk | None = None
    wording: Wording = Wording()
    fieldbus: Fieldbus = Fieldbus()


class Lag(Model):
    """How a car's current moves to a new level: by a constant rate, or as a first-order lag."""

    rate: AmperesPerSecond | None = None
    time_constant: PositiveSeconds | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.rate is None) == (self.time_constant is None):
            raise PydanticCustomError("lag", "give either 'rate' or 'time_constant'", {})
        return self


class PowerFactorPoint(Model):
    """Power factor at one current."""

    current: PositiveAmperes
    factor: Annotated[float, Field(gt=0, le=1)]


class PowerBias(Model):
    """Watts added to the power while the offered power lies in a region; negative discharges."""

    from_: Annotated[Watts, Field(alias="from")]
    to: Watts
    add: Watts


class CurrentBias(Model):
    """Amperes added to what the pilot is read as while the offered current lies in a region."""

    from_: Annotated[Amperes, Field(alias="from")]
    to: Amperes
    add: Amperes


class Noise(Model):
    """Cycle-to-cycle noise of the current, each phase on its own."""

    shape: Literal["normal", "uniform"] = "normal"
    deviation: PositiveAmperes = 0.0
    """Standard deviation of either shape."""


class Taper(Model):
    """Current falls in a straight line above a state of charge."""

    above: PositiveFraction
    """State of charge at which the taper begins."""
    to: PositiveFraction
    """Share of the maximum current that is left at 100 %."""


class VirtualVehicle(Model):
    """A car: from the pilot's duty cycle to the current on each phase."""

    personality: Name
    kind: Literal["vehicle"]
    description: str = ""
    start_after: Seconds = 3.0
    """From the closed contactor to the first current."""
    dead_time_up: Seconds = 0.5
    dead_time_down: Seconds = 0.5
    """From a changed duty cycle to the first change of the current."""
    up: Lag
    down: Lag
    gain: Annotated[float, Field(gt=0, le=2)] = 1.0
    offset: Amperes = 0.0
    """Current drawn = gain x offered + offset, per phase."""
    quantum: PositiveAmperes = 0.0
    minimum: PositiveAmperes = 6.0
    """Below this the car draws nothing."""
    maximum: PositiveAmperes = 32.0
    maximum_discharge: PositiveAmperes = 0.0
    """The most it feeds back; above 0 it can speak digitally with an EVSE that can discharge."""
    phases: Literal[1, 2, 3] = 3
    one_phase_below: PositiveAmperes = 0.0
    """Below this current it charges on one phase."""
    two_phases_below: PositiveAmperes = 0.0
    """Below this current it charges on two phases."""
    one_phase_for: Seconds = 0.0
    """For so long after it has started it charges on one phase."""
    phase_gap_needed: Seconds = 0.0
    """A switch to more phases after a shorter gap than this harms it: it never charges again."""
    start_surge: PositiveFraction = 0.0
    """By how much it draws too much when charging starts."""
    start_surge_for: Seconds = 5.0
    sleeps_after: PositiveSeconds | None = None
    """A pause longer than this it does not wake from."""
    woken_by_open_pilot: PositiveSeconds | None = None
    """A pilot that was open for so long wakes it; nothing does, if not given."""
    stops_after_pauses: Annotated[int, Field(ge=1)] | None = None
    """After so many pauses it does not charge again."""
    power_factor: Annotated[list[PowerFactorPoint], Field(min_length=1)] = Field(
        default_factory=lambda: [
            PowerFactorPoint.model_validate({"current": "16 A", "factor": 0.99})
        ]
    )
    """Power factor by current, rising; straight lines between, constant beyond."""
    power_bias: list[PowerBias] = Field(default_factory=list)
    current_bias: list[CurrentBias] = Field(default_factory=list)
    noise: Noise = Noise()
    standby: PositiveWatts = 0.0
    """Power drawn on L1 while connected and not charging."""
    battery: WattHours = 60_000.0
    state_of_charge: PositiveFraction = 0.3
    """At the start of a run."""
    taper: Taper | None = None


class VirtualMeter(Model):
    """A meter on the wire: how old, how coarse and how wrong its values are."""

    personality: Name
    kind: Literal["meter"]
    description: str = ""
    refresh: PositiveSeconds
    """How often its registers change."""
    averaging: Seconds = 0.0
    """Window before each refresh over which values are averaged."""
    latency: Seconds = 0.0
    """From a request's arrival to the answer."""
    gain: Annotated[float, Field(gt=0, le=2)] = 1.0
    """What the meter makes of one ampere, hence of one watt, as with a wrong transformer ratio."""
    offset: Watts = 0.0
    """Added to the total power, a third of it to each phase."""
    resolution: PositiveWatts = 0.0
    """Step of its power values beyond what the register map itself rounds to."""
    absent: bool = False
    """On RS-485: not on its bus at all."""
    damaged_answers: Fraction = 0.0
    """On RS-485: share of its answers that the line damages."""
    late_answers: Fraction = 0.0
    """On RS-485: share of its answers that come late, by ``late_by``."""
    late_by: Seconds = 0.6
    publishes: Literal["everything", "changes"] = "everything"
    """Over MQTT: all its values at each refresh, or those that have changed."""
    threshold: PositiveFraction = 0.0
    """Over MQTT: a smaller change than this share of a value is none."""
    delivered_twice: bool = False
    """Over MQTT: each message comes twice, as QoS 1 allows."""
    retained_from_before: bool = False
    """Over MQTT: the broker has kept values of another day."""
    silent_from: PositiveSeconds | None = None
    """Over MQTT: so long after its start it publishes nothing more."""
    swallows_after_absent: bool = False
    """On RS-485: misses the request that follows one to a unit that is not there."""


class VirtualOperator(Model):
    """A person at the bench who reads and sets instruments: how fast, and how carefully."""

    personality: Name
    kind: Literal["operator"]
    description: str = ""
    called: OneLine
    """The name that is given as the operator's."""
    reaction: Spread
    """From the question to the answer; what is read is read at its end."""
    slips: PositiveFraction = 0.0
    """Share of the questions that are first answered with a decimal comma or without a digit."""
    skips: PositiveFraction = 0.0
    """Share of the questions that are answered with a dash."""
    misreads: PositiveFraction = 0.0
    """Share of the readings that are first typed ten times too large."""


Personality = Annotated[
    VirtualEvse | VirtualVehicle | VirtualMeter | VirtualOperator, Field(discriminator="kind")
]
