"""Still pictures as SVG: the sheet, its words and lines, and round numbers for its axes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from hil.report import palette

WIDTH = 760.0
LETTER = 6.3
"""Widths in pixels of the drawing's own coordinates; a letter's is an estimate for 12 px text."""

_SANS = "font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif' font-size='12'"


def document(height: float, title: str, parts: Iterable[str], told: str = "", key: str = "") -> str:
    """A whole picture. ``told`` is what it shows, in words; ``key`` names it within its page."""
    names, heading, description = "", f"<title>{escape(title)}</title>", ""
    if told:
        names = f" aria-labelledby='{key}-title {key}-told'"
        heading = f"<title id='{key}-title'>{escape(title)}</title>"
        description = f"<desc id='{key}-told'>{escape(told)}</desc>"
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH:g} {height:g}' "
        f"role='img'{names} {_SANS} fill='{palette.INK}'>"
    )
    paper = f"<rect width='{WIDTH:g}' height='{height:g}' fill='#fff'/>"
    return "\n".join(filter(None, [head, heading, description, paper, *parts, "</svg>"]))


def label(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> str:
    """A line of words; ``more`` are further attributes."""
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {more}>{escape(words)}</text>"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    """A straight line."""
    dashes = f" stroke-dasharray='{dash}'" if dash else ""
    ends = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line {ends} stroke='{colour}'{dashes}/>"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(s * power for s in (1.0, 2.0, 5.0, 10.0) if s * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
