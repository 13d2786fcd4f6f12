"""Transactions by remote, the same for every version of OCPP but for the names of the messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from hil.config.evses import EvseConfig
from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp_charger import Answer, Charger, TransactionId
from hil.drivers.evse.setpoints import SAFE_ANSWER_S
from hil.errors import DeviceError

_WITHIN_S = 60.0
"""From an accepted remote start or stop to the transaction's start or stop."""

_START_AGAIN_S = 3.0
"""Pause before a refused remote start is repeated: some chargers refuse until they see the car."""

CHARGING_STATUS = ("Charging", "SuspendedEV", "SuspendedEVSE")

Ask = Callable[[Any, float | None], Awaitable[Answer]]


class Messages(NamedTuple):
    """How a version of OCPP starts and stops a transaction by remote."""

    start_name: str
    start: Callable[[], Any]
    stop_name: str
    stop: Callable[[TransactionId], Any]
    running: Callable[[], bool]
    """Whether there is a transaction that may charge."""


class Transactions:
    """Starts and ends transactions of one charger.

    ``ask`` sends a call after whatever went wrong on the bench's side was raised, ``ask_now`` at
    once.
    """

    def __init__(
        self,
        config: EvseConfig,
        profile: EvseProfile,
        charger: Charger,
        messages: Messages,
        connected: Callable[[], bool],
        ask: Ask,
        ask_now: Ask,
    ) -> None:
        self._connected = connected
        self._config, self._profile, self._charger = config, profile, charger
        self._messages, self._ask, self._ask_now = messages, ask, ask_now

    async def start(self) -> None:
        """Start a transaction by remote, or wait for it where plugging in starts it.

        Raises DeviceError if none has begun within a minute.
        """
        charger, clock, messages = self._charger, self._charger.journal.clock, self._messages
        until_s = clock.now() + _WITHIN_S
        status = "charging starts by plugging in"
        while self._profile.start == "remote" and not messages.running():
            status = (await self._ask(messages.start(), None)).status
            if status == "Accepted" or clock.now() + _START_AGAIN_S > until_s:
                break
            words = f"{messages.start_name}: {status}; it is repeated"
            charger.findings.finding("remote_start_refused", words, key=status)
            await charger.until(messages.running, _START_AGAIN_S)
        if not await charger.until(self._has_started, max(until_s - clock.now(), 0.0)):
            raise DeviceError(
                charger.device,
                f"no transaction began within {_WITHIN_S:g} s ({messages.start_name}: "
                f"{status}; connector status: {charger.status or 'unknown'})",
                "See that the car is plugged in, and that the charger takes remote starts or the "
                "EVSE profile says 'start: plug'",
            )

    def _has_started(self) -> bool:
        if self._messages.running():
            return True
        return self._profile.start == "plug" and self._charger.status in CHARGING_STATUS

    async def stop(self) -> None:
        """End the transaction, if there is one. Raises DeviceError if it does not end."""
        charger, messages = self._charger, self._messages
        transaction_id = charger.transaction_id
        if transaction_id is None or not messages.running():
            return

        def is_over() -> bool:
            return charger.transaction_id != transaction_id or not messages.running()

        answer = await self._ask(messages.stop(transaction_id), None)
        # A refusal need not mean that it runs on: it may just have ended by itself.
        within_s = _WITHIN_S if answer.accepted else 0.0
        if await charger.until(is_over, within_s):
            return
        raise DeviceError(
            charger.device,
            f"transaction {transaction_id} did not end ({messages.stop_name}: {answer.status})",
            "Unplug the car or switch the charger off",
        )

    async def stop_now(self) -> str:
        """End the transaction without waiting for its end; in words. Raises DeviceError."""
        transaction_id, name = self._charger.transaction_id, self._messages.stop_name
        if transaction_id is None or not self._messages.running():
            if self._connected():
                return "no transaction is running"
            raise DeviceError(
                self._charger.device,
                "is not connected, so nobody knows whether it charges",
                "Unplug the car or switch the charger off",
            )
        within_s = min(self._config.answer_within, SAFE_ANSWER_S)
        stop = await self._ask_now(self._messages.stop(transaction_id), within_s)
        if stop.accepted:
            return f"{name} of {transaction_id}: {stop.status}"
        raise DeviceError(
            self._charger.device,
            f"transaction {transaction_id} was not stopped ({name}: {stop.status})",
            "Unplug the car or switch the charger off",
        )
