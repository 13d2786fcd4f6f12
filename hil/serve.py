"""Serve the virtual devices of a bench alone, for a bench in another process or on another tool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from hil.clock import ClockKind, run_on
from hil.config.bench import BenchConfig
from hil.config.evses import EvseConfig
from hil.config.load import Bench, load_bench
from hil.errors import ConfigError, RecordError
from hil.virtual.lab import VirtualLab


def serve_virtual(
    bench_name: str, seed: int, write_bench: Path | None, say: Callable[[str], None]
) -> None:
    """Serve until Ctrl-C. Raises ConfigError if the bench has no twins or an address is taken."""
    bench = load_bench(bench_name)
    if bench.config.virtual is None:
        raise ConfigError(f"the bench '{bench.config.bench}' has no virtual devices to serve")
    with contextlib.suppress(KeyboardInterrupt):
        run_on(ClockKind.REAL, lambda: _serve(bench, seed, write_bench, say))


async def _serve(
    bench: Bench, seed: int, write_bench: Path | None, say: Callable[[str], None]
) -> None:
    lab = VirtualLab(bench, seed)
    try:
        config = await lab.start()
        for name, evse in config.ocpp_evses().items():
            if name in lab.plants:
                say(f"{name}: charge point {evse.charge_point} connects to {evse.listen}")
        links = {name: meter.link for name, meter in config.connected_meters().items()}
        links |= {name: evse.link for name, evse in config.modbus_evses().items()}
        links |= {name: evse.link for name, evse in config.rapi_evses().items()}
        behind = config.mqtt_evses().items()
        links |= {name: f"{evse.link}, topic {evse.topic}" for name, evse in behind}
        links |= {name: pilot.link for name, pilot in config.pilots.items()}
        links |= {name: source.link for name, source in config.scpi_sources().items()}
        for name, link in links.items():
            served = (
                lab.modbus_evses,
                lab.rapi_evses,
                lab.mqtt_evses,
                lab.meters,
                lab.pilots,
                lab.sources,
            )
            if any(name in twins for twins in served):
                say(f"{name}: {link}")
        if lab.operator is not None:
            say(f"operator: {config.operator.console}")
        if write_bench is not None:
            _write(write_bench, bench_text(bench, config))
            say(f"bench file without the virtual part: {write_bench}")
        await lab.connect(config)
        say("serving until Ctrl-C")
        await asyncio.Event().wait()
    finally:
        await lab.stop()


def bench_text(bench: Bench, served: BenchConfig) -> str:
    """The bench file with the addresses that are served, and without its virtual part."""
    yaml = YAML()
    data = yaml.load(bench.source.text)
    del data["virtual"]
    data["bench"] = f"{served.bench}-served"
    data["served_twins"] = served.virtual_names()
    for part in ("evses", "meters", "pilots", "sources"):
        for name, device in getattr(served, part).items():
            key = "listen" if isinstance(device, EvseConfig) else "link"
            if hasattr(device, key):  # what is used by hand has no address
                data[part][name][key] = getattr(device, key)
    if bench.virtual_operator is not None:
        data["operator"]["console"] = served.operator.console
    text = StringIO()
    yaml.dump(data, text)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror or error}") from error
