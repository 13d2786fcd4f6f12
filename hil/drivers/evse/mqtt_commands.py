"""Commands to a charger on MQTT: each is published, and taken once the charger says so.

MQTT itself acknowledges no more than that the broker has the message. So a command counts as taken
when the charger says the new value on the topic that repeats it; where it answers each command on a
topic of its own, that answer counts as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from hil.config.evse_mqtt import VALUE, Result, SetpointCommand, SwitchCommand
from hil.config.topic_values import at_base
from hil.drivers.evse.direct import ClampedError
from hil.drivers.evse.mqtt_hearing import Hearing, Place
from hil.errors import DeviceError, RefusedError
from hil.links.first_times import FirstTimes
from hil.links.mqtt_broker import Message
from hil.links.mqtt_topics import MqttTopics
from hil.links.ocpp_frames import printable
from hil.topics import MISSING, number, word

_REMEDY = "See what else commands the charger, whether it allows MQTT to, and the EVSE profile."
_MA_PER_A = 1000.0
_HALF = 0.5


class Order(NamedTuple):
    """One command as it goes out, and what the charger must say then."""

    topic: str
    payload: str
    echo: Place
    wanted: float | str
    """In A, or the word."""
    scale: float
    """What it says times this is A."""
    tolerance: float
    result: Place | None
    accepted: str

    @property
    def words(self) -> str:
        """What is commanded, in words."""
        return f"{self.wanted:g} A" if isinstance(self.wanted, float) else f"'{self.wanted}'"

    def meets(self, said: Any) -> bool:
        """Whether what the charger says is what it was told."""
        if said is MISSING or said is None:
            return False
        if isinstance(self.wanted, str):
            return word(said) == self.wanted
        said_a = self.amperes(said)
        return said_a is not None and abs(said_a - self.wanted) <= self.tolerance

    def amperes(self, said: Any) -> float | None:
        """What the charger says as a current; ``None`` if it is none, or a word was wanted."""
        if isinstance(self.wanted, str) or said is MISSING or said is None:
            return None
        try:
            value = number(said)
        except ValueError:
            return None
        return None if value is None else value * self.scale


class _Waiting:
    """What has been heard since a command left."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.echo: Any = MISSING
        self.result: str | None = None
        self.t = 0.0
        self.over = asyncio.Event()
        self.overtaken = False


