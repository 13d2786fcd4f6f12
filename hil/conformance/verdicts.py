"""Verdicts of cases and of the layers that each is judged in. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT_APPLICABLE", "ERROR"]

_WORST_LAST: tuple[Verdict, ...] = ("NOT_APPLICABLE", "PASS", "INCONCLUSIVE", "FAIL", "ERROR")
"""The order of OpenTAP: a fault of the bench is graver than a failed station: it may hide one."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gravest of some; NOT_APPLICABLE of none."""
    return max(verdicts, key=_WORST_LAST.index, default="NOT_APPLICABLE")


@dataclass
class Layer:
    """One of the layers of a case: what was said, what was promised, what flowed."""

    checks: list[dict[str, Any]] = field(default_factory=list)
    """Each with its ``verdict`` and, unless it passed, its ``reason``."""

    def add(self, verdict: Verdict, reason: str = "", **facts: Any) -> None:
        """Note the outcome of one check."""
        self.checks.append({"verdict": verdict, **({"reason": reason} if reason else {}), **facts})

    @property
    def verdict(self) -> Verdict:
        """Its worst check."""
        return worst(check["verdict"] for check in self.checks)

    def reasons(self, verdict: Verdict) -> list[str]:
        """Why its checks came to this verdict."""
        return [c["reason"] for c in self.checks if c["verdict"] == verdict and "reason" in c]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"verdict": self.verdict, "checks": self.checks}


@dataclass
class Outcome:
    """What became of one case."""

    case: str
    version: str
    oracle: str
    reply: Layer = field(default_factory=Layer)
    composite: Layer = field(default_factory=Layer)
    current: Layer = field(default_factory=Layer)
    other: tuple[Verdict, str] | None = None
    """Instead of the layers: why it was not played, or not to its end."""

    @property
    def verdict(self) -> Verdict:
        """The worst of its layers."""
        layers = [layer.verdict for layer in (self.reply, self.composite, self.current)]
        return worst([*layers, *([self.other[0]] if self.other else [])])

    @property
    def reason(self) -> str:
        """Why it did not pass, in words; empty if it did."""
        if self.other is not None and self.other[0] == self.verdict:
            return self.other[1]
        if self.verdict == "PASS":
            return ""
        named = {"reply": self.reply, "composite": self.composite, "current": self.current}
        found = [
            f"{name}: {why}" for name, layer in named.items() for why in layer.reasons(self.verdict)
        ]
        return "; ".join(dict.fromkeys(found))

    def facts(self) -> dict[str, Any]:
        """For JSON; the keys are an interface."""
        return {
            "case": self.case,
            "version": self.version,
            "verdict": self.verdict,
            "reason": self.reason,
            "reply": self.reply.facts(),
            "composite": {"oracle": self.oracle, **self.composite.facts()},
            "current": self.current.facts(),
        }
