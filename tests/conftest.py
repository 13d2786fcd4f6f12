"""What tests of several rooms need: programs from outside, and a real MQTT broker."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

# A deadline would be a timed assert, and red on a busy machine.
settings.register_profile("hil", deadline=None)
settings.load_profile("hil")


_HEARD, _TOLD = socket.socketpair()
"""The numbers of all signals, whoever handles them."""
for _end in (_HEARD, _TOLD):
    _end.setblocking(False)


def pytest_sessionstart() -> None:
    signal.set_wakeup_fd(_TOLD.fileno(), warn_on_full_buffer=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """End the tests at Ctrl-C even within a run, which takes it for its own and ends alone."""
    done = yield
    with contextlib.suppress(BlockingIOError):
        if signal.SIGINT in _HEARD.recv(4096):
            item.session.shouldstop = "Ctrl-C"
    return done


@pytest.fixture(autouse=True, scope="session")
def _lock_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Bench locks of this test session alone: benches of one name are played on by many."""
    before = os.environ.get("HIL_LOCK_FOLDER")
    os.environ["HIL_LOCK_FOLDER"] = str(tmp_path_factory.mktemp("locks"))
    yield
    os.environ.pop("HIL_LOCK_FOLDER")
    if before is not None:
        os.environ["HIL_LOCK_FOLDER"] = before


SYSTEM_FOLDERS = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"))
"""Where servers are installed that are on no user's path."""


def require_tool(program: str, package: str) -> str:
    """Path of a program; without it the test is skipped, or failed where HIL_REQUIRE_TOOLS=1."""
    path = shutil.which(program) or shutil.which(program, path=SYSTEM_FOLDERS)
    if path is None:
        missing_tool(program, package)
    return path


def missing_tool(tool: str, package: str) -> NoReturn:
    """Skip the test for want of a tool, or fail it where HIL_REQUIRE_TOOLS=1."""
    message = f"{tool} is not installed; install the Debian package {package}"
    if os.environ.get("HIL_REQUIRE_TOOLS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


class Mosquitto:
    """One broker process on a free loopback port."""

    def __init__(self, program: str, folder: Path, settings: str, anonymous: bool) -> None:
        self.port = _free_port()
        self._command = [program, "-c", str(folder / "mosquitto.conf")]
        account = "user root\n" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\npersistence false\n{account}"
            f"allow_anonymous {str(anonymous).lower()}\n{settings}"
        )
        self._process = self._start()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it again on its port after :meth:`kill`; it has forgotten everything."""
        self._process = self._start()

    def freeze(self) -> None:
        """Let it take connections and bytes, as the system does for it, and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, close_fds=True
        )
        deadline_s = time.monotonic() + 10.0
        while time.monotonic() < deadline_s and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError:
                time.sleep(0.01)
            else:
                assert process.stderr is not None
                process.stderr.close()
                return process
        process.kill()
        _, errors = process.communicate()
        pytest.fail(f"mosquitto did not start: {errors.decode(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


StartMosquitto = Callable[..., Mosquitto]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[StartMosquitto]:
    """Start brokers: ``mosquitto(settings="", anonymous=True)``; each ends with the test."""
    program = require_tool("mosquitto", "mosquitto")
    brokers: list[Mosquitto] = []

    def start(settings: str = "", anonymous: bool = True) -> Mosquitto:
        folder = tmp_path / f"mosquitto-{len(brokers)}"
        folder.mkdir()
        brokers.append(Mosquitto(program, folder, settings, anonymous))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.kill()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker for all tests of a file; each of them keeps to topics of its own."""
    program = require_tool("mosquitto", "mosquitto")
    broker = Mosquitto(program, tmp_path_factory.mktemp("mosquitto"), "", True)
    yield broker
    broker.kill()
