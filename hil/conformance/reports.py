"""The profiles that a station reports, against those that were sent to it. Pure.

All that was sent has to come back as it was; what a station adds of its own is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hil.conformance.read import instant_s, number, short
from hil.conformance.setpoints import folded

_LIMIT = 0.05
_INSTANT_S = 1.0
_MOST_TOLD = 5
_EXTERNAL = "ChargingStationExternalConstraints"
_INSTANTS = ("startSchedule", "validFrom", "validTo")

Sent = Mapping[str, Any]
"""``evseId`` and ``chargingProfile``, as they were sent."""


def differences(expected: Mapping[str, Sent], items: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not as it must be, in words; nothing if all is. ``expected`` is by name."""
    left = [item for item in items if isinstance(item, Mapping)]
    found: list[str] = []
    for name, sent in expected.items():
        same = [item for item in left if _id(item) == sent["chargingProfile"]["id"]]
        if not same:
            found.append(f"{name} is not reported")
            continue
        if len(same) > 1:
            found.append(f"{name} is reported {len(same)} times")
        found += [f"{name}: {words}" for words in _differences(sent, same[0])]
        left = [item for item in left if item not in same]
    told = left[:_MOST_TOLD]
    found += [f"a profile is reported that was not asked for (id {short(_id(i))})" for i in told]
    if len(left) > len(told):
        found.append(f"and {len(left) - len(told)} more")
    return found


def _id(item: Mapping[str, Any]) -> object:
    profile = item.get("chargingProfile")
    return profile.get("id") if isinstance(profile, Mapping) else None


def external(items: Sequence[Mapping[str, Any]], limits: Sequence[tuple[float, str]]) -> list[str]:
    """What of a limit that somebody else has set is not reported as it must be, in words.

    ``limits`` is that limit in each unit in which it may be told.
    """
    found = [item for item in items if isinstance(item, Mapping)]
    if len(found) != 1:
        return [f"{len(found)} limits from elsewhere are reported, not 1"]
    (item,) = found
    profile = item.get("chargingProfile")
    profile = profile if isinstance(profile, Mapping) else {}
    problems: list[str] = []
    if item.get("chargingLimitSource") in ("CSO", None):
        source = short(item.get("chargingLimitSource"))
        problems.append(f"its source is {source}, and somebody else has set it")
    purpose = profile.get("chargingProfilePurpose")
    if purpose != _EXTERNAL:
        problems.append(f"its purpose is {short(purpose)}, not {_EXTERNAL}")
    if not any(tells_limit(profile.get("chargingSchedule"), *one) for one in limits):
        problems.append(f"it does not tell the limit of {' or '.join(map(_words, limits))}")
    return problems


def _words(limit: tuple[float, str]) -> str:
    return f"{limit[0]:g} {limit[1]}"


def tells_limit(schedules: object, limit: float, unit: str) -> bool:
    """Whether the first period of a schedule among several has this limit."""
    for schedule in schedules if isinstance(schedules, list) else []:
        if not isinstance(schedule, dict):
            continue
        periods = schedule.get("chargingSchedulePeriod")
        first = periods[0] if isinstance(periods, list) and periods else None
        told = number(first.get("limit")) if isinstance(first, dict) else None
        if schedule.get("chargingRateUnit") == unit and told is not None:
            return abs(told - limit) <= _LIMIT
    return False


def _differences(sent: Sent, item: Mapping[str, Any]) -> Iterator[str]:
    if item.get("evseId") != sent["evseId"]:
        yield f"it is reported of EVSE {short(item.get('evseId'))}, sent to {sent['evseId']}"
    if item.get("chargingLimitSource") != "CSO":
        yield f"its source is {short(item.get('chargingLimitSource'))}, not CSO"
    yield from _lacking(sent["chargingProfile"], item.get("chargingProfile"), "")


def _lacking(sent: object, told: object, path: str) -> Iterator[str]:
    """What of ``sent`` is not in ``told``."""
    if isinstance(sent, Mapping):
        sent, entries = folded(sent), folded(told) if isinstance(told, Mapping) else {}
        for key, value in sent.items():
            yield from _lacking(value, entries.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(sent, list):
        entries_told = told if isinstance(told, list) else []
        if len(entries_told) != len(sent):
            yield f"{path} has {len(entries_told)} entries, not {len(sent)}"
            return
        for one, other in zip(sent, entries_told, strict=True):
            yield from _lacking(one, other, path)
    elif not _same(sent, told, path.rpartition(".")[2]):
        yield f"{path} is {short(told)}, not {sent}"


def _same(sent: object, told: object, key: str) -> bool:
    if key in _INSTANTS:
        one, other = instant_s(sent), instant_s(told)
        return one is not None and other is not None and abs(one - other) <= _INSTANT_S
    if isinstance(sent, (int, float)):
        value = number(told)
        return value is not None and abs(value - sent) <= _LIMIT
    return sent == told
