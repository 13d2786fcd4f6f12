"""Reports of an OCPP 2.x charger: asked for in one call, they come in messages of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hil.drivers.evse.ocpp2_messages import Request
from hil.drivers.evse.ocpp2_station import Report, Station
from hil.drivers.evse.ocpp_charger import Answer

_REPORT_WITHIN_S = 30.0
"""From the accepted request to the last part of a report; a full device model takes many."""


class Reports:
    """Asks for reports and gathers their parts; the session lays them in ``station``."""

    def __init__(self, station: Station, ask: Callable[[Request], Awaitable[Answer]]) -> None:
        self._station, self._ask = station, ask
        self._requests = 0

    async def gather(self, request: Request) -> tuple[Answer, list[dict[str, Any]]]:
        """The answer to the request, and what is reported. A report that ends early is a finding.

        The requestId is added to the request.
        """
        self._requests += 1
        number = self._requests
        report = self._station.reports[number] = Report()
        payload = {"requestId": number, **request.payload}
        try:
            answer = await self._ask(Request(request.action, payload))
            if answer.accepted:
                async with asyncio.timeout(_REPORT_WITHIN_S):
                    await report.complete.wait()
        except TimeoutError:
            words = f"{request.action}: no end within {_REPORT_WITHIN_S:g} s"
            self._finding("report_incomplete", words)
        finally:
            del self._station.reports[number]
        return answer, report.items

    async def wanted(self, request: Request, nothing: str) -> list[dict[str, Any]]:
        """What is reported; a refusal is a finding.

        ``nothing`` is the charger's word for there being nothing to report.
        """
        answer, items = await self.gather(request)
        if not answer.accepted and answer.status != nothing:
            self._finding("report_refused", f"{request.action}: {answer.status}")
        return items

    def _finding(self, code: str, words: str) -> None:
        charger = self._station.charger
        charger.journal.finding(charger.device, code, words, "warning")
