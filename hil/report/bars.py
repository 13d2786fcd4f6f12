"""A stacked bar of the delay chain: readable in black and white, for every part has its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hil.report import palette
from hil.report.svg import LETTER, WIDTH, document, label, line, ticks

_LEFT = 8.0
_ROOM_RIGHT = 210.0
"""For the words of the last part, which stand right of its line."""
_ROW = 17.0
_BAR = 26.0
_PAD = 10.0


class Part(NamedTuple):
    """A link of the chain."""

    key: str
    """Of ``palette.LINKS``; any other is drawn as an empty, dashed box."""
    name: str
    seconds: float


class _Box(NamedTuple):
    part: Part
    x: float
    width: float
    words: str

    @property
    def roomy(self) -> bool:
        return self.width > LETTER * len(self.words) + _PAD

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def stacked_bar(
    parts: Sequence[Part], total_s: float | None, length_s: float, title: str, key: str
) -> str:
    """Medians of the links side by side, to the scale of ``length_s``; SVG.

    A negative link (an EVSE that acts before it answers) cannot be stacked: it is named below.
    ``key`` is the picture's name within the page.
    """
    boxes = _boxes(parts, length_s)
    ladder = [box for box in boxes if not box.roomy]
    top = _ROW * len(ladder) + 4.0
    axis = top + _BAR + 6.0
    negative = [part for part in parts if part.seconds < 0.0]
    drawn = [
        *(_rectangle(box, top) for box in boxes),
        *_inside(boxes, top),
        *_ladder(ladder, top),
        *_axis(length_s, axis),
    ]
    if total_s is not None and total_s > 0.0:
        ends = max([box.x + box.width for box in boxes], default=_LEFT)
        drawn.extend(_total(total_s, _LEFT + total_s * _scale(length_s), ends, top))
    height = axis + 38.0
    if negative:
        drawn.append(label(_LEFT, height, f"not drawn, as negative: {_listed(negative)}"))
        height += _ROW
    told = f"Medians of the links: {_listed(parts)}."
    if total_s is not None:
        told += f" Median of the total: {_seconds(total_s)}."
    return document(height, title, drawn, told, key)


def _scale(length_s: float) -> float:
    return (WIDTH - _LEFT - _ROOM_RIGHT) / length_s


def _boxes(parts: Sequence[Part], length_s: float) -> list[_Box]:
    found = []
    at_s = 0.0
    whole_s = sum(max(part.seconds, 0.0) for part in parts)
    for part in parts:
        if part.seconds <= 0.0:
            continue
        words = f"{part.name} {_seconds(part.seconds)} ({100 * part.seconds / whole_s:.0f} %)"
        x, width = _LEFT + at_s * _scale(length_s), part.seconds * _scale(length_s)
        found.append(_Box(part, x, width, words))
        at_s += part.seconds
    return found


def _rectangle(box: _Box, top: float) -> str:
    fill = palette.LINKS.get(box.part.key, "#fff")
    dashes = "" if box.part.key in palette.LINKS else " stroke-dasharray='4 3'"
    where = f"x='{box.x:.1f}' y='{top:.1f}' width='{box.width:.1f}' height='{_BAR:g}'"
    return f"<rect {where} fill='{fill}' stroke='{palette.INK}'{dashes}/>"


def _inside(boxes: Sequence[_Box], top: float) -> Iterator[str]:
    for box in boxes:
        if box.roomy:
            yield label(box.middle, top + _BAR / 2 + 4.0, box.words, "middle")


def _ladder(boxes: Sequence[_Box], top: float) -> Iterator[str]:
    """Words above the narrow parts: the first stands highest, so that no line crosses them."""
    for place, box in enumerate(boxes):
        y = 12.0 + _ROW * place
        yield line(box.middle, y - 8.0, box.middle, top + 5.0, palette.INK)
        fits = box.middle + LETTER * len(box.words) < WIDTH
        yield label(box.middle + (4.0 if fits else -4.0), y, box.words, "start" if fits else "end")


def _axis(length_s: float, y: float) -> Iterator[str]:
    yield line(_LEFT, y, _LEFT + length_s * _scale(length_s), y, palette.INK)
    for seconds in ticks(0.0, length_s, 8):
        x = _LEFT + seconds * _scale(length_s)
        yield line(x, y, x, y + 4.0, palette.INK)
        yield label(x, y + 17.0, f"{seconds:g}", "middle")
    yield label(_LEFT + length_s * _scale(length_s) + 16.0, y + 17.0, "s, medians")


def _total(total_s: float, x: float, ends: float, top: float) -> Iterator[str]:
    """The median of the total, which need not be the sum of the medians."""
    bottom = top + _BAR + 6.0
    yield line(x, top - 3.0, x, bottom, palette.INK)
    yield f"<path d='M{x:.1f} {bottom:.1f}l-4 -7h8z'/>"
    words = f"median of the total {_seconds(total_s)}"
    yield label(max(x, ends) + 8.0, top + _BAR - 6.0, words)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if abs(seconds) < 0.1 else f"{seconds:.2f} s"


def _listed(parts: Sequence[Part]) -> str:
    return ", ".join(f"{part.name} {_seconds(part.seconds)}" for part in parts)
