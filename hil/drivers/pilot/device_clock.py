"""From the pilot emulator's own clock to the bench's. Pure.

Every answer carries a stamp of the emulator's clock that was taken between the request's last byte
and the answer's first. So each exchange pins one stamp between two bench instants; two of them
bound the rate of the emulator's clock; and all of them together bound the instant of a stamp that
arrives later, whatever the delays on the way. Bounds, not averages: a late line widens nothing.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

RATE_TOLERANCE = 0.01
"""Largest error of an emulator's clock rate (PROTOCOL.md section 6), a share."""

UNSYNCHRONISED_S = 0.5
"""Half-width given to an instant while no exchange has pinned the clock: one heartbeat."""

_WRAP_US = 2**32
_EXCHANGES = 32
"""Exchanges kept: 16 s of heartbeats, short enough for the rate to be constant."""

_LEAST_SPAN_S = 0.1
"""Exchanges closer together than this say nothing useful about the rate."""


class Instant(NamedTuple):
    """An instant on the bench's clock and the half-width of the interval that holds it, seconds."""

    t: float
    uncertainty_s: float


class _Exchange(NamedTuple):
    device_s: float
    """Middle of the stamp's step, without wraps."""
    earliest_s: float
    latest_s: float


class DeviceClock:
    """The bench instants of a device's stamps: microseconds, 32 bits, in steps of a resolution."""

    def __init__(self, resolution_us: int) -> None:
        self._half_step_s = resolution_us * 0.5e-6
        self._exchanges: deque[_Exchange] = deque(maxlen=_EXCHANGES)
        self._slowest, self._fastest = 1.0 - RATE_TOLERANCE, 1.0 + RATE_TOLERANCE

    def restart(self) -> None:
        """Forget what is known: the device's clock began anew."""
        self._exchanges.clear()
        self._slowest, self._fastest = 1.0 - RATE_TOLERANCE, 1.0 + RATE_TOLERANCE

    def exchange(self, stamp_us: int, earliest_s: float, latest_s: float) -> bool:
        """Learn that a stamp was taken between two bench instants.

        ``False`` if that cannot be with what was learnt before: the device's clock has jumped, and
        this exchange is the first of a new beginning.
        """
        new = _Exchange(
            self._device_s(stamp_us, (earliest_s + latest_s) / 2),
            earliest_s - self._half_step_s,
            latest_s + self._half_step_s,
        )
        slowest, fastest = 1.0 - RATE_TOLERANCE, 1.0 + RATE_TOLERANCE
        for old in self._exchanges:
            span_s = new.device_s - old.device_s
            if span_s > _LEAST_SPAN_S:
                slowest = max(slowest, (new.earliest_s - old.latest_s) / span_s)
                fastest = min(fastest, (new.latest_s - old.earliest_s) / span_s)
        fits = slowest <= fastest and self._follows(new)
        if not fits:
            self.restart()
        else:
            self._slowest, self._fastest = slowest, fastest
        self._exchanges.append(new)
        return fits

    def instant(self, stamp_us: int, arrived_s: float) -> Instant:
        """The bench instant of a stamp in a line that arrived at ``arrived_s``."""
        if not self._exchanges:
            return Instant(arrived_s, UNSYNCHRONISED_S)
        device_s = self._device_s(stamp_us, arrived_s)
        bounds = [self._bounds(device_s, exchange) for exchange in self._exchanges]
        earliest_s = max(bound[0] for bound in bounds) - self._half_step_s
        latest_s = min(arrived_s, min(bound[1] for bound in bounds) + self._half_step_s)
        if earliest_s > latest_s:
            return Instant(arrived_s, earliest_s - latest_s)
        return Instant((earliest_s + latest_s) / 2, (latest_s - earliest_s) / 2)

    def seconds(self, stamp_us: int, arrived_s: float) -> float:
        """The device's own time of a stamp in seconds, without wraps since the first exchange."""
        return self._device_s(stamp_us, arrived_s) - self._half_step_s

    def _device_s(self, stamp_us: int, about_s: float) -> float:
        wraps = 0
        if self._exchanges:
            last = self._exchanges[-1]
            expected_s = last.device_s + about_s - (last.earliest_s + last.latest_s) / 2
            wraps = round((expected_s * 1e6 - stamp_us) / _WRAP_US)
        return (stamp_us + wraps * _WRAP_US) * 1e-6 + self._half_step_s

    def _follows(self, new: _Exchange) -> bool:
        """Whether a stamp is no further from the last one than the rates allow."""
        if not self._exchanges:
            return True
        last = self._exchanges[-1]
        earliest_s, latest_s = self._bounds(new.device_s, last)
        return earliest_s <= new.latest_s and new.earliest_s <= latest_s

    def _bounds(self, device_s: float, exchange: _Exchange) -> tuple[float, float]:
        span_s = device_s - exchange.device_s
        slow_s, fast_s = span_s * self._slowest, span_s * self._fastest
        return exchange.earliest_s + min(slow_s, fast_s), exchange.latest_s + max(slow_s, fast_s)
