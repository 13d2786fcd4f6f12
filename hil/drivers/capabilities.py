"""What a charger takes of smart charging, as it was tried, and what its profile asks of it. Pure.

What a charger accepts is a claim: that it obeys is a matter of measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hil.config.profiles import EvseProfile


class Trial(NamedTuple):
    """What became of one choice."""

    taken: bool | None
    """``None`` where it was not tried."""
    word: str
    """The charger's word, or why it was not tried."""


@dataclass
class Capabilities:
    """Of each dimension: the choice -> what became of it, the others being as in ``base``."""

    version: str
    subprotocol: str
    """As the charger offered it; empty if it offered none."""
    configuration: dict[str, str] = field(default_factory=dict)
    unknown_keys: list[str] = field(default_factory=list)
    base: str = ""
    """The first combination that the charger took, in words; empty if it took none."""
    units: dict[str, Trial] = field(default_factory=dict)
    purposes: dict[str, Trial] = field(default_factory=dict)
    kinds: dict[str, Trial] = field(default_factory=dict)
    stack_levels: dict[int, Trial] = field(default_factory=dict)
    number_phases: dict[int, Trial] = field(default_factory=dict)
    connectors: dict[int, str] = field(default_factory=dict)
    """Connector -> what became of asking for its status."""
    measurands: list[str] = field(default_factory=list)
    """Quantities that it sent when asked for meter values."""
    composite: str = ""
    """What its composite schedule said of the base, in words."""
    left_behind: list[str] = field(default_factory=list)
    """Profiles of the trials that it would not clear."""

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        trials = ("units", "purposes", "kinds", "stack_levels", "number_phases")
        return {
            "version": self.version,
            "subprotocol": self.subprotocol,
            "configuration": self.configuration,
            "unknown_keys": self.unknown_keys,
            "base": self.base,
            **{name: _plain(getattr(self, name)) for name in trials},
            "connectors": {str(key): word for key, word in self.connectors.items()},
            "measurands": self.measurands,
            "composite": self.composite,
            "left_behind": self.left_behind,
        }

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        yield f"OCPP {self.version}, subprotocol {self.subprotocol or 'not offered'}"
        for key, value in self.configuration.items():
            yield f"{key}: {value}"
        yield f"tried from: {self.base or 'nothing that was tried is taken'}"
        yield f"units: {_in_words(self.units)}"
        yield f"purposes: {_in_words(self.purposes)}"
        yield f"kinds: {_in_words(self.kinds)}"
        yield f"stack levels: {_in_words(self.stack_levels)}"
        yield f"numberPhases: {_in_words(self.number_phases)}"
        yield "status by connector: " + ", ".join(f"{c} {w}" for c, w in self.connectors.items())
        yield f"meter values: {', '.join(self.measurands) or 'none came'}"
        yield f"composite schedule: {self.composite}"


def _plain(trials: Mapping[Any, Trial]) -> dict[str, dict[str, Any]]:
    return {str(choice): trial._asdict() for choice, trial in trials.items()}


def _in_words(trials: Mapping[Any, Trial]) -> str:
    return ", ".join(f"{choice} {trial.word}" for choice, trial in trials.items())


class Gap(NamedTuple):
    """Something that the EVSE profile uses and the charger refuses."""

    code: str
    text: str


def gaps(found: Capabilities, profile: EvseProfile) -> list[Gap]:
    """What of the EVSE profile the charger refuses, each with the line to change."""
    if not found.base:
        words = (
            f"the charger takes none of the charging profiles that were tried, neither that of "
            f"'{profile.evse_profile}'. See that smart charging is switched on in the charger, "
            "and that no other control has it"
        )
        return [Gap("capability_none", words)]
    asked: Sequence[tuple[str, Any, Mapping[Any, Trial]]] = (
        ("unit", profile.unit, found.units),
        ("purpose", profile.purpose, found.purposes),
        ("kind", profile.kind, found.kinds),
        ("stack_level", profile.stack_level, found.stack_levels),
        ("number_phases", profile.number_phases, found.number_phases),
    )
    return [
        Gap(f"capability_{line}", _words(line, choice, trials, profile))
        for line, choice, trials in asked
        if choice in trials and trials[choice].taken is False
    ]


def _words(line: str, choice: Any, trials: Mapping[Any, Trial], profile: EvseProfile) -> str:
    taken = [str(other) for other, trial in trials.items() if trial.taken]
    writable = [other for other in taken if other != "Recurring"]
    remedy = "leave the line out"
    if line != "number_phases" or writable:
        remedy = " or ".join(f"'{line}: {other}'" for other in writable)
        remedy = f"write {remedy}" if writable else "no other that was tried is taken"
    return (
        f"the EVSE profile '{profile.evse_profile}' says '{line}: {choice}', and the charger "
        f"refuses that ({trials[choice].word}); {remedy}"
    )
