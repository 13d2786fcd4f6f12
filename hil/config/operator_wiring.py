"""What a bench file says about its operator, and that cannot be."""

from __future__ import annotations

from urllib.parse import urlsplit

from hil.config.base import on_loopback
from hil.config.bench import BenchConfig
from hil.config.source import Source


def operator_problems(config: BenchConfig, source: Source) -> list[str]:
    """A virtual operator without a face to read, and the other way round; a console nowhere."""
    virtual = config.virtual.operator if config.virtual else None
    console = config.operator.console
    by_hand = config.by_hand()
    twins = set(config.virtual_names())
    problems = []
    if virtual is None and twins & set(by_hand):
        name = next(name for name in by_hand if name in twins)
        words = f"'{name}' is virtual and used by hand: name who does that, such as "
        words += "'operator: steady-hand'"
        problems.append(source.problem(("virtual",), words, at_key=True))
    if virtual is not None:
        place = ("virtual", "operator")
        real = [name for name in by_hand if name not in twins]
        if real:
            words = f"a virtual operator cannot read or set '{real[0]}', which is no twin"
            problems.append(source.problem(place, words))
        if console is None or not on_loopback(console):
            words = "a virtual operator needs 'console: tcp://127.0.0.1:0' under 'operator'"
            problems.append(source.problem(place, words))
    elif console is not None and not urlsplit(console).port:
        words = f"{console} needs a port at which the operator's terminal waits"
        problems.append(source.problem(("operator", "console"), words))
    return problems
