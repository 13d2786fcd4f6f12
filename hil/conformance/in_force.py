"""The profiles that a station has accepted, and the limit that was in force and is. Pure."""

from __future__ import annotations

import math

from hil.config.conformance import OracleName
from hil.config.conformance_steps import CaseProfile, ClearFilter
from hil.conformance.calls import Terms
from hil.conformance.flow import SETTLE_S
from hil.conformance.oracle import TX, Course, Installed, composite, limit_at

_DAY_S = 86_400.0


class InForce:
    """What is installed, and since when which course has held.

    ``zero_s`` is the run's beginning in seconds since 1970; instants ``t`` are those of the run.
    """

    def __init__(self, oracle: OracleName, zero_s: float) -> None:
        self._oracle, self._zero_s = oracle, zero_s
        self.installed: list[Installed] = []
        self._elsewhere: float | None = None
        self._history: list[tuple[float, Course]] = []

    def holds(self, installed: list[Installed], t: float) -> None:
        """These and no others are installed from now on."""
        self.installed = installed
        self._history.append((t, self.course()))

    def limited_elsewhere(self, limit: float | None, t: float) -> None:
        """Somebody else allows so much from now on, in the unit of the case; ``None`` for all."""
        self._elsewhere = limit
        self.holds(self.installed, t)

    def install(self, profile: CaseProfile, terms: Terms, t: float) -> None:
        """A profile was accepted; it replaces one of the same id."""
        new = installed_of(profile, terms)
        kept = [other for other in self.installed if other.profile_id != new.profile_id]
        self.holds([*kept, new], t)

    def clear(self, wanted: ClearFilter, named: int | None, t: float) -> None:
        """Those that match are gone; ``named`` is the id where one was given."""
        kept = [p for p in self.installed if not _matches(p, wanted, named)]
        self.holds(kept, t)

    def end_transaction(self, t: float) -> None:
        """A TxProfile lives no longer than its transaction."""
        self.holds([profile for profile in self.installed if profile.purpose != TX], t)

    def course(self, oracle: OracleName | None = None) -> Course:
        """The limit at every instant, by the oracle of the case or by another one."""
        return composite(self.installed, oracle or self._oracle, self._elsewhere)

    def lately(self, at_s: float) -> tuple[float, float] | None:
        """The lowest and the highest limit that may still be settling, in the unit of the case.

        ``None`` if the station's own may be among them.
        """
        ends_s = [t for t, _ in self._history[1:]] + [math.inf]
        limits = [
            limit_at(course, self._zero_s + max(t, at_s - SETTLE_S))
            for (t, course), end_s in zip(self._history, ends_s, strict=True)
            if end_s > at_s - SETTLE_S
        ]
        known = [limit for limit in limits if limit is not None]
        return (min(known), max(known)) if known and len(known) == len(limits) else None


def _matches(profile: Installed, wanted: ClearFilter, named: int | None) -> bool:
    if named is not None:
        return profile.profile_id == named
    return (
        wanted.purpose in (None, profile.purpose)
        and wanted.stack_level in (None, profile.stack_level)
        and wanted.evse in (None, profile.place)
    )


def installed_of(profile: CaseProfile, terms: Terms) -> Installed:
    """A profile as the oracle has it."""
    now_s = terms.now.timestamp()
    return Installed(
        profile.id,
        profile.purpose,
        profile.stack_level,
        terms.begins(profile).timestamp(),
        profile.duration,
        tuple((period.at, terms.limit(period.value)) for period in profile.periods),
        profile.place,
        -math.inf if profile.valid_from is None else now_s + profile.valid_from,
        math.inf if profile.valid_to is None else now_s + profile.valid_to,
        _DAY_S if profile.kind == "Daily" else None,
    )
