"""Small static pictures, drawn by hand as SVG: for print, for readers without scripts, for docs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hil.errors import RecordError
from hil.report import palette
from hil.report.steps import instants, limits_w, power_axis, segments, window
from hil.report.svg import LETTER, document, label, line, ticks
from hil.report.traces import (
    Command,
    Curve,
    RunCurves,
    between,
    curves,
    held_between,
    refused_in,
    targets,
    thinned,
    watts_of,
)

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_LEFT, _RIGHT = 52.0, 748.0
_ROW = 17.0
"""Widths in pixels of the drawing's own coordinates."""

MOST_NUMBERED_STEPS = 40
_MOST_STEP_POINTS = 400
_MOST_RUN_POINTS = 1500


class _Frame(NamedTuple):
    """Where the curves stand, and which values its edges mean."""

    top: float
    bottom: float
    start_s: float
    end_s: float
    low_w: float
    high_w: float
    strip: float = 0.0
    """Height of the strip between the curves and the axis of time, for the names of the parts."""

    @property
    def axis(self) -> float:
        return self.bottom + self.strip

    def x(self, t: float) -> float:
        share = (t - self.start_s) / (self.end_s - self.start_s)
        return _LEFT + share * (_RIGHT - _LEFT)

    def y(self, watts: float) -> float:
        share = (watts - self.low_w) / (self.high_w - self.low_w)
        return self.bottom - share * (self.bottom - self.top)


def step_svg(record: Record, result: Mapping[str, Any], setpoint_number: int) -> str:
    """One step of a run with its instants, as a stand-alone SVG document.

    Raises RecordError if the run has no such setpoint, or if it was never sent.
    """
    steps = {step["setpoint"]: step for step in result["steps"]}
    step = steps.get(setpoint_number)
    if step is None:
        there = ", ".join(str(number) for number in steps) or "none"
        raise RecordError(f"the run has no setpoint {setpoint_number}; it has {there}")
    for target in targets(record.manifest):
        if target.name == step["target"]:
            definitions = result["limits"].get("definitions") or {}
            picture = step_picture(curves(record, result, target), step, definitions)
            if picture:
                return picture + "\n"
    raise RecordError(f"setpoint {setpoint_number} was never sent, so there is nothing to draw")