class MqttCommands:
    """Sends the commands of one charger, one at a time, and watches over those in force."""

    def __init__(
        self,
        device: str,
        base: str,
        answer_within_s: float,
        link: MqttTopics,
        hearing: Hearing,
        findings: FirstTimes,
    ) -> None:
        self._device, self._base, self._within_s = device, base, answer_within_s
        self._link, self._hearing, self._findings = link, hearing, findings
        self._waiting: _Waiting | None = None
        self._in_force: dict[Place, tuple[Order, float]] = {}
        """By what says it: the command that was taken, and when."""

    # --- what goes out -------------------------------------------------------------------------

    def setpoint(self, command: SetpointCommand, current_a: float) -> Order:
        """The order for a current per phase, which is a multiple of the command's step."""
        raw = current_a * (_MA_PER_A if command.unit == "mA" else 1.0)
        payload = command.payload.replace(VALUE, f"{raw:.3f}".rstrip("0").rstrip("."))
        tolerance_a = command.step * _HALF
        return self._order(command, payload, current_a, command.echo.scale, tolerance_a)

    def switch(self, command: SwitchCommand) -> Order:
        """The order to pause, or to charge."""
        return self._order(command, command.payload, command.says, 1.0, 0.0)

    def _order(
        self,
        command: SetpointCommand | SwitchCommand,
        payload: str,
        wanted: float | str,
        scale: float,
        tolerance: float,
    ) -> Order:
        result: Result | None = command.result
        return Order(
            at_base(command.topic, self._base),
            payload,
            self._hearing.place(command.echo),
            wanted,
            scale,
            tolerance,
            None if result is None else self._hearing.place(result),
            "" if result is None else result.accepted,
        )

    async def send(self, order: Order, on_sent: Callable[[float], None] | None) -> float:
        """Send it and wait until it is taken; the instant at which the charger said so.

        ``on_sent`` is told when it left. Never retained: the charger would be told again whenever
        it connects. Raises RefusedError where the charger says otherwise, DeviceError where it says
        nothing.
        """
        waiting = self._waiting = _Waiting(order)
        before = self._hearing.value(order.echo)
        try:
            message = Message(order.topic, order.payload.encode(), quality_of_service=1)
            t = await self._link.publish(message, self._within_s)
            if on_sent is not None:
                on_sent(t)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._within_s):
                    await waiting.over.wait()
            self._judge(waiting, before)
        except RefusedError:
            raise
        except DeviceError:
            self._in_force.pop(order.echo, None)  # nobody knows what is in force now
            raise
        finally:
            self._waiting = None
        taken_s = waiting.t if waiting.over.is_set() else t + self._within_s
        self._in_force[order.echo] = order, taken_s
        return taken_s

    def overtake(self) -> None:
        """Give up the wait for a command, because one follows that cannot wait for its end."""
        if self._waiting is not None:
            self._waiting.overtaken = True
            self._waiting.over.set()

    # --- what comes in -------------------------------------------------------------------------

    def heard(self, topic: str, t: float) -> None:
        """A message that is to be believed came on a topic."""
        waiting = self._waiting
        if waiting is None:
            return
        order = waiting.order
        if topic == order.echo.topic:
            waiting.echo, waiting.t = self._hearing.value(order.echo), t
        if order.result is not None and topic == order.result.topic:
            waiting.result, waiting.t = self._hearing.text(order.result) or "", t
        self._look(waiting)

    def _look(self, waiting: _Waiting) -> None:
        """See whether the fate of a command is known."""
        order = waiting.order
        if order.result is not None:
            if waiting.result is None:
                return
            if waiting.result != order.accepted:
                waiting.over.set()
                return
            # A charger that says changes alone is silent about what it had already.
            known = self._hearing.value(order.echo)
            known = self._hearing.kept(order.echo) if known is MISSING else known
            if order.meets(known):
                waiting.over.set()
        elif order.meets(waiting.echo):
            waiting.over.set()

    def _judge(self, waiting: _Waiting, before: Any) -> None:
        """Whether a command was taken, at the end of the wait. Raises DeviceError if not."""
        order, says = waiting.order, waiting.echo
        if waiting.overtaken:
            words = f"was told {order.words}, and something more urgent before it said so"
            raise DeviceError(self._device, words, "See what ended the run")
        place = printable(str(order.echo))
        if waiting.result is not None and waiting.result != order.accepted:
            words = f"was told {order.words} and answers '{printable(waiting.result)}'"
            raise RefusedError(self._device, words, _REMEDY)
        if waiting.over.is_set():
            return
        if waiting.result is not None and says is MISSING and before is MISSING:
            words = f"took {order.words} by its own word, and {place} does not say so"
            self._findings.finding("not_echoed", words, "note", key=order.echo)
            return
        if says is not MISSING or waiting.result is not None:
            shown = says if says is not MISSING else before
            words = f"was told {order.words}, and {place} then says {_shown(shown)}"
            in_force_a = order.amperes(shown)
            if in_force_a is not None:
                raise ClampedError(self._device, words, _REMEDY, in_force_a)
            raise RefusedError(self._device, words, _REMEDY)
        words = f"was told {order.words}, and {place} says nothing within {self._within_s:g} s"
        raise DeviceError(self._device, words, _REMEDY)

    # --- what is in force ----------------------------------------------------------------------

    def lost(self) -> list[str]:
        """What was taken and is no longer what the charger says, in words; said once each."""
        if self._waiting is not None:
            return []
        found = []
        for echo, (order, since_s) in list(self._in_force.items()):
            newest_s = self._hearing.newest_s(echo.topic)
            says = self._hearing.value(echo)
            if newest_s is None or newest_s <= since_s or order.meets(says):
                continue
            del self._in_force[echo]
            place = printable(str(echo))
            found.append(f"{order.words} was taken, and {place} now says {_shown(says)}")
        return found


def _shown(said: Any) -> str:
    return "nothing of it" if said is MISSING else f"'{printable(word(said))[:80]}'"
