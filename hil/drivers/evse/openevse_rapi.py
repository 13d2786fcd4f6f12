"""A charger with OpenEVSE's firmware, on its serial line by RAPI."""

from __future__ import annotations

import asyncio

from hil.clock import end_tasks
from hil.config.bench import SafeState
from hil.config.evse_rapi import RapiEvseProfile
from hil.config.evses import RapiEvseConfig
from hil.drivers.evse import rapi_answers
from hil.drivers.evse.direct import until_stopped
from hil.drivers.evse.leased_setpoints import LeasedSetpoints
from hil.drivers.evse.rapi_lines import Line
from hil.drivers.evse.rapi_setpoints import RapiSetpoints
from hil.drivers.evse.rapi_talk import Answer, RapiTalk
from hil.drivers.protocols import Acknowledgement, HeldLease, Identity
from hil.drivers.reachable import Reachable
from hil.errors import DeviceError, HilError, as_fault
from hil.links.first_times import FirstTimes
from hil.links.serial_line import parse_address
from hil.quantities import EventKind, Phase, Quality, Quantity, Reading, Setpoint
from hil.record.journal import Journal

_ASK_AGAIN_S = 0.2


class OpenEvse:
    """Commands a charger over RAPI, and watches its state and what it says unasked."""

    def __init__(
        self,
        name: str,
        config: RapiEvseConfig,
        profile: RapiEvseProfile,
        safe_state: SafeState,
        journal: Journal,
    ) -> None:
        self.name = name
        self.status = ""
        self._config, self._profile, self._journal = config, profile, journal
        self._safe_state = safe_state
        self._findings = FirstTimes(journal, name)
        self._talk = RapiTalk(
            name,
            parse_address(config.link, f"{name}: link"),
            config.answer_within,
            journal,
            self._findings,
            self._told,
            self._broken,
        )
        self._commands = RapiSetpoints(
            name, config, profile, safe_state, self._talk, self._findings
        )
        self._setpoints = LeasedSetpoints(name, self._commands, journal, self._findings)
        self._rapi = 0
        """Major version of RAPI."""
        self._counted: tuple[int, ...] | None = None
        self._counted_s = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._reachable = Reachable(name, "charger", journal, self._findings)
        self._fault: HilError | None = None
        """What went wrong on the bench's own side while the charger was watched."""

    # --- opening and closing -------------------------------------------------------------------

    async def open(self) -> Identity:
        """Connect, learn what it is, set its supervision, and command the safe setpoint.

        Raises DeviceError if it cannot be reached or does not take that.
        """
        try:
            await self._talk.open()
            details = await self._identify()
            await self._look_at_state()
            self._commands.released = not self._commands.asleep
            self._commands.distrust()
            await self._setpoints.prepare()
            await self._look_at_counters()
        except BaseException:
            self._talk.close()
            raise
        self._watching = asyncio.ensure_future(self._watch())
        return Identity(f"OpenEVSE, firmware {details['firmware']}", details)

    async def close(self) -> None:
        """Let go of the charger; its supervision ends what was commanded."""
        watching, self._watching = self._watching, None
        if watching is not None:
            await end_tasks([watching])
        self._talk.close()
        self._findings.sum_up()

    async def _identify(self) -> dict[str, str]:
        answer = await self._first_answer()
        if not answer.granted or len(answer.words) < 2:
            raise DeviceError(
                self.name,
                f"answered $GV with '{' '.join(answer.words)}', which is no firmware version",
                "Check 'link' and 'driver' in the bench file",
            )
        firmware, protocol = answer.words[:2]
        self._rapi = self._talk.sense(
            "GV", lambda words: rapi_answers.major_version(words[1]), answer
        )
        details = {"firmware": firmware, "rapi": protocol, "profile": self._profile.evse_profile}
        controller = await self._talk.ask("GI")
        if controller.granted and controller.words:
            details["controller"] = " ".join(controller.words)
        await self._compare_capacity()
        return details

    async def _first_answer(self) -> Answer:
        """What it says of its version; one that was just switched on tests itself first."""
        clock = self._journal.clock
        until_s = clock.now() + self._profile.boots_within
        while clock.now() < until_s:
            answer = await self._talk.ask_once("GV")
            if answer is not None:
                return answer
            await asyncio.sleep(_ASK_AGAIN_S)  # what is damaged comes at once, and without end
        stranger, where = self._talk.first_stranger, self._config.link
        if stranger is not None:
            raise DeviceError(
                self.name,
                f"what is at {where} gives no answer of RAPI; it says '{stranger}'",
                "Check the link in the bench file, and the baud rate",
            )
        raise DeviceError(
            self.name,
            f"the charger at {where} is silent; no answer to $GV within "
            f"{self._profile.boots_within:g} s",
            "Check its supply and cable, and that the lines are not swapped",
        )

    async def _compare_capacity(self) -> None:
        answer = await self._talk.ask("GC")
        if not answer.granted:
            return
        capacity = self._talk.sense("GC", rapi_answers.capacity, answer)
        rated_a = self._config.rating.current
        if capacity.most_a < rated_a:
            words = f"it offers {capacity.most_a} A at the most, and the bench file rates it for "
            words += f"{rated_a:g} A: setpoints between the two are clamped"
            self._findings.finding("capacity_below_rating", words)

    # --- what it says ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Ask for its state and what it measures, until cancelled; connect again if need be."""
        while True:
            await asyncio.sleep(self._profile.status_every)
            try:
                if not self._talk.connected:
                    await self._talk.open()
                await self._look()
                if self._reachable.back("the charger answers again"):
                    self._commands.distrust()
            except DeviceError as error:
                self._reachable.lost(f"it {error.what}. {error.remedy}")
            except Exception as error:  # or nobody would watch the charger any more
                self._fault = as_fault(error)

    async def _look(self) -> None:
        await self._look_at_state()
        await self._see_whether_it_stands()
        await self._read()
        if self._journal.clock.now() >= self._counted_s + self._profile.counters_every:
            await self._look_at_counters()
        in_force_a = self._setpoints.in_force_a
        needs_none = in_force_a is not None and in_force_a <= self._commands.safe_a
        if needs_none and not self._setpoints.busy and not await self._commands.pulse():
            words = "a heartbeat was missed while no more than the safe current was in force: "
            words += "nothing has changed, and its supervision is set anew with the next setpoint"
            self._findings.finding("heartbeat_missed", words)

    async def _look_at_state(self) -> None:
        given = self._commands.given
        answer = await self._granted("GS")
        state = self._talk.sense("GS", lambda words: rapi_answers.state(words, self._rapi), answer)
        self._take(state)
        if given == self._commands.given and not self._setpoints.busy:
            self._compare_sleep(state)

    def _compare_sleep(self, state: rapi_answers.State) -> None:
        """Whether it is as awake as it was told."""
        commands = self._commands
        if not state.evse:
            return  # it is about to see what is plugged into it
        if self._setpoints.in_force_a == 0.0 and state.awake:
            words = "a pause was taken, and the charger is awake: it started again, or something "
            words += "else commands it"
            self._findings.finding("setpoint_lost", words, "error", key="pause")
            commands.distrust()
        commands.asleep = not state.awake

    def _take(self, state: rapi_answers.State) -> None:
        """Tell a state that is another than before."""
        status = state.status
        if status is None:
            if state.evse:
                words = f"it tells state {state.evse}, which nobody knows; the status before "
                words += f"({self.status or 'none'}) is kept"
                self._findings.finding("unknown_state", words, key=state.evse)
            return
        error_code, what = rapi_answers.FAULTS.get(state.evse, ("", ""))
        if what:
            self._findings.finding("charger_faulted", what, "error", key=state.evse)
        if status != self.status:
            self.status = status
            self._journal.event(
                EventKind.EVSE_STATUS, self.name, status=status, connector=1, error_code=error_code
            )

    async def _see_whether_it_stands(self) -> None:
        """That the current in force no longer stands is a finding."""
        setpoints = self._setpoints
        current_a = setpoints.in_force_a
        if setpoints.busy or not current_a:
            return
        told_a = self._talk.sense("GE", rapi_answers.amperes, await self._granted("GE"))
        if told_a == current_a or setpoints.busy or current_a != setpoints.in_force_a:
            return  # it stands, or another one went out meanwhile
        words = f"{current_a:g} A were taken, and it now says that {told_a} A are in force: a "
        words += "heartbeat was missed, it started again, or something else commands it"
        self._findings.finding("setpoint_lost", words, "error", key=setpoints.newest)
        self._commands.distrust()

    async def _read(self) -> None:
        """What it measures itself: claims, of one phase."""
        answer = await self._talk.ask("GG")
        if not answer.granted:
            words = "its firmware measures nothing ($GG is refused)"
            self._findings.finding("measures_nothing", words, "note")
            return
        current_a, voltage_v = self._talk.sense("GG", rapi_answers.measured, answer)
        self._report(answer, Quantity.CURRENT, Phase.L1, current_a)
        self._report(answer, Quantity.VOLTAGE, Phase.L1, voltage_v)

    async def _look_at_counters(self) -> None:
        self._counted_s = self._journal.clock.now()
        energy = await self._talk.ask("GU")
        if energy.granted:
            energy_wh = self._talk.sense("GU", rapi_answers.session_energy_wh, energy)
            self._report(energy, Quantity.ENERGY_IMPORT, Phase.TOTAL, energy_wh)
        answer = await self._talk.ask("GF")
        if answer.granted:
            self._compare_counters(self._talk.sense("GF", rapi_answers.counters, answer))

    def _compare_counters(self, counted: tuple[int, ...]) -> None:
        before, self._counted = self._counted or counted, counted
        for what, was, now in zip(rapi_answers.COUNTERS, before, counted, strict=True):
            if now > was:
                words = f"it counts {now} {what}, {now - was} more than before"
                self._findings.each("fault_counted", words)

    def _report(
        self, answer: Answer, quantity: Quantity, phase: Phase, value: float | None
    ) -> None:
        if value is None:
            return
        t = (answer.t_request + answer.t_reply) / 2
        reading = Reading(
            t, answer.t_request, answer.t_reply, self.name, quantity, phase, value, Quality.CLAIMED
        )
        self._journal.readings([reading])

    async def _granted(self, word: str) -> Answer:
        answer = await self._talk.ask(word)
        if not answer.granted:
            raise DeviceError(
                self.name,
                f"refused ${word}",
                "Check that its firmware is an OpenEVSE's, and of a version that is known",
            )
        return answer

    def _told(self, line: Line) -> None:
        """What it says unasked: a change of state, a boot, a button."""
        if line.word == "AB":
            self._booted(line)
        elif line.word in ("AT", "ST"):
            try:
                self._take(rapi_answers.transition(line.word, line.parameters, self._rapi))
            except ValueError as error:
                words = f"${line.word} '{' '.join(line.parameters)}' makes no sense: {error}"
                self._findings.finding("rapi_unknown_line", words, key=line.word)
        else:
            words = f"somebody is at the charger's button (${line.word})"
            self._findings.finding("button_pressed", words)

    def _booted(self, line: Line) -> None:
        code = line.parameters[0] if line.parameters else ""
        words = "it started again, and what was commanded is gone"
        if code and code.strip("0"):
            words += f"; its self test ended with code {code}"
        self._findings.each("charger_rebooted", words)
        self._commands.asleep = False
        self._commands.distrust()

    def _broken(self, why: str) -> None:
        """The port went away by itself; the watch connects again, under whatever name it has."""
        words = f"it is gone: {why}. Check the cable; it is looked for until it is back"
        self._reachable.lost(words)

    # --- setpoints -----------------------------------------------------------------------------

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; what became of it is recorded and returned."""
        self._raise_fault()
        return await self._setpoints.apply(setpoint, setpoint_number, deadline_s)

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        return self._setpoints.lease

    async def renew(self) -> None:
        """Command the newest setpoint again, with a heartbeat; a failure is a finding."""
        self._raise_fault()
        await self._setpoints.renew()

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command the safe setpoint, to stay; in words what was done. Raises DeviceError."""
        return f"{await self._setpoints.make_safe(setpoint)} granted"

    async def start_charging(self) -> None:
        """Let it charge, at the safe setpoint until another comes.

        Where the safe setpoint is a pause, that is what it stays in. Raises DeviceError if it does
        not take that.
        """
        self._raise_fault()
        self._commands.released = True
        await self._setpoints.make_safe(self._safe_state.setpoint)

    async def stop_charging(self) -> None:
        """End charging. Raises DeviceError if it goes on."""
        self._raise_fault()
        await self.stop_now()
        await until_stopped(self.name, lambda: self.status, self._journal)

    async def stop_now(self) -> str:
        """Put it to sleep until charging is started; in words what was done."""
        self._commands.released = False
        return await self._commands.sleep()

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault or self._talk.fault, None
        self._talk.fault = None
        if fault is not None:
            raise fault
