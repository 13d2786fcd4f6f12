"""What can go wrong, said to the person at the bench: what happened, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit status of the ``hil`` command."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INCONCLUSIVE = 3
    ERROR = 4
    ABORTED_SAFE = 5
    UNSAFE = 6


class HilError(Exception):
    """Base of everything ``hil`` raises on purpose; ``status`` is the command's exit status."""

    status = ExitStatus.ERROR


def as_fault(error: Exception) -> HilError:
    """An error that nobody is there to hear, as one that whoever asks next can be told."""
    if isinstance(error, HilError):
        return error
    return HilError(f"an error inside hil: {type(error).__name__}: {error}")


class ConfigError(HilError):
    """A file or an argument is wrong. ``problems`` has one line each, all of them at once."""

    status = ExitStatus.USAGE

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DeviceError(HilError):
    """A device did not do what it must.

    ``device`` is its name in the bench file, ``remedy`` what the person at the bench can do.
    """

    def __init__(self, device: str, what: str, remedy: str) -> None:
        self.device, self.what, self.remedy = device, what, remedy
        super().__init__(f"{device}: {what}. {remedy.rstrip('.')}")


class RefusedError(DeviceError):
    """The device answered, and said no."""


class RunAborted(HilError):  # noqa: N818 - an abort is not an error
    """The run was stopped before its end, by a person or by a condition that never came true."""

    status = ExitStatus.ABORTED_SAFE


class SafetyTrip(RunAborted):
    """An interlock of the bench file ended the run."""


class RecordError(HilError):
    """A run folder cannot be written, or cannot be read back."""
