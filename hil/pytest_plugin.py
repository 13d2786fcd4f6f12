"""Fixtures for tests that users write against their own charger.

``bench`` is the bench that a test plays on: ``--hil-bench`` on the command line, or the virtual
one. ``play`` plays a scenario on it and returns a :class:`Played`. ``evaluate`` reads a run folder
again, by other limits if named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from hil.clock import ClockKind


@dataclass(frozen=True)
class Measured:
    """One attribute of one EVSE: ``value`` and ``expanded_uncertainty`` (k = 2) in ``unit``."""

    name: str
    target: str
    value: float
    unit: str
    expanded_uncertainty: float
    n: int
    verdict: str

    @property
    def low(self) -> float:
        """The smallest value that the uncertainty allows."""
        return self.value - self.expanded_uncertainty

    @property
    def high(self) -> float:
        """The largest value that the uncertainty allows."""
        return self.value + self.expanded_uncertainty


@dataclass(frozen=True)
class Played:
    """A run: its folder, its result, and its attributes by name."""

    path: Path
    result: dict[str, Any]

    @property
    def verdict(self) -> str:
        """PASS, FAIL, INCONCLUSIVE, ERROR or NOT_APPLICABLE."""
        return str(self.result["verdict"])

    @property
    def findings(self) -> list[str]:
        """Codes of all that was found, in order."""
        return [finding["code"] for finding in self.result["findings"]]

    def __getitem__(self, name: str) -> Measured:
        """The attribute of that name; of the first EVSE if there are several."""
        return self.attribute(name)

    def attribute(self, name: str, target: str | None = None) -> Measured:
        """An attribute. Raises KeyError with those there are, ValueError if it has no value."""
        for entry in self.result["attributes"]:
            if entry["name"] == name and target in (None, entry["target"]):
                if entry["value"] is None:
                    raise ValueError(f"{name} could not be told: {entry['reason']}")
                keys = Measured.__dataclass_fields__
                return Measured(**{key: entry[key] for key in keys})
        known = sorted({entry["name"] for entry in self.result["attributes"]})
        raise KeyError(f"{name} of {target or 'any EVSE'}; there are {', '.join(known)}")


class Play(Protocol):
    """Play a scenario on the bench."""

    def __call__(
        self,
        scenario: str,
        *,
        bench: str | None = None,
        clock: ClockKind | None = None,
        seed: int = 1,
        limits: str | None = None,
        faults: Sequence[str] = (),
    ) -> Played:
        """Play, and return what was measured; the test fails if the run did not reach its end."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a test run name the bench that its tests play on."""
    parser.addoption(
        "--hil-bench", default="virtual-ac", help="bench file or name that hil's fixtures play on"
    )


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> str:
    """The bench to play on: a path or a name."""
    return str(request.config.getoption("--hil-bench"))


@pytest.fixture
def play(bench: str, tmp_path: Path) -> Play:
    """Play a scenario on the bench; the run folder stands in the test's temporary folder."""
    from hil.errors import ExitStatus, HilError
    from hil.inputs import prepare
    from hil.run import execute

    default = bench

    def play_scenario(
        scenario: str,
        *,
        bench: str | None = None,
        clock: ClockKind | None = None,
        seed: int = 1,
        limits: str | None = None,
        faults: Sequence[str] = (),
    ) -> Played:
        finished, problem = None, ""
        try:
            inputs = prepare(
                bench or default, scenario, clock=clock, seed=seed, limits=limits, faults=faults
            )
            finished = execute(inputs, tmp_path)
        except HilError as error:
            problem = str(error)
        if finished is None:
            pytest.fail(problem, pytrace=False)
        if finished.status is ExitStatus.UNSAFE:
            words = f"SAFE STATE NOT CONFIRMED: {finished.safe_state}"
            pytest.fail(f"{words}. {finished.detail}".rstrip(" ."), pytrace=False)
        broken = (ExitStatus.ERROR, ExitStatus.ABORTED_SAFE)
        if finished.result is None or finished.status in broken:
            pytest.fail(finished.detail or f"safe state: {finished.safe_state}", pytrace=False)
        return Played(finished.path, finished.result)

    return play_scenario


@pytest.fixture
def evaluate() -> Callable[..., Played]:
    """Compute a run folder's result anew: ``evaluate(path, limits="name")``."""
    from hil.conclude import conclude
    from hil.inputs import load_limits

    def evaluate_run(path: Path, limits: str | None = None) -> Played:
        return Played(path, conclude(path, load_limits(limits)))

    return evaluate_run
