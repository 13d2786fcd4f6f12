"""A charger that calls its connector free, against pilot and transaction."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hil.assess.claims.connector import contradictions
from hil.config.limits import Definitions
from hil.quantities import Event, EventKind

PILOT, EVSE = "vehicle", "dut"
FREE = "Available"
DEFINITIONS = Definitions.model_validate(
    {"depart_hold": "500 ms", "pre_window": "5 s", "steady_window": "10 s"}
)


def status(t: float, word: str, **more: str) -> Event:
    return Event(t, EventKind.EVSE_STATUS, EVSE, {"status": word, **more})


def pilot(t: float, state: str) -> Event:
    return Event(t, EventKind.PILOT_STATE, PILOT, {"state": state})


def transaction(t: float, state: str) -> Event:
    return Event(t, EventKind.TRANSACTION, EVSE, {"state": state, "transaction_id": 7})


def link(t: float, state: str, device: str = EVSE) -> Event:
    return Event(t, EventKind.DEVICE, device, {"state": state})


def found(*events: Event) -> str:
    devices = {
        EVSE: {"role": "evse"},
        PILOT: {"role": "pilot", "plugged_into": EVSE},
    }
    record: Any = SimpleNamespace(events=events, manifest={"devices": devices})
    findings = contradictions(record, EVSE, DEFINITIONS)
    assert all(finding["code"] == "available_with_car" for finding in findings)
    return "".join(finding["text"] for finding in findings)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([status(0, FREE), pilot(5, "B"), status(20, "Preparing")], "shows a car (state B)"),
        ([status(0, FREE), pilot(5, "B"), status(6, "Preparing")], ""),
        ([status(0, FREE), pilot(5, "A"), status(60, "Available")], ""),
        # the transaction's word hides that of the connector
        (
            [
                pilot(1, "C"),
                status(2, "Charging", connector_status=FREE),
                status(30, "Charging", connector_status="Occupied"),
            ],
            "for 28 s from 2.0 s on",
        ),
        ([transaction(1, "started"), status(2, FREE), status(30, "Charging")], "7 runs"),
        # nothing was heard of it: the link may have been dead
        ([status(0, FREE), pilot(5, "B"), link(60, "lost"), link(90, "back")], ""),
        ([status(0, FREE), pilot(5, "B"), pilot(60, "A")], ""),
        (
            [
                status(0, FREE),
                pilot(5, "B"),
                link(6, "lost", PILOT),
                status(60, FREE),
            ],
            "",
        ),
        ([status(0, FREE), pilot(5, "B"), status(60, "Available")], "for 55 s"),
    ],
)
def test_a_free_connector_is_held_against_pilot_and_transaction(
    events: list[Event], words: str
) -> None:
    text = found(*events)
    assert words in text
    assert bool(text) is bool(words)