def step_picture(found: RunCurves, step: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """One step with its instants; empty if it was never sent."""
    view = window(step)
    if view is None:
        return ""
    marks = instants(step, definitions)
    measured = thinned(between(found.measured, view.start_s, view.end_s), _MOST_STEP_POINTS)
    requested = held_between(found.requested, view.start_s, view.end_s)
    refused = refused_in(found, step)
    low_w, high_w = limits_w([measured.y, requested.y, watts_of(refused)], step)
    top = _ROW * len(marks) + 12.0
    frame = _Frame(top, top + 210.0, view.start_s, view.end_s, low_w, high_w, strip=18.0)
    sent_s = marks[0].t
    words = (
        f"step {step['setpoint']} of {step['target']}: setpoint {step['value']:g} {step['unit']}"
    )
    parts = [
        *_segments(frame, step),
        *_axes(frame, sent_s, "time after the setpoint was sent, s"),
        *_levels(frame, step),
        _path(frame, _stairs(requested), palette.REQUESTED, "6 4"),
        _path(frame, measured, palette.MEASURED),
        *_crosses(frame, refused),
        *_ladder(frame, [(mark.t, mark.text) for mark in marks]),
        *_legend(frame.axis + 36.0, refused),
    ]
    return document(frame.axis + 46.0, words, parts)


def run_picture(found: RunCurves) -> str:
    """Requested against measured power over the whole run; empty if nothing was recorded."""
    if not found.measured.t.size and not found.requested.t.size:
        return ""
    measured = thinned(found.measured, _MOST_RUN_POINTS)
    low_w, high_w = limits_w([measured.y, found.requested.y, watts_of(found.refused)], {})
    frame = _Frame(22.0, 250.0, 0.0, max(found.end_s, 1.0), low_w, high_w)
    parts = [
        *_numbers(frame, found),
        *_crosses(frame, found.refused),
        *_axes(frame, 0.0, "time in the run, s"),
        _path(frame, _stairs(found.requested), palette.REQUESTED, "6 4"),
        _path(frame, measured, palette.MEASURED),
        *_legend(frame.axis + 36.0, found.refused),
    ]
    return document(frame.axis + 46.0, "requested and measured power over the run", parts)


def _path(frame: _Frame, curve: Curve, colour: str, dash: str = "") -> str:
    """The curve as one path that lifts the pen at a gap."""
    commands: list[str] = []
    pen = "M"
    for t, watts in zip(curve.t.tolist(), curve.y.tolist(), strict=True):
        if math.isfinite(watts):
            commands.append(f"{pen}{frame.x(t):.1f} {frame.y(watts):.1f}")
            pen = "L"
        else:
            pen = "M"
    dashes = f" stroke-dasharray='{dash}'" if dash else ""
    if not commands:
        return ""
    drawn = "".join(commands)
    return f"<path d='{drawn}' fill='none' stroke='{colour}' stroke-width='1.8'{dashes}/>"


def _stairs(curve: Curve) -> Curve:
    """A curve of held values with its corners."""
    t, y = np.repeat(curve.t, 2)[1:], np.repeat(curve.y, 2)[:-1]
    return Curve(t, y)


def _axes(frame: _Frame, zero_s: float, title: str) -> Iterator[str]:
    for kilowatts in ticks(frame.low_w / 1e3, frame.high_w / 1e3, 6):
        y = frame.y(1e3 * kilowatts)
        zero = kilowatts == 0.0 and frame.low_w < 0.0
        yield line(_LEFT, y, _RIGHT, y, palette.INK if zero else palette.FAINT)
        yield label(_LEFT - 6, y + 4, f"{kilowatts:g}", "end")
    for seconds in ticks(frame.start_s - zero_s, frame.end_s - zero_s, 12):
        x = frame.x(seconds + zero_s)
        yield line(x, frame.axis, x, frame.axis + 4, palette.INK)
        yield label(x, frame.axis + 17, f"{seconds:g}", "middle")
    yield line(_LEFT, frame.axis, _RIGHT, frame.axis, palette.INK)
    middle = (frame.top + frame.bottom) / 2
    turned = f"transform='rotate(-90 14 {middle:.1f})'"
    yield label(14, middle, power_axis(frame.low_w, frame.high_w), "middle", turned)
    yield label(_RIGHT, frame.axis + 36, title, "end")


def _ladder(frame: _Frame, marks: list[tuple[float, str]]) -> Iterator[str]:
    """Lines and labels of the instants: the earliest stands highest, so none crosses another."""
    for index, (t, words) in enumerate(marks):
        x, y = frame.x(t), 12.0 + _ROW * index
        after_s = t - marks[0][0]
        yield line(x, y - 9, x, frame.axis, "#555")
        yield label(x + 4, y, words if index == 0 else f"{words} {after_s:+.2f} s")


def _numbers(frame: _Frame, found: RunCurves) -> Iterator[str]:
    """The numbers of the setpoints on top, as long as they are few enough to be read."""
    commands = [*found.taken, *found.refused]
    if len(commands) <= MOST_NUMBERED_STEPS:
        for command in commands:
            yield label(frame.x(command.t), 14, str(command.number), "middle")


def _crosses(frame: _Frame, refused: Sequence[Command]) -> Iterator[str]:
    """A cross for each setpoint that was not taken, at the power that it asked for."""
    for command in refused:
        if math.isfinite(command.watts):
            yield _cross(frame.x(command.t), frame.y(command.watts))


def _cross(x: float, y: float) -> str:
    arms = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
    return f"<path class='refused' d='{arms}' stroke='{palette.REQUESTED}' stroke-width='1.8'/>"


def _segments(frame: _Frame, step: Mapping[str, Any]) -> Iterator[str]:
    for part in segments(step):
        x, width = frame.x(part.start_s), frame.x(part.end_s) - frame.x(part.start_s)
        if width <= 0:
            continue
        fill = palette.SEGMENTS[part.kind]
        where = f"x='{x:.1f}' y='{frame.top:.1f}' width='{width:.1f}'"
        height = frame.axis - frame.top
        yield f"<rect {where} height='{height:.1f}' fill='{fill}' opacity='0.2'/>"
        if width > LETTER * len(part.text) + 6:
            yield label(x + width / 2, frame.axis - 5, part.text, "middle")


def _levels(frame: _Frame, step: Mapping[str, Any]) -> Iterator[str]:
    departed_s = (step.get("instants_s") or {}).get("departed") or frame.end_s
    for key, start_s, end_s in (
        ("level_before_w", frame.start_s, departed_s),
        ("level_after_w", departed_s, frame.end_s),
    ):
        level_w = step.get(key)
        if level_w is None:
            continue
        y = frame.y(level_w)
        yield line(frame.x(start_s), y, frame.x(end_s), y, palette.MEASURED, "2 3")


def _legend(y: float, refused: Sequence[Command]) -> Iterator[str]:
    yield line(_LEFT, y - 4, _LEFT + 28, y - 4, palette.MEASURED)
    yield label(_LEFT + 34, y, "measured power")
    yield line(_LEFT + 150, y - 4, _LEFT + 178, y - 4, palette.REQUESTED, "6 4")
    yield label(_LEFT + 184, y, "requested power")
    if refused:
        yield _cross(_LEFT + 322, y - 4)
        yield label(_LEFT + 334, y, "requested, not taken")
