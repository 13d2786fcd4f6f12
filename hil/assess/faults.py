"""The faults that were injected on purpose, as the record tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_OWN = ("fault", "state")


def faults_of(record: Record) -> list[dict[str, Any]]:
    """Every fault that was injected: from when, until when, and how.

    ``cleared_s`` is ``None`` for one that lasted until the run ended.
    """
    faults: list[dict[str, Any]] = []
    for event in record.events:
        if event.kind is not EventKind.FAULT:
            continue
        kind = str(event.data.get("fault", ""))
        if event.data.get("state") != "cleared":
            told = {key: value for key, value in event.data.items() if key not in _OWN}
            faults.append(
                {
                    "device": event.device,
                    "fault": kind,
                    "injected_s": event.t,
                    "cleared_s": None,
                    "parameters": told,
                }
            )
            continue
        for fault in faults:
            same = (fault["device"], fault["fault"]) == (event.device, kind)
            if same and fault["cleared_s"] is None:
                fault["cleared_s"] = event.t
                break
    return faults
