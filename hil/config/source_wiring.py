"""What a bench file says about its sources, and that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from hil.config.bench import BenchConfig
from hil.config.source import Location, Source


def source_references(config: BenchConfig) -> Iterator[tuple[Location, str, list[str], str]]:
    """Every place that names what a source feeds, or a source: where, name, choice, a word."""
    evses, sources = list(config.evses), list(config.sources)
    for name, device in config.sources.items():
        for index, evse in enumerate(device.feeds):
            yield ("sources", name, "feeds", index), evse, evses, "EVSE"
    if config.virtual is not None:
        for index, name in enumerate(config.virtual.sources):
            yield ("virtual", "sources", index), name, sources, "source"


def source_problems(config: BenchConfig, source: Source) -> list[str]:
    """An EVSE with two supplies, and a twin that would feed what is none."""
    virtual = config.virtual
    twins = virtual.sources if virtual else []
    plants = virtual.evses if virtual else {}
    problems = []
    fed: dict[str, str] = {}
    for name, device in config.sources.items():
        for index, evse in enumerate(device.feeds):
            place = ("sources", name, "feeds", index)
            if evse in fed:
                problems.append(source.problem(place, f"'{evse}' is fed by '{fed[evse]}' already"))
            fed[evse] = name
            if evse in config.evses and (name in twins) != (evse in plants):
                words = f"one of '{name}' and '{evse}' is virtual and the other is not"
                problems.append(source.problem(place, words))
    return problems
