"""Faults that the virtual lab can play: what goes wrong, on which device, when and how long."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.bench import BenchConfig
from hil.config.evses import EvseConfig
from hil.config.library import nearest
from hil.config.meters import MeterConfig
from hil.config.rtu_address import is_rtu
from hil.config.source import Location, Source
from hil.config.units import (
    DURATION,
    PositiveAmperes,
    PositiveFraction,
    PositiveSeconds,
    SignedSeconds,
    parse,
)
from hil.errors import ConfigError

BENCH, TELEMETRY = "bench", "telemetry"
"""What a fault may be on besides a device: the bench's own computer, and its telemetry."""

Anchor = Literal["start", "playing", "setpoint", "teardown"]

_KEY = re.compile("[a-z_]+")
_MOMENT = re.compile(r"\s*(start|teardown|setpoint\s+(\d{1,9}))\s*(?:\+\s*(\S.*))?")


class Moment(NamedTuple):
    """When a fault begins: so long after something happens."""

    anchor: Anchor
    """``start``: before any device is opened; ``playing``: the first step begins; ``setpoint``: it
    was sent; ``teardown``: the way to the safe state begins."""
    setpoint: int = 0
    """Number of the setpoint in the run, from 1 on."""
    delay_s: float = 0.0

    def __str__(self) -> str:
        after = f"{self.delay_s:g} s"
        if self.anchor == "playing":
            return after
        anchor = f"setpoint {self.setpoint}" if self.anchor == "setpoint" else self.anchor
        return f"{anchor} + {after}" if self.delay_s else anchor


def _read_moment(text: Any) -> Moment:
    if isinstance(text, Moment):
        return text
    match = _MOMENT.fullmatch(str(text))
    if match is None:
        return Moment("playing", delay_s=_delay_s(text))
    words, number, delay = match.groups()
    delay_s = _delay_s(delay) if delay else 0.0
    if number is None:
        return Moment("start" if words == "start" else "teardown", delay_s=delay_s)
    return Moment("setpoint", int(number), delay_s)


def _delay_s(text: Any) -> float:
    try:
        delay_s, _ = parse(text, DURATION)
    except PydanticCustomError as error:
        raise PydanticCustomError(
            "moment",
            "'{text}' is no moment; write 'start', a time such as '12 s' after playing began, "
            "'setpoint 2 + 5 s' or 'teardown'",
            {"text": str(text)},
        ) from error
    if delay_s < 0:
        raise PydanticCustomError("moment", "{text} lies in the past", {"text": str(text)})
    return delay_s


MomentValue = Annotated[
    Moment,
    BeforeValidator(_read_moment),
    WithJsonSchema(
        {
            "type": "string",
            "description": "'start', '12 s' after playing began, 'setpoint 2 + 5 s', 'teardown'",
        }
    ),
]
"""``start``, ``12 s``, ``setpoint 2``, ``setpoint 2 + 5 s``, ``teardown``."""

Share = Annotated[PositiveFraction, Field(gt=0, le=1)]


class _Fault(Model):
    on: Name
    """The twin it is on; ``bench`` or ``telemetry`` for the two kinds that are on no device."""
    at: MomentValue = Moment("start")


class _Lasting(_Fault):
    for_: Annotated[PositiveSeconds | None, Field(alias="for")] = None
    """Until it is taken away again; without it, until the run ends."""


class PlainFault(_Lasting):
    """A fault that has no measure: it is there or it is not."""

    fault: Literal[
        "link-drop",
        "link-half-open",
        "meter-silent",
        "meter-frozen",
        "meter-garbled",
        "meter-other-device",
        "source-silent",
        "port-unplugged",
        "pilot-stuck",
        "diode-fault",
        "pe-break",
        "bus-echo",
        "broker-down",
        "mains-outage",
        "setpoints-ignored",
        "no-stop",
    ]


