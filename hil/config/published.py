"""What a bench asks of meters that publish, and that their own cadence does not give."""

from __future__ import annotations

from collections.abc import Mapping

from hil.config.bench import BenchConfig
from hil.config.instruments import AnyMeterProfile
from hil.config.mqtt_meter import MqttMeterProfile
from hil.config.source import Source


def published_problems(
    config: BenchConfig, meters: Mapping[str, AnyMeterProfile], source: Source
) -> list[str]:
    """A line for each patience that a meter's own cadence would exhaust, and what it cannot do.

    A value that arrives may have been measured a whole cadence before, so that what came of a
    command is only shown for sure by the second message after it.
    """
    locks, within_s = config.interlocks, config.safe_state.within
    problems = []
    for name, meter in config.mqtt_meters().items():
        profile = meters[name]
        assert isinstance(profile, MqttMeterProfile)
        if meter.poll is not None and profile.request is None:
            words = f"nobody knows how to ask a '{meter.profile}'; leave 'poll' out, or add "
            words += "'request' to its profile"
            problems.append(source.problem(("meters", name, "poll"), words))
        if meter.presence is not None and profile.presence is None:
            words = f"'{meter.profile}' does not say what stands there; leave 'presence' out, or "
            words += "add it to its profile"
            problems.append(source.problem(("meters", name, "presence"), words))
        cadence_s = meter.cadence_s(profile)
        if cadence_s is None:
            continue
        if cadence_s < 2.0 * profile.burst:
            words = f"'{name}' is to publish every {cadence_s:g} s, and what it says within "
            words += f"{profile.burst:g} s is one report: the two cannot be told apart"
            problems.append(source.problem(("meters", name), words))
        says = f"'{name}' publishes every {cadence_s:g} s"
        for lock in ("stale_meter", "frozen_meter"):
            limit_s = getattr(locks, lock)
            if limit_s is not None and limit_s <= cadence_s:
                words = f"{says}, so {limit_s:g} s would trip by itself; allow more, or set the "
                words += "meter to publish more often and say so with 'every'"
                problems.append(source.problem(("interlocks", lock), words))
        if within_s < 2.0 * cadence_s:
            words = f"{says}, so that it cannot show within {within_s:g} s that the state is safe; "
            words += f"allow {2.0 * cadence_s:g} s, or set it to publish more often and say so "
            words += "with 'every'"
            problems.append(source.problem(("safe_state", "within"), words))
    return problems
