"""A virtual AC source: a SCPI server that feeds the plants behind it.

It powers up with its output off, so a charger that it feeds boots when the bench switches it on.
"""

from __future__ import annotations

from collections.abc import Sequence

from hil.config.instruments import AnswerField, SourceProfile
from hil.quantities import LINES, Quantity
from hil.virtual.analyser import pattern_of
from hil.virtual.plant import Plant
from hil.virtual.scpi_server import ScpiServer

_UNKNOWN = '-113,"Undefined header"'
_OUT_OF_RANGE = '-222,"Data out of range"'

_HIGHEST_V, _HIGHEST_HZ, _HIGHEST_A = 300.0, 500.0, 100.0
_LATENCY_S = 0.005
_CYCLE_S = 0.02


class SourceTwin:
    """A source of one profile before ``plants``, whose nominal voltage is ``nominal_v``."""

    def __init__(
        self, profile: SourceProfile, plants: Sequence[Plant], nominal_v: float, seed: int
    ) -> None:
        self.sags = 1.0
        """What it puts out, as a share of what it is set to."""
        self._profile, self._plants, self._nominal_v = profile, plants, nominal_v
        self._voltage_v, self._frequency_hz, self._current_a = 0.0, 50.0, _HIGHEST_A
        self._on = False
        error_query = profile.errors.query if profile.errors else ""
        self._identity = ",".join([*profile.identity.contains, "SN-VIRTUAL", "1.0"])
        self.server = ScpiServer(self._interpret, profile.line_end, error_query, _LATENCY_S, seed)

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken. Raises OSError if it cannot be had."""
        return await self.server.start(host, port)

    async def stop(self) -> None:
        """Close the address and every connection."""
        await self.server.stop()

    def feed(self) -> None:
        """Let the plants have what the output is now."""
        share = self.sags * self._voltage_v / self._nominal_v if self._on else 0.0
        for plant in self._plants:
            plant.feed(share, self._frequency_hz)

    def trip(self) -> None:
        """The output goes off by itself, as by a protection."""
        self._on = False
        self.feed()

    def _interpret(self, command: str, now_s: float) -> str | None:
        profile = self._profile
        if command == profile.identity.query:
            return self._identity
        if command in profile.setup:
            return None
        if command in (profile.output.on, profile.output.off):
            self._on = command == profile.output.on
            self.feed()
            return None
        if command == profile.output.query:
            return "1" if self._on else "0"
        for query in profile.values:
            if command == query.query:
                return query.separator.join(self._written(field, now_s) for field in query.fields)
        return self._setting(command)

    def _setting(self, command: str) -> str | None:
        profile = self._profile
        ends = (
            (profile.voltage, "_voltage_v", _HIGHEST_V),
            (profile.frequency, "_frequency_hz", _HIGHEST_HZ),
            (profile.current, "_current_a", _HIGHEST_A),
        )
        for setting, name, highest in ends:
            if command == setting.query:
                return f"{getattr(self, name) / setting.scale:.6E}"
            match = pattern_of(setting).fullmatch(command)
            if match:
                value = float(match[1]) * setting.scale
                if not 0.0 <= value <= highest:
                    raise ValueError(_OUT_OF_RANGE)
                setattr(self, name, value)
                self.feed()
                return None
        raise ValueError(_UNKNOWN)

    def _written(self, field: AnswerField, now_s: float) -> str:
        """What it measures at its own output, over the mains cycle that has passed."""
        true = self._plants[0].measure(max(now_s - _CYCLE_S, 0.0), now_s)
        line = LINES.index(field.phase) if field.phase in LINES else 0
        values = {
            Quantity.VOLTAGE: true.voltage_v[line],
            Quantity.CURRENT: true.current_a[line],
            Quantity.FREQUENCY: self._frequency_hz,
        }
        value = values.get(field.quantity) if field.quantity else None
        return "9.91E+37" if value is None else f"{value / field.scale:.6E}"