class SlowFrames(_Lasting):
    """Each frame between charger and bench takes its time, one after the other."""

    fault: Literal["frames-slow"]
    delay: PositiveSeconds = 2.0


class GarbledFrames(_Lasting):
    """A share of the charger's frames leaves truncated or with wrong characters."""

    fault: Literal["frames-garbled"]
    share: Share = 0.3


class SerialNoise(_Lasting):
    """A share of the pilot emulator's lines arrives with noise in it."""

    fault: Literal["serial-noise"]
    share: Share = 0.3


class BadLine(_Lasting):
    """A share of a meter's answers on RS-485 has wrong bits in it, or noise before it."""

    fault: Literal["bus-damaged", "bus-noise"]
    share: Share = 0.1


class LateAnswers(_Lasting):
    """A share of a meter's answers on RS-485 comes so much later."""

    fault: Literal["bus-late"]
    share: Share = 0.1
    delay: PositiveSeconds = 0.7
    """Taken for another question's where it is more than twice ``answer_within``."""


class ChargerReboot(_Fault):
    """The charger restarts: its outputs are off until it has booted."""

    fault: Literal["charger-reboot"]
    takes: PositiveSeconds = 20.0


class SourceOutputOff(_Fault):
    """A source's output goes off by itself, as by a protection that trips."""

    fault: Literal["source-output-off"]


class ClockJump(_Lasting):
    """A calendar is set: the computer's, or the charger's."""

    fault: Literal["clock-jump"]
    by: SignedSeconds = 3600.0


class MainsDip(_Lasting):
    """The voltage falls to a share of what it was."""

    fault: Literal["mains-dip"]
    to: Annotated[PositiveFraction, Field(lt=1)] = 0.6


class OverDraw(_Lasting):
    """The car draws a multiple of what it would by its pilot."""

    fault: Literal["over-draw"]
    factor: Annotated[float, Field(gt=1, le=4)] = 1.25


class ExternalLimit(_Lasting):
    """Somebody beside the bench, such as a local energy management, limits the charger."""

    fault: Literal["external-limit"]
    limit: PositiveAmperes = 8.0
    """Per phase."""


ROLES: Mapping[str, tuple[str, ...]] = {
    "link-drop": ("evse",),
    "link-half-open": ("evse",),
    "frames-slow": ("evse",),
    "frames-garbled": ("evse",),
    "charger-reboot": ("evse",),
    "meter-silent": ("meter",),
    "meter-frozen": ("meter",),
    "meter-garbled": ("meter",),
    "meter-other-device": ("meter",),
    "bus-damaged": ("meter",),
    "bus-late": ("meter",),
    "bus-noise": ("meter",),
    "bus-echo": ("meter",),
    "source-silent": ("source",),
    "source-output-off": ("source",),
    "serial-noise": ("pilot",),
    "port-unplugged": ("meter", "pilot"),
    "pilot-stuck": ("pilot",),
    "diode-fault": ("pilot",),
    "pe-break": ("pilot",),
    "broker-down": (TELEMETRY,),
    "clock-jump": (BENCH, "evse"),
    "mains-outage": ("evse",),
    "mains-dip": ("evse",),
    "setpoints-ignored": ("evse",),
    "over-draw": ("evse",),
    "no-stop": ("evse",),
    "external-limit": ("evse",),
}
"""Every kind of fault, and what it can be on."""

_MODELS: Mapping[str, str] = {
    "frames-slow": "<slow>",
    "frames-garbled": "<garbled>",
    "serial-noise": "<noise>",
    "bus-damaged": "<line>",
    "bus-noise": "<line>",
    "bus-late": "<late>",
    "charger-reboot": "<reboot>",
    "source-output-off": "<trip>",
    "clock-jump": "<jump>",
    "mains-dip": "<dip>",
    "over-draw": "<over>",
    "external-limit": "<limit>",
}


def _tag(fault: Any) -> str:
    kind = fault.get("fault") if isinstance(fault, dict) else getattr(fault, "fault", None)
    return _MODELS.get(str(kind), "<plain>")


