"""What commands a charger on RAPI: ``$SC`` a current, ``$FS`` or ``$FD`` a pause, ``$FE`` its end.

Its heartbeat supervision (``$SY``) is the lease. As its firmware has it, a missed heartbeat lowers
the current to what was set and never raises it, and wakes no charger that sleeps: so a pause stays
a pause, and what it falls back to need not follow the setpoint. To acknowledge a missed one
(``$SY 165``) would put the largest current in force; to set the supervision anew forgets it and
leaves the current alone, so that is what is done here.
"""

from __future__ import annotations

import math

from hil.config.bench import SafeState
from hil.config.evse_rapi import RapiEvseProfile
from hil.config.evses import RapiEvseConfig
from hil.drivers.evse import rapi_answers
from hil.drivers.evse.direct import ClampedError, in_steps, say_no_lease
from hil.drivers.evse.leased_setpoints import OnSent
from hil.drivers.evse.rapi_talk import RapiTalk
from hil.errors import RefusedError
from hil.links.first_times import FirstTimes
from hil.quantities import Setpoint

_STEP_A = 1.0

_VOLATILE = "V"
"""Without it each setpoint would be written into the charger's EEPROM."""

_MISSED = 2
_SLEEP = {"sleep": "FS", "disable": "FD"}
_WAKE = "FE"
_LIMITS = "See its configured maximum, its temperature, and what else commands it."


