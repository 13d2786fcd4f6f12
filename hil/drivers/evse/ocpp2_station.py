"""What an OCPP 2.x charger has said of itself, and the one status that follows from it.

OCPP 1.6 has one word for a connector; 2.x says in StatusNotification whether it is occupied, and
in TransactionEvent how the charging goes. The bench thinks in the words of 1.6.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hil.drivers.evse.ocpp_charger import Charger
from hil.drivers.evse.ocpp_transactions import CHARGING_STATUS
from hil.quantities import EventKind

_MOST_REMEMBERED = 200
"""Transactions; a charger that makes up more of them fills no memory."""

_MOST_ITEMS = 20_000
"""Entries of one report. Full device models have some 2000 variables."""


@dataclass
class Report:
    """A report that comes in several messages."""

    items: list[dict[str, Any]] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, items: list[dict[str, Any]], more: bool) -> None:
        """Keep a part, with its end if there is no more to come."""
        self.items.extend(items[: _MOST_ITEMS - len(self.items)])
        if not more or len(self.items) >= _MOST_ITEMS:
            self.complete.set()


@dataclass
class Station:
    """A charger's own words, as far as they bear on control."""

    charger: Charger
    connector_status: str = ""
    """``Available``, ``Occupied``, ``Reserved``, ``Unavailable`` or ``Faulted``."""
    charging_state: str = ""
    """Of the running transaction; empty without one."""
    authorized: bool = False
    """Whether the running transaction may charge, as far as the charger has told."""
    has_charged: bool = False
    """Whether a car was charged since the connector was last free and the transaction began."""
    newest_event: tuple[int, str, str] | None = None
    """Number, timestamp and kind of the newest event of the running transaction."""
    ended: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_REMEMBERED))
    """Transactions that are over."""
    elsewhere: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_REMEMBERED))
    """Transactions of other EVSEs."""
    remote_starts: int = 0
    """RequestStartTransaction so far; its count is the remoteStartId."""
    reports: dict[int, Report] = field(default_factory=dict)
    """Reports asked for and not yet read, by requestId."""

    @property
    def running(self) -> bool:
        """Whether a transaction is there that may charge."""
        return self.charger.transaction_id is not None and self.authorized

    def refresh_status(self, always: bool = False) -> None:
        """Tell the connector's status if it is another one, or ``always``."""
        charger = self.charger
        status = status_word(self.connector_status, self.charging_state, self.has_charged)
        if status and (always or status != charger.status):
            charger.status = status
            charger.journal.event(
                EventKind.EVSE_STATUS,
                charger.device,
                status=status,
                connector=charger.connector,
                error_code="",
                connector_status=self.connector_status,
            )
        charger.changed()


def status_word(connector_status: str, charging_state: str, has_charged: bool) -> str:
    """A connector's status in the words of OCPP 1.6.

    A fault comes before all else; then what the transaction says, since some chargers report a
    connector Available while one runs.
    """
    if connector_status in ("Faulted", "Unavailable"):
        return connector_status
    if charging_state in CHARGING_STATUS:
        return charging_state
    if charging_state or connector_status == "Occupied":
        return "Finishing" if has_charged else "Preparing"
    return connector_status