def _known(fault: Any) -> Any:
    kind = fault.get("fault") if isinstance(fault, dict) else None
    if isinstance(kind, str) and kind not in ROLES:
        raise PydanticCustomError(
            "fault",
            "there is no fault '{kind}'{guess}",
            {"kind": kind, "guess": nearest(kind, list(ROLES))},
        )
    return fault


Fault = Annotated[
    Annotated[PlainFault, Tag("<plain>")]
    | Annotated[SlowFrames, Tag("<slow>")]
    | Annotated[GarbledFrames, Tag("<garbled>")]
    | Annotated[SerialNoise, Tag("<noise>")]
    | Annotated[BadLine, Tag("<line>")]
    | Annotated[LateAnswers, Tag("<late>")]
    | Annotated[ChargerReboot, Tag("<reboot>")]
    | Annotated[SourceOutputOff, Tag("<trip>")]
    | Annotated[ClockJump, Tag("<jump>")]
    | Annotated[MainsDip, Tag("<dip>")]
    | Annotated[OverDraw, Tag("<over>")]
    | Annotated[ExternalLimit, Tag("<limit>")],
    Discriminator(_tag),
    BeforeValidator(_known),
]
"""One fault: its kind tells which measures it has besides ``on``, ``at`` and ``for``."""

FaultList = list[Fault]

_KEYS = {"delay": "delay_s", "takes": "takes_s", "by": "by_s", "limit": "limit_a"}


def parameters(fault: Fault) -> dict[str, Any]:
    """What a fault is made of besides its kind and device, with units in the names."""
    measures = fault.model_dump(exclude={"fault", "on", "at", "for_"})
    named = {_KEYS.get(key, key): value for key, value in measures.items()}
    for_s = getattr(fault, "for_", None)
    return {"at": str(fault.at), **({"for_s": for_s} if for_s is not None else {}), **named}


def in_words(fault: Fault) -> str:
    """One fault in words: ``meter-silent on reference at setpoint 2 + 5 s for 8 s``."""
    told = parameters(fault)
    at, for_s = told.pop("at"), told.pop("for_s", None)
    measures = "".join(f", {_measure_in_words(key, value)}" for key, value in told.items())
    lasts = "" if for_s is None else f" for {for_s:g} s"
    return f"{fault.fault} on {fault.on} at {at}{lasts}{measures}"


def _measure_in_words(key: str, value: float) -> str:
    if key.endswith("_s"):
        return f"{key.removesuffix('_s')} {value:g} s"
    if key.endswith("_a"):
        return f"{key.removesuffix('_a')} {value:g} A"
    return f"{key} {value:g}" if key == "factor" else f"{key} {100 * value:g} %"


# --- against the bench and the plan --------------------------------------------------------------


_OF_CARS = ("pilot-stuck", "diode-fault", "pe-break")
"""Kinds on a pilot emulator that only one that is the car itself can play."""

_OF_OCPP = {
    "frames-slow": "delays messages of OCPP",
    "frames-garbled": "spoils messages of OCPP",
    "clock-jump": "moves the calendar by which a charger reads its charging profiles",
    "external-limit": "limits a charger beside its charging profiles",
}
"""Kinds on a charger that only one on OCPP can play, and what they do."""

_CONTROLLED_OVER = {"modbus-evse": "Modbus", "openevse-rapi": "RAPI", "mqtt-evse": "MQTT"}

_OF_BUS = ("bus-damaged", "bus-late", "bus-noise", "bus-echo", "port-unplugged")
"""Kinds on a meter that only one on RS-485 can play."""


