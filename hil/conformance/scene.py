"""The EVSE that a case is played on, its instruments, and how limits are written for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hil.config.conformance import ConformanceCase
from hil.config.evses import EvseConfig
from hil.config.profiles import EvseProfile
from hil.conformance.flow import Tolerance
from hil.conformance.heard import Heard
from hil.conformance.oracle import ORACLES
from hil.conformance.wire import Wire
from hil.drivers.protocols import Evse, LimitElsewhere, OcppStation, Pilot
from hil.play.observed import Observed
from hil.record.journal import Journal


@dataclass
class Scene:
    """The devices of one EVSE, and what is known of them."""

    name: str
    evse: Evse
    station: OcppStation
    pilots: Sequence[Pilot]
    config: EvseConfig
    profile: EvseProfile
    journal: Journal
    observed: Observed
    wire: Wire
    heard: Heard
    tolerance: Tolerance
    elsewhere: LimitElsewhere | None = None
    """By which somebody else limits the station; ``None`` if nobody can."""

    def utc_s(self, t: float) -> float:
        """Seconds since 1970 of an instant of the run."""
        return self.journal.clock.utc(t).timestamp()

    def watts_per_ampere(self, case: ConformanceCase) -> float:
        """How one ampere of a case is written in watts."""
        phases = self.profile.number_phases or self.config.rating.phases
        return ORACLES[case.oracle].watts_per_ampere(phases)

    def per_ampere(self, case: ConformanceCase) -> float:
        """What one ampere of a case is in the station's unit."""
        return self.watts_per_ampere(case) if self.profile.unit == "W" else 1.0

    def amperes(self, limit: float) -> float:
        """A limit in the station's unit, per phase; watts at the rated voltage and phases."""
        if self.profile.unit == "A":
            return limit
        phases = self.profile.number_phases or self.config.rating.phases
        return limit / (self.config.rating.voltage * phases)
