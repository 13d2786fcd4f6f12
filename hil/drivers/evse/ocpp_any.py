"""A charger over whatever version of OCPP it offers: the first connection decides, for the run."""

from __future__ import annotations

from hil.config.bench import SafeState
from hil.config.evses import EvseConfig
from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp2 import Ocpp2
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.evse.ocpp_charger import Charger, TransactionId
from hil.drivers.evse.ocpp_visits import Session, Visits
from hil.drivers.protocols import Acknowledgement, HeldLease, Identity
from hil.errors import DeviceError
from hil.links.first_times import FirstTimes
from hil.links.ocpp_frames import Version
from hil.links.ocpp_server import LinkLostError, OcppConnection
from hil.quantities import Setpoint
from hil.record.journal import Journal

VERSIONS: tuple[Version, ...] = ("ocpp2.1", "ocpp2.0.1", "ocpp1.6")
"""The newest that the charger offers is spoken; one that offers none is taken as OCPP 1.6."""


class Ocpp:
    """A charger whose version is not known before it comes; then the driver of that version."""

    def __init__(
        self,
        name: str,
        config: EvseConfig,
        profile: EvseProfile,
        safe_state: SafeState,
        journal: Journal,
    ) -> None:
        self.name = name
        self._config, self._profile, self._safe_state = config, profile, safe_state
        self._journal = journal
        charger = Charger(name, config.connector, journal, FirstTimes(journal, name))
        self._visits = Visits(config, charger, VERSIONS, self._meet)
        self._chosen: tuple[Version, Ocpp16 | Ocpp2] | None = None

    def _meet(self, connection: OcppConnection) -> Session:
        if self._chosen is None:
            self._chosen = connection.version, self._driver(connection.version)
            self._visits.pin(connection.version)
        version, chosen = self._chosen
        if connection.version != version:  # agreed on before the other one was pinned
            words = f"the charger speaks {version}, and opened a connection of {connection.version}"
            self._journal.finding(self.name, "ocpp_other_version", f"{words}; that one was closed")
            raise LinkLostError(words)
        return chosen.meet(connection)

    def _driver(self, version: Version) -> Ocpp16 | Ocpp2:
        driver = Ocpp16 if version == "ocpp1.6" else Ocpp2
        return driver(
            self.name, self._config, self._profile, self._safe_state, self._journal, self._visits
        )

    async def listen(self) -> str:
        """Wait for the charger at the address of the bench file; the address to enter in it.

        Raises DeviceError if the address cannot be had, ConfigError if the password or a
        certificate cannot. :meth:`open` does this if it is not done.
        """
        return await self._visits.listen()

    async def open(self) -> Identity:
        """Wait for the charger, agree on a version, prepare it. Raises DeviceError if it fails."""
        await self._visits.arrival()
        return await self.chosen.open()

    @property
    def chosen(self) -> Ocpp16 | Ocpp2:
        """The driver of the version that was agreed on. Raises DeviceError before that."""
        if self._chosen is None:
            raise DeviceError(
                self.name,
                "the charger has not connected, so nobody knows which version it speaks",
                "Unplug the car or switch the charger off",
            )
        return self._chosen[1]

    async def close(self) -> None:
        """Let go of the charger; never raises."""
        await self._visits.end()

    # --- the charger, as its own driver has it -------------------------------------------------

    @property
    def status(self) -> str:
        """The connector's status in the words of OCPP 1.6; empty before the first."""
        return self._visits.charger.status

    @property
    def transaction_id(self) -> TransactionId | None:
        """The running transaction."""
        return self._visits.charger.transaction_id

    @property
    def connected(self) -> bool:
        """Whether the charger has a connection to the bench."""
        return self._visits.connected

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        return None if self._chosen is None else self._chosen[1].lease

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; see :meth:`hil.drivers.protocols.Evse.apply`."""
        return await self.chosen.apply(setpoint, setpoint_number, deadline_s)

    async def renew(self) -> None:
        """Send the newest setpoint again, so that its lease begins anew; a failure is a finding."""
        if self._chosen is not None:
            await self._chosen[1].renew()

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command the safe setpoint, to stay; in words what was done. Raises DeviceError."""
        return await self.chosen.make_safe(setpoint)

    async def start_charging(self) -> None:
        """Start a transaction; see :meth:`hil.drivers.protocols.Evse.start_charging`."""
        await self.chosen.start_charging()

    async def stop_charging(self) -> None:
        """End the transaction, if there is one. Raises DeviceError if it does not end."""
        await self.chosen.stop_charging()

    async def stop_now(self) -> str:
        """End the transaction without waiting for its end; in words. Raises DeviceError."""
        return await self.chosen.stop_now()