def fault_problems(
    faults: Sequence[Fault], source: Source, at: Location, bench: BenchConfig, setpoints: int
) -> list[str]:
    """What cannot be played on this bench, each at its place below ``at`` in the file.

    ``setpoints`` is how many the plan sends.
    """
    problems = []
    for index, fault in enumerate(faults):
        words = _place_problem(fault, bench)
        if words:
            problems.append(source.problem((*at, index, "on"), words))
        if fault.at.anchor == "setpoint" and not 1 <= fault.at.setpoint <= setpoints:
            words = f"the plan has no setpoint {fault.at.setpoint}, it sends {setpoints}"
            problems.append(source.problem((*at, index, "at"), words))
    return problems


def _place_problem(fault: Fault, bench: BenchConfig) -> str:
    """Why a fault cannot be on what it names; empty if it can."""
    roles = ROLES[fault.fault]
    devices: Mapping[str, Iterable[str]] = {
        "evse": bench.evses,
        "meter": bench.connected_meters(),
        "pilot": bench.pilots,
        "source": bench.scpi_sources(),
        BENCH: (BENCH,),
        TELEMETRY: (TELEMETRY,),
    }
    if bench.virtual is None:
        return "faults are played by twins, and this bench has none"
    possible = [name for role in roles for name in devices[role]]
    if fault.on not in possible:
        of = " or ".join(role if role in (BENCH, TELEMETRY) else f"a {role}" for role in roles)
        return f"{fault.fault} is a fault of {of}, here {', '.join(possible) or 'none'}"
    if fault.on == TELEMETRY and TELEMETRY in roles:
        return _broker_problem(bench)
    if fault.on == BENCH and BENCH in roles:
        return ""
    if fault.on not in bench.virtual_names():
        return f"'{fault.on}' is no twin of this process; only those can play a fault"
    if fault.fault in _OF_CARS and bench.pilots[fault.on].listens:
        return f"{fault.fault} is of an emulated car, and '{fault.on}' listens beside a real one"
    evse = bench.evses.get(fault.on)
    if fault.fault in _OF_OCPP and evse is not None and not isinstance(evse, EvseConfig):
        over = _CONTROLLED_OVER[evse.driver]
        return f"{fault.fault} {_OF_OCPP[fault.fault]}, and '{fault.on}' is controlled over {over}"
    meter = bench.meters.get(fault.on)
    on_bus = isinstance(meter, MeterConfig) and is_rtu(meter.link)
    if fault.fault in _OF_BUS and meter is not None and not on_bus:
        return f"{fault.fault} is a fault of meters on RS-485, and '{fault.on}' is on none"
    return ""


def _broker_problem(bench: BenchConfig) -> str:
    if bench.telemetry is None:
        return "the bench has no telemetry that a broker could fail"
    if bench.telemetry.broker.startswith("mqtts"):
        return "an encrypted broker cannot be failed on purpose; name one with mqtt://"
    return ""


# --- on the command line -------------------------------------------------------------------------


def options_text(options: Sequence[str]) -> str:
    """YAML of what the command line asks for: a list, one option a line.

    An option is ``KIND@DEVICE[,key=value...]``. Raises ConfigError for one that is not.
    """
    problems, lines = [], []
    for option in options:
        kind_and_device, *rest = (part.strip() for part in option.split(","))
        kind, separator, device = kind_and_device.partition("@")
        pairs = [part.partition("=") for part in rest]
        known = all(_KEY.fullmatch(key.strip()) and value for key, _, value in pairs)
        if not (kind and separator and device and known):
            problems.append(
                f"--fault '{option}': write KIND@DEVICE, then what is to be said of it, such as "
                "'meter-silent@reference,at=setpoint 2 + 5 s,for=8 s'"
            )
            continue
        entries = [("fault", kind), ("on", device)]
        entries += [(key.strip(), value.strip()) for key, _, value in pairs]
        lines.append("- {" + ", ".join(f"{key}: {_scalar(value)}" for key, value in entries) + "}")
    if problems:
        raise ConfigError(problems)
    return "".join(line + "\n" for line in lines)


def _scalar(text: str) -> str:
    """A YAML scalar: a plain number stays one, everything else is text."""
    if re.fullmatch(r"[-+]?\d+(\.\d+)?", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
