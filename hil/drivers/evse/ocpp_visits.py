"""A charger's visits to the bench: it connects, boots, is set up, may go away and come back.

The same for every version of OCPP; what is said during a visit is the session's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol

from hil.config.evses import EvseConfig
from hil.config.secrets import secret_from
from hil.drivers.evse.ocpp_charger import Answer, Charger
from hil.errors import HilError
from hil.links.ocpp_frames import Version, printable
from hil.links.ocpp_server import LinkLostError, Listener, OcppConnection, listen
from hil.quantities import EventKind

_BOOT_PATIENCE_S = 5.0
"""A charger that has not sent a BootNotification by then is asked for one."""

_SETTLE_S = 1.0
"""Pause after the boot before the first call: some chargers start all over if one comes at once."""

INSECURE = (
    "the bench file says 'insecure: true': the charger shows neither password nor certificate, and "
    "whoever reaches the bench over the network can pose as it. Name its password with "
    "'password_env' or 'password_file'"
)


class Session(Protocol):
    """The bench's end of one connection."""

    async def run(self) -> NoReturn:
        """Attend to the charger until the connection ends. Raises LinkLostError."""
        ...

    async def ask(
        self, request: Any, within_s: float | None, on_sent: Callable[[float], None] | None
    ) -> Answer:
        """Send a call and wait for what becomes of it; never raises for what the charger does."""
        ...


class Visits:
    """The connections of one charger, one after the other.

    ``meet`` makes the session of a new connection, in one of ``versions`` (the preferred first); it
    raises LinkLostError if there shall be none.
    """

    def __init__(
        self,
        config: EvseConfig,
        charger: Charger,
        versions: Sequence[Version],
        meet: Callable[[OcppConnection], Session],
    ) -> None:
        self.charger = self._charger = charger
        self._config, self._versions, self._meet = config, versions, meet
        self._journal, self._device = charger.journal, charger.device
        self._listener: Listener | None = None
        self.session: Session | None = None
        self.subprotocol = ""
        """That of the newest connection, as it was agreed on; empty if the charger offered none."""
        self.version = ""
        """The version of OCPP that it speaks; empty before the first."""
        self._sessions = 0
        self._closing = False

    @property
    def connected(self) -> bool:
        """Whether the charger has a connection to the bench."""
        return self.session is not None

    async def listen(self) -> str:
        """Wait for the charger at the address of the bench file; the address to enter in it.

        Raises DeviceError if the address cannot be had, ConfigError if the password or a
        certificate cannot.
        """
        if self._listener is None:
            if self._config.insecure:
                self._finding("evse_insecure", INSECURE)
            self._listener = await listen(
                self._config.listen,
                self._config.charge_point,
                self._device,
                self._journal,
                self._charger.findings,
                self._attend,
                secret_from(self._config.password_env, self._config.password_file, self._device),
                self._versions,
                self._config.tls,
            )
        return self._listener.url

    def pin(self, version: Version) -> None:
        """Speak this version alone from now on, whatever else the charger offers later."""
        self._versions = (version,)
        if self._listener is not None:
            self._listener.versions = self._versions

    def terms(self) -> dict[str, str]:
        """How the charger was let in: version and security profile of OCPP, and the encryption."""
        known = {
            "ocpp_version": self.version,
            "security_profile": str(self._config.security_profile),
        }
        if self._listener is not None and self._listener.encryption:
            known["encryption"] = self._listener.encryption
        return known

    async def receive(
        self, ask_to_boot: Callable[[], Awaitable[str]], steps: Sequence[Callable[[], Any]]
    ) -> None:
        """Wait for the charger, let it boot, and set it up in ``steps``.

        ``ask_to_boot`` asks for a BootNotification; its result is the charger's word. Raises
        DeviceError if the charger never comes.
        """
        await self.arrival()
        await self._await_boot(ask_to_boot)
        await self._set_up(steps)
        if not self.connected:  # some chargers reboot over a changed configuration, once
            boots = self._charger.boots
            await self.arrival()
            await self._has_booted(boots)
            await self._set_up(steps)

    async def end(self) -> None:
        """Let go of the charger; never raises."""
        self._closing = True
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        self._charger.findings.sum_up()

    async def arrival(self) -> None:
        """Wait for a connection of the charger. Raises DeviceError if it never comes."""
        self._closing = False
        await self.listen()
        within_s = self._config.connect_within
        if not await self._charger.until(lambda: self.connected, within_s):
            assert self._listener is not None
            missed = self._listener.missed(within_s)
            await self.end()
            raise missed

    async def _await_boot(self, ask_to_boot: Callable[[], Awaitable[str]]) -> None:
        """A charger that only re-connects may not boot by itself: ask, then go on without."""
        if await self._has_booted(0):
            return
        status = await ask_to_boot()
        if not await self._has_booted(0):
            words = f"the charger sent no BootNotification, asked for one it says: {status}"
            self._finding("ocpp_no_boot", words)

    async def _has_booted(self, boots: int) -> bool:
        """Whether it boots in good time, beyond the ``boots`` so far; then let it settle."""
        charger = self._charger
        booted = await charger.until(lambda: charger.boots > boots, _BOOT_PATIENCE_S)
        if booted:
            await asyncio.sleep(_SETTLE_S)
        return booted

    async def _set_up(self, steps: Sequence[Callable[[], Any]]) -> None:
        for step in steps:
            if self.connected:
                await step()

    async def _attend(self, connection: OcppConnection) -> None:
        """Attend to one connection of the charger until it ends."""
        try:
            session = self._meet(connection)
        except LinkLostError:
            return
        self.subprotocol = connection.subprotocol
        self.version = connection.version.removeprefix("ocpp")
        self.session = session
        self._sessions += 1
        self._charger.changed()
        try:
            if self._sessions > 1:
                self._tell("back", "charger_back", f"the charger is back (from {connection.peer})")
            why = await self._run(session)
            if self.session is session and not self._closing:
                self._tell("lost", "charger_lost", f"the charger's connection ended: {why}")
        except HilError as fault:
            self._charger.fault = fault
        if self.session is session:
            self.session = None
            self._charger.changed()

    async def _run(self, session: Session) -> str:
        """Attend to a session; why it ended."""
        try:
            await session.run()  # for as long as the connection lasts
        except LinkLostError as lost:
            return str(lost)
        except Exception as error:
            return f"the bench could not go on: {printable(repr(error))}"

    def _tell(self, state: str, code: str, words: str) -> None:
        self._journal.event(EventKind.DEVICE, self._device, state=state)
        self._finding(code, words)

    def _finding(self, code: str, words: str) -> None:
        self._charger.findings.each(code, words)

    # --- calls ---------------------------------------------------------------------------------

    async def ask(
        self,
        request: Any,
        within_s: float | None = None,
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        """Send a call; first say, once, what has gone wrong on the bench's own side meanwhile."""
        fault, self._charger.fault = self._charger.fault, None
        if fault is not None:
            raise fault
        return await self.ask_now(request, within_s, on_sent)

    async def ask_now(
        self,
        request: Any,
        within_s: float | None = None,
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        """Send a call, whatever has gone wrong on the bench's own side."""
        if self.session is None:
            return Answer(None, "the charger is not connected")
        return await self.session.ask(request, within_s, on_sent)
