"""The virtual lab as a whole: where its twins are served."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from bench_files import changed_bench

from hil.clock import ClockKind, run_on
from hil.config.load import load_bench
from hil.virtual.lab import VirtualLab


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_every_way_to_write_loopback_gets_a_free_port(tmp_path: Path, host: str) -> None:
    if host == "[::1]":
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this computer has no IPv6 loopback; give it one to run this")
    bench = load_bench(changed_bench(tmp_path, ("127.0.0.1", host)))

    async def main() -> list[str]:
        lab = VirtualLab(bench, 1)
        try:
            config = await lab.start()
        finally:
            await lab.stop()
        return [config.evses["dut"].listen, config.meters["reference"].link]

    for address in run_on(ClockKind.WARP, main):
        assert f"//{host}:" in address
        assert not address.endswith(":0")
