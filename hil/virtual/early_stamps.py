"""The stamps of a charger whose calendar is wrong at first."""

from __future__ import annotations

from hil.config.personalities import Disorder
from hil.virtual.station_time import StationTime

_WRONG_ONES = 3
_LOCAL_AHEAD_S = 7200.0


class EarlyStamps:
    """Stamps of StatusNotifications, of which the first three may be wrong."""

    def __init__(self, disorder: Disorder, time: StationTime) -> None:
        self._disorder, self._time = disorder, time
        self._given = 0

    def next(self) -> str:
        """The stamp of a message that leaves now."""
        self._given += 1
        kind = self._disorder.early_stamps if self._given <= _WRONG_ONES else "right"
        if kind == "1970":
            return self._time.utc_text(float(self._given))
        return self._time.utc_text(
            self._time.utc_s() + (_LOCAL_AHEAD_S if kind == "local" else 0.0)
        )
