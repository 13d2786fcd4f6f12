"""What people get wrong: one clear message, the right exit status, and no stack trace."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench_files import changed_bench, hil

SCENARIO = "scenario: x\nsteps:\n  - plug_in\n  - {setpoint: 16 A, hold: 5 s}\n"


def refused(outcome: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    said = outcome.stdout + outcome.stderr
    assert "Traceback" not in said
    assert outcome.returncode == status, said
    for word in words:
        assert word in said, said


def scenario_file(folder: Path, text: str = SCENARIO) -> str:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("hold: 5 s", "hld: 5 s"),
            ["scenario.yaml:4:22", "is not a known key; did you mean hold"],
        ),
        (("steps:", "scenario: y\nsteps:"), ["scenario.yaml:2:1", "key given twice"]),
        (("hold: 5 s", "hold: 5"), ["scenario.yaml:4:28", "5 has no unit", "s, ms, us, min, h"]),
        (("16 A", "40 A"), ["scenario.yaml:4:5", "over the rating of 'dut', which is 32 A"]),
        (("- plug_in", "- plug in: [}"), ["scenario.yaml:3", "not valid YAML"]),
    ],
)
def test_a_scenario_that_is_wrong(
    tmp_path: Path, change: tuple[str, str], words: list[str]
) -> None:
    scenario = scenario_file(tmp_path, SCENARIO.replace(*change))
    refused(hil("check", "virtual-ideal", scenario, cwd=tmp_path), 2, *words)
    refused(hil("run", "virtual-ideal", scenario, cwd=tmp_path), 2, *words)
    assert not (tmp_path / "runs").exists(), "nothing may be opened for a wrong scenario"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("{setpoint: 6 A, within", "{setpoint: 64 A, within"), "64 A is over the rating of 'dut'"),
        (("meters: {reference: em540-fast}", "meters: {}"), "has port 0, which only a virtual"),
    ],
)
def test_a_bench_that_cannot_be_safe_or_reached(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    refused(hil("check", changed_bench(tmp_path, change), cwd=tmp_path), 2, "bench.yaml:", words)


def test_all_files_are_told_of_at_once(tmp_path: Path) -> None:
    bench = changed_bench(tmp_path, ("poll: 10 Hz", "poll: 10"))
    scenario = scenario_file(tmp_path, SCENARIO.replace("16 A", "16"))
    outcome = hil("run", bench, scenario, "--limits", "dtu-2012", cwd=tmp_path)
    refused(outcome, 2, "10 has no unit", "16 has no unit", "did you mean dtu-2021")


def test_a_wrong_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    refused(hil("run", "virtual-ca", "quick-look", cwd=tmp_path), 2, "did you mean virtual-ac")
    bench = changed_bench(tmp_path, ("carlo-gavazzi-em540", "carlo-gavazzi-em450"))
    refused(hil("check", bench, cwd=tmp_path), 2, "no meter named", "carlo-gavazzi-em540")


def test_the_warp_clock_refuses_a_real_device(tmp_path: Path) -> None:
    outcome = hil(
        "run", with_meter_at(tmp_path, 5020), "quick-look", "--clock", "warp", cwd=tmp_path
    )
    refused(outcome, 2, "reference are real devices", "--clock real")


def failed_run(tmp_path: Path) -> dict[str, object]:
    (run,) = (tmp_path / "runs").iterdir()
    manifest: dict[str, object] = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert (run / "samples.parquet").is_file(), "a failed run is sealed too"
    return manifest


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bench = changed_bench(
            tmp_path, ("listen: ws://127.0.0.1:0", f"listen: ws://127.0.0.1:{port}")
        )
        outcome = hil("run", bench, "quick-look", cwd=tmp_path)
    refused(outcome, 4, "dut", str(port), "in use")
    assert failed_run(tmp_path)["state"] == "failed"


def test_a_charger_that_never_connects(tmp_path: Path) -> None:
    outcome = hil("run", never_connects(tmp_path), "quick-look", cwd=tmp_path)
    refused(outcome, 4, "dut", "no charger 'CP-IDEAL-1' connected within 1 s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def never_connects(tmp_path: Path) -> str:
    path = tmp_path / "bench.yaml"
    path.write_text(
        "bench: alone\n"
        "evses:\n"
        "  dut:\n"
        "    driver: ocpp16\n"
        "    profile: generic-ac\n"
        f"    listen: ws://127.0.0.1:{free_port()}\n"
        "    charge_point: CP-IDEAL-1\n"
        "    connect_within: 1 s\n"
        "    rating: {current: 32 A, phases: 3, voltage: 230 V}\n"
        "safe_state: {setpoint: 6 A, within: 2 s}\n",
        encoding="utf-8",
    )
    return str(path)


@contextlib.contextmanager
def meter_that(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A Modbus TCP server on loopback whose replies are what ``answer`` makes of the requests."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(0.1)
                    while not over.is_set():
                        try:
                            request = connection.recv(260)
                        except TimeoutError:
                            continue
                        except OSError:
                            break
                        if not request:
                            break
                        reply = answer(request)
                        if reply is not None:
                            connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def with_meter_at(tmp_path: Path, port: int) -> str:
    return changed_bench(
        tmp_path,
        ("link: tcp://127.0.0.1:0", f"link: tcp://127.0.0.1:{port}"),
        ("meters: {reference: em540-fast}", "meters: {}"),
    )


def test_a_silent_meter(tmp_path: Path) -> None:
    with meter_that(lambda _: None) as port:
        outcome = hil("run", with_meter_at(tmp_path, port), "quick-look", cwd=tmp_path)
    refused(outcome, 4, "reference: gave no answer as unit 1 within 0.5 s")


def test_a_meter_that_answers_the_wrong_count(tmp_path: Path) -> None:
    def one_register(request: bytes) -> bytes:
        return request[:4] + b"\x00\x05" + request[6:8] + b"\x02\x00\x01"

    with meter_that(one_register) as port:
        outcome = hil("run", with_meter_at(tmp_path, port), "quick-look", cwd=tmp_path)
    refused(outcome, 4, "reference", "register")


def test_a_meter_that_is_not_there(tmp_path: Path) -> None:
    port = free_port()
    outcome = hil("run", with_meter_at(tmp_path, port), "quick-look", cwd=tmp_path)
    refused(outcome, 4, "reference", str(port))


def test_a_serial_port_that_is_not_there(tmp_path: Path) -> None:
    bench = changed_bench(
        tmp_path,
        ("link: socket://127.0.0.1:0", "link: serial:///dev/no-such-port?baudrate=115200"),
        ("  pilots: [vehicle]\n", ""),
    )
    outcome = hil("run", bench, "quick-look", cwd=tmp_path)
    refused(outcome, 4, "vehicle", "/dev/no-such-port")


def test_an_output_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    outcome = hil("run", "virtual-ideal", "quick-look", "--out", "file/runs", cwd=tmp_path)
    refused(outcome, 2, "cannot be written", "--out")


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes the POSIX way")
def test_a_disk_that_fills_up_in_mid_run_leaves_the_bench_safe(tmp_path: Path) -> None:
    program = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "sys.argv = ['hil', 'run', 'virtual-ideal', 'quick-look']\n"
        "runpy.run_module('hil', run_name='__main__')\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    refused(outcome, 4, "cannot be written", "Free the disk", "confirmed by measurement")
    (run,) = (tmp_path / "runs").iterdir()
    truth = [json.loads(line) for line in (run / "truth.jsonl").read_text().splitlines()]
    assert [line["limit_a"] for line in truth if line["what"] == "command"][-1] == 6.0
    assert [line["to_a"] for line in truth if line["what"] == "current"][-1] == 0.0


def test_a_run_folder_that_is_none(tmp_path: Path) -> None:
    refused(hil("evaluate", str(tmp_path), cwd=tmp_path), 2, "is not a run folder")


def test_a_car_that_never_charges(tmp_path: Path) -> None:
    scenario = scenario_file(
        tmp_path, "scenario: x\nsteps: [{wait: {until: charging, within: 30 s}}]\n"
    )
    outcome = hil("run", "virtual-ideal", scenario, cwd=tmp_path)
    refused(outcome, 4, "'charging' did not come true within 30 s", "Available")
    assert failed_run(tmp_path)["state"] == "failed"


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize(
    ("number", "times", "words"),
    [
        (signal.SIGINT, 1, "Ctrl-C"),
        (signal.SIGINT, 2, "Ctrl-C"),
        (getattr(signal, "SIGHUP", signal.SIGTERM), 1, "terminal was closed"),
    ],
)
def test_ctrl_c_leaves_the_bench_safe_and_the_record_sealed(
    tmp_path: Path, number: int, times: int, words: str
) -> None:
    scenario = scenario_file(tmp_path, SCENARIO.replace("5 s", "60 s"))
    process = subprocess.Popen(
        [sys.executable, "-m", "hil", "run", "virtual-ideal", scenario, "--clock", "real"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(tmp_path, '"kind": "setpoint_acknowledged"')
    for _ in range(times):
        process.send_signal(number)
    said = "".join(process.communicate(timeout=60))
    assert "Traceback" not in said
    assert process.returncode == 5, said
    assert words in said
    manifest = failed_run(tmp_path)
    assert manifest["state"] == "aborted"
    assert manifest["safe_state"]["confirmed"] is True  # type: ignore[index]
    (run,) = (tmp_path / "runs").iterdir()
    truth = [json.loads(line) for line in (run / "truth.jsonl").read_text().splitlines()]
    assert [line["to_a"] for line in truth if line["what"] == "current"][-1] == 0.0
    assert [line["limit_a"] for line in truth if line["what"] == "command"][-1] == 6.0
    assert (run / "report.html").is_file()


def wait_for(tmp_path: Path, text: str) -> None:
    """Wait until an event stands in the only run folder."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        for events in tmp_path.glob("runs/*/events.jsonl"):
            if text in events.read_text(encoding="utf-8"):
                return
        time.sleep(0.05)
    raise AssertionError(f"no {text} within 30 s")