class RapiSetpoints:
    """What commands one charger, for :class:`hil.drivers.evse.leased_setpoints.LeasedSetpoints`."""

    def __init__(
        self,
        device: str,
        config: RapiEvseConfig,
        profile: RapiEvseProfile,
        safe_state: SafeState,
        talk: RapiTalk,
        findings: FirstTimes,
    ) -> None:
        self.asleep = False
        """Whether it was told to let no car charge, or said that it does not."""
        self.released = True
        """Whether charging was started and not stopped since; a pause is neither."""
        self._device, self._config, self._profile = device, config, profile
        self._talk, self._findings = talk, findings
        self._lease_wanted_s = safe_state.lease
        self.safe_a = self.current_for(safe_state.setpoint)
        self.lease_s: float | None = None
        self.given = 0
        """How many commands it was given so far: what it says may be older than the newest."""
        self._armed = False

    def distrust(self) -> None:
        """The charger may have started again, or missed a heartbeat: set its supervision anew."""
        self._armed = False

    def current_for(self, setpoint: Setpoint) -> float:
        """Whole amperes per phase, never rounded up; 0 is a pause."""
        exact_a = self._config.rating.amperes(setpoint)
        return in_steps(setpoint, exact_a, _STEP_A, self._profile.minimum, self._findings)

    # --- supervision ---------------------------------------------------------------------------

    async def arm(self) -> None:
        """Set the supervision, unless it is set. Raises DeviceError if there is no answer."""
        if self._armed:
            return
        self.lease_s = await self._supervised_for_s()
        self._armed = True

    async def _supervised_for_s(self) -> float | None:
        heartbeat = self._profile.heartbeat
        if heartbeat is None:
            words = f"the EVSE profile '{self._profile.evse_profile}' has no heartbeat"
            say_no_lease(words, self._findings)
            return None
        wanted_s = max(math.ceil(self._lease_wanted_s), math.ceil(heartbeat.shortest))
        interval_s = min(wanted_s, math.floor(heartbeat.longest))
        fallback_a = max(math.floor(self.safe_a), math.ceil(heartbeat.least_current))
        before = await self._talk.ask("GY")
        answer = await self._talk.ask("SY", str(interval_s), str(fallback_a))
        if not answer.granted:
            say_no_lease("its firmware refuses heartbeat supervision ($SY)", self._findings)
            return None
        now = self._talk.sense("SY", rapi_answers.heartbeat, answer)
        if (now.interval_s, now.fallback_a) != (interval_s, fallback_a):
            words = f"told to fall back to {fallback_a} A after {interval_s} s without a heartbeat,"
            words += f" it says {now.fallback_a} A after {now.interval_s} s"
            say_no_lease(words, self._findings)
            return None
        if interval_s != self._lease_wanted_s:
            words = f"its heartbeat takes {interval_s} s, so a setpoint outlives the bench by that "
            words += f"and not by the {self._lease_wanted_s:g} s of the bench file"
            self._findings.finding("lease_otherwise", words, "note")
        if fallback_a > self.safe_a:
            words = f"without heartbeats it falls back to {fallback_a} A and no lower, while the "
            words += f"safe setpoint is {self.safe_a:g} A: a bench that dies leaves that behind"
            self._findings.finding("fallback_above_safe", words)
        if before.granted:
            self._say_kept(self._talk.sense("GY", rapi_answers.heartbeat, before), now)
        return float(interval_s)

    def _say_kept(self, before: rapi_answers.Heartbeat, now: rapi_answers.Heartbeat) -> None:
        if before[:2] == now[:2]:
            return
        so_far = (
            f"{before.fallback_a} A after {before.interval_s} s" if before.interval_s else "off"
        )
        words = f"its heartbeat supervision was {so_far} and is {now.fallback_a} A after "
        words += f"{now.interval_s} s now; it keeps that in its EEPROM when the bench has gone: "
        words += f"$SY {before.interval_s} {before.fallback_a} sets it back"
        self._findings.finding("supervision_changed", words, "note")

    async def pulse(self) -> bool:
        """Send a heartbeat; whether none was missed before. Raises DeviceError if unanswered."""
        if self.lease_s is None or not self._armed:
            return True
        answer = await self._talk.ask("SY")
        beats = self._talk.sense("SY", rapi_answers.heartbeat, answer)
        missed = not answer.granted or beats.missed == _MISSED
        if missed:
            self.distrust()
        return not missed

    async def secure(self, current_a: float) -> None:
        """Send a heartbeat: from here on the lease counts. Raises DeviceError if unanswered."""
        if not await self.pulse():
            words = f"a heartbeat had been missed when {current_a:g} A were commanded: the charger "
            words += "had fallen back before"
            self._findings.finding("lease_lapsed", words, "error")
            await self.arm()

    # --- currents ------------------------------------------------------------------------------

    async def drive(self, current_a: float, on_sent: OnSent | None) -> None:
        """Command a current, and wake the charger if only a pause kept it asleep.

        Raises DeviceError if it does not take that.
        """
        if current_a == 0.0:
            await self.sleep(on_sent)
            return
        self.given += 1
        answer = await self._talk.ask("SC", f"{current_a:.0f}", _VOLATILE, on_sent=on_sent)
        if not answer.granted and not answer.words:
            raise RefusedError(self._device, f"refused {current_a:g} A", _LIMITS)
        in_force_a = float(self._talk.sense("SC", rapi_answers.amperes, answer))
        if in_force_a != current_a or not answer.granted:
            what = f"was told {current_a:g} A and says that {in_force_a:g} A are in force"
            raise ClampedError(self._device, what, _LIMITS, in_force_a)
        if self.asleep and self.released:
            await self._switch(_WAKE, None)
            self.asleep = False

    async def refresh(self, current_a: float, on_sent: OnSent | None) -> None:
        """Command the current again, and send a heartbeat. Raises DeviceError likewise."""
        await self.drive(current_a, on_sent)
        await self.secure(current_a)

    async def sleep(self, on_sent: OnSent | None = None) -> str:
        """Let no car charge; in words what was done. Raises DeviceError if it is not taken."""
        self.given += 1
        self.asleep = True  # also if the answer is lost
        word = _SLEEP[self._profile.pause]
        await self._switch(word, on_sent)
        return f"${word} granted"

    async def _switch(self, word: str, on_sent: OnSent | None) -> None:
        answer = await self._talk.ask(word, on_sent=on_sent)
        if not answer.granted:
            raise RefusedError(self._device, f"refused ${word}", "See what its display says.")
