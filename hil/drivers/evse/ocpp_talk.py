"""Calls and answers over one connection, the same for every version of OCPP.

One call at a time, each with its time limit; two without an answer end the connection, and so does
a charger that says nothing for three heartbeats.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from hil.drivers.evse.ocpp_charger import Answer, Charger
from hil.errors import HilError
from hil.links.ocpp_frames import CALL, CALLERROR, Message, printable
from hil.links.ocpp_server import LinkLostError, OcppConnection

HEARTBEAT_INTERVAL_S = 60
_SILENT_HEARTBEATS = 3
"""A charger that says nothing for so many heartbeats is gone; a shorter deadline than its heartbeat
threw out idle ones, as a server with 60 s did 17 times in a field report."""

_UNANSWERED_AT_MOST = 2


class Talk:
    """The bench's end of one connection; ``take_call`` attends to each call of the charger."""

    def __init__(
        self,
        connection: OcppConnection,
        charger: Charger,
        answer_within_s: float,
        take_call: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._connection, self._charger = connection, charger
        self._answer_within_s, self._take_call = answer_within_s, take_call
        self._one_at_a_time = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._unanswered = 0
        connection.silent_at_most_s = _SILENT_HEARTBEATS * HEARTBEAT_INTERVAL_S

    async def run(self) -> NoReturn:
        """Attend to the charger until the connection ends. Raises LinkLostError.

        What goes wrong on the bench's own side, such as a full disk, is left in ``charger.fault``
        and does not end the connection: the safe setpoint will need it.
        """
        try:
            while True:
                try:
                    await self._attend(await self._connection.receive())
                except HilError as fault:
                    self._charger.fault = fault
                self._charger.fault = self._charger.fault or self._connection.fault
                self._connection.fault = None
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(Answer(None, "connection lost before the answer"))

    async def _attend(self, message: Message) -> None:
        if message.kind == CALL:
            await self._take_call(message)
        else:
            self._settle(message)

    async def reply(self, text: str) -> None:
        """Send an answer; one that refuses the charger's call is noted."""
        if text.startswith(f"[{CALLERROR},"):
            words = f"the charger's call was answered with an error: {printable(text)}"
            self._charger.findings.finding("ocpp_call_refused", words, key=text.split(",", 2)[2])
        await self._connection.send(text)

    def _settle(self, message: Message) -> None:
        """Hand an answer to the call that waits for it."""
        waiting = self._waiting.get(message.unique_id)
        if waiting is None or waiting.done():
            words = f"an answer nobody waits for any more: id {printable(message.unique_id)}"
            self._charger.findings.finding("ocpp_late_answer", words)
        elif message.kind == CALLERROR:
            waiting.set_result(Answer(None, f"CALLERROR {message.error}", True))
        else:
            waiting.set_result(Answer(message.payload))

    async def ask(
        self,
        action: str,
        payload: dict[str, Any],
        within_s: float | None = None,
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        """Send a call (keys in camel case) and wait for what becomes of it.

        One call at a time, as OCPP wants it. ``on_sent`` is told the instant of the run at which
        the frame was written. Never raises for what the charger does or fails to do.
        """
        limit_s = self._answer_within_s if within_s is None else within_s
        async with self._one_at_a_time:
            self._charger.calls += 1
            unique_id = f"hil-{self._charger.calls}"
            waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting[unique_id] = waiting
            try:
                text = json.dumps([CALL, unique_id, action, payload], separators=(",", ":"))
                async with asyncio.timeout(limit_s):  # wait_for would lose a cancellation
                    t = await self._connection.send_call(unique_id, action, text)
                    if on_sent is not None:
                        on_sent(t)
                    answer = await waiting
                self._unanswered = 0
                return answer
            except LinkLostError as lost:
                return Answer(None, f"connection lost before the call was sent: {lost}")
            except TimeoutError:
                await self._count_unanswered(action)
                return Answer(None, f"no answer within {limit_s:g} s")
            finally:
                del self._waiting[unique_id]

    async def _count_unanswered(self, action: str) -> None:
        """Two calls without an answer: the link is dead, whatever the socket says."""
        self._unanswered += 1
        if self._unanswered >= _UNANSWERED_AT_MOST:
            self._charger.findings.each(
                "ocpp_silent",
                f"{self._unanswered} calls in a row without an answer, the last one {action}; "
                "the connection was closed so that the charger opens a new one",
            )
            await self._connection.close("no answer to calls")
