"""The interactive figures, as the plain data that plotly.js draws; powers in kW, times in s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from hil.report import palette, words
from hil.report.plots import MOST_NUMBERED_STEPS
from hil.report.steps import (
    Window,
    around,
    instants,
    limits_w,
    power_axis,
    segments,
    watts_per_ampere,
    window,
)
from hil.report.traces import (
    Command,
    Curve,
    Floats,
    RunCurves,
    Target,
    between,
    curve_of,
    held_between,
    refused_in,
    thinned,
    watts_of,
)

Figure = dict[str, Any]

MOST_POINTS = 5000
MOST_ZOOM_POINTS = 2000

_FONT = {"family": "system-ui, sans-serif", "size": 12, "color": palette.INK}
_AXIS: Figure = {
    "gridcolor": "#ececec",
    "zeroline": False,
    "linecolor": "#999",
    "ticks": "outside",
}
_MARK_ROWS = (0.325, 0.298, 0.271)
_LETTER = 0.006
"""Width of a letter of a mark, as a share of the plot's."""
_LADDER = 0.70
"""Share of a zoom's height that belongs to the curves; above it stand the labels of instants."""


def overview(curves: RunCurves) -> Figure:
    """Setpoint against measured power over the whole run, and below it the pilot's offer."""
    traces = [
        _requested(curves.requested, [escape(command.text) for command in curves.taken]),
        _offered(curves.offered),
        _current("setpoint, A", curves.setpoint_a, palette.REQUESTED, 1.6, dash="dash"),
        _line("measured", thinned(curves.measured, MOST_POINTS), palette.MEASURED, 1.3),
        _claimed(thinned(curves.claimed, MOST_POINTS), "lines+markers"),
        _suspect(curves.suspect),
        _refused(curves.refused),
    ]
    shown_w = limits_w([curves.measured.y, curves.requested.y, watts_of(curves.refused)], {})
    layout = {
        "height": 520,
        "margin": {"l": 70, "r": 24, "t": 66, "b": 46},
        "font": _FONT,
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 0, "y": 1.08, "xanchor": "left", "yanchor": "bottom"},
        "xaxis": {**_AXIS, "title": _title("time in the run, s"), "anchor": "y2"},
        "yaxis": {**_power_axis(*shown_w), "domain": [0.34, 1.0]},
        "yaxis2": {**_AXIS, "title": _title("A per phase"), "domain": [0.0, 0.26]},
        "plot_bgcolor": "#fff",
        "annotations": [*_step_numbers(curves), *_marks(curves)],
        "shapes": [_vertical(mark.t, 0.0, 1.0, dash="dot") for mark in curves.marks],
    }
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}


def zoom(
    curves: RunCurves, step: Mapping[str, Any], target: Target, definitions: Mapping[str, Any]
) -> Figure | None:
    """One step with its instants marked; ``None`` if it was never sent."""
    view = window(step)
    if view is None:
        return None
    traces = _zoom_traces(curves, step, view)
    ratio = watts_per_ampere(step, target.rating)
    if ratio is None:
        traces = [trace for trace in traces if trace.get("yaxis") != "y2"]
    low_w, high_w = _zoom_limits(curves, step, view, ratio)
    lines, labels = _ladder(step, definitions)
    level_lines, level_labels = _levels(step, view)
    layout = {
        "height": 400,
        "margin": {"l": 76, "r": 70, "t": 6, "b": 44},
        "font": _FONT,
        "showlegend": False,
        "hovermode": "x unified",
        "xaxis": {**_AXIS, "title": _title("time in the run, s"), "range": view[:2]},
        "yaxis": {
            **_power_axis(low_w, high_w),
            "domain": [0.0, _LADDER],
            "range": [low_w / 1e3, high_w / 1e3],
        },
        "plot_bgcolor": "#fff",
        "annotations": labels + level_labels,
        "shapes": _segments(step) + _bands(step) + level_lines + lines,
    }
    if ratio is not None:
        layout["yaxis2"] = _offer_axis(low_w / ratio, high_w / ratio)
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}


def _zoom_traces(curves: RunCurves, step: Mapping[str, Any], view: Window) -> list[Figure]:
    hold = (view.hold_start_s, view.hold_end_s)
    measured = around(curves.measured, view, MOST_ZOOM_POINTS)
    return [
        _requested(held_between(curves.requested, *hold), ()),
        _offered(held_between(curves.offered, *hold)),
        _line("measured", measured, palette.MEASURED, 1.6, markers=True),
        _claimed(between(curves.claimed, *hold), "markers"),
        _suspect(between(curves.suspect, *hold)),
        _refused(refused_in(curves, step)),
    ]


def _zoom_limits(
    curves: RunCurves, step: Mapping[str, Any], view: Window, ratio: float | None
) -> tuple[float, float]:
    shown_w = [
        between(curves.measured, view.start_s, view.end_s).y,
        held_between(curves.requested, view.start_s, view.end_s).y,
        watts_of(refused_in(curves, step)),
    ]
    if ratio is not None:
        shown_w.append(ratio * held_between(curves.offered, view.start_s, view.end_s).y)
    return limits_w(shown_w, step)


def _power_axis(low_w: float, high_w: float) -> Figure:
    """The axis of the power, with a line at nothing where power is fed back."""
    title = power_axis(low_w, high_w)
    axis = {**_AXIS, "title": _title(title)}
    if title == words.SIGNED_POWER_AXIS:
        axis |= {"zeroline": True, "zerolinecolor": palette.INK, "zerolinewidth": 1.5}
    return axis


def _offer_axis(low_a: float, high_a: float) -> Figure:
    """The axis of the offered current, so scaled that an offer that is used up meets its power."""
    return {
        **_AXIS,
        "title": _title("offered, A per phase"),
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "tickmode": "auto",
        "range": [low_a, high_a],
    }


def _title(text: str) -> Figure:
    return {"text": text, "standoff": 8}


def _numbers(values: Floats, decimals: int) -> list[float | None]:
    rounded = np.round(values, decimals)
    plain: list[float | None] = rounded.tolist()
    if np.isfinite(rounded).all():
        return plain
    return [value if ok else None for value, ok in zip(plain, np.isfinite(rounded), strict=True)]


def _trace(name: str, curve: Curve, per: float, **more: Any) -> Figure:
    return {
        "type": "scatter",
        "name": name,
        "x": _numbers(curve.t, 4),
        "y": _numbers(curve.y / per, 4),
        **more,
    }


def _line(name: str, curve: Curve, colour: str, width: float, *, markers: bool = False) -> Figure:
    shown = {"mode": "lines+markers", "marker": {"size": 3.5}} if markers else {"mode": "lines"}
    line = {"color": colour, "width": width}
    hover = "%{y:.3f} kW"
    return _trace(name, curve, 1e3, line=line, hovertemplate=hover, connectgaps=False, **shown)


def _current(
    name: str, curve: Curve, colour: str, width: float, *, dash: str = "solid", opacity: float = 1.0
) -> Figure:
    line = {"color": colour, "width": width, "shape": "hv", "dash": dash}
    more: Figure = {"mode": "lines", "line": line, "yaxis": "y2", "opacity": opacity}
    return _trace(name, curve, 1.0, hovertemplate="%{y:.2f} A", **more)


def _offered(curve: Curve) -> Figure:
    """A broad pale line, so that the setpoint it should follow shows through."""
    return _current("pilot offers, A", curve, palette.OFFERED, 4.5, opacity=0.45)


def _requested(curve: Curve, words: Sequence[str]) -> Figure:
    line = {"color": palette.REQUESTED, "width": 1.6, "shape": "hv", "dash": "dash"}
    more: Figure = {"mode": "lines", "line": line, "hovertemplate": "%{y:.3f} kW"}
    if words:
        more["text"] = [*words, *words[-1:]][: curve.t.size]
        more["hovertemplate"] = "%{y:.3f} kW (%{text})"
    return _trace("requested", curve, 1e3, **more)


def _refused(commands: Sequence[Command]) -> Figure:
    marker = {"symbol": "x", "size": 10, "color": palette.REQUESTED}
    more: Figure = {"mode": "markers", "marker": marker, "text": [escape(c.text) for c in commands]}
    more["hovertemplate"] = "%{y:.3f} kW (%{text})"
    return _trace("requested, not taken", curve_of([(c.t, c.watts) for c in commands]), 1e3, **more)


def _claimed(curve: Curve, mode: str) -> Figure:
    line = {"color": palette.CLAIMED, "width": 1, "dash": "dot"}
    marker = {"symbol": "circle-open", "size": 5, "color": palette.CLAIMED}
    more: Figure = {"mode": mode, "line": line, "marker": marker, "opacity": 0.7}
    more["hovertemplate"] = "%{y:.3f} kW"
    return _trace("the charger's own claim", curve, 1e3, **more)


def _suspect(curve: Curve) -> Figure:
    marker = {"symbol": "diamond-open", "size": 8, "color": palette.INK}
    return _trace(
        "suspect reading", thinned(curve, MOST_POINTS), 1e3, mode="markers", marker=marker
    )


def _step_numbers(curves: RunCurves) -> list[Figure]:
    if len(curves.taken) + len(curves.refused) > MOST_NUMBERED_STEPS:
        return []
    return [
        _label(command.t, 1.0, str(command.number), yanchor="bottom")
        for command in (*curves.taken, *curves.refused)
    ]


def _marks(curves: RunCurves) -> list[Figure]:
    """Their words stand between the two plots, each in the first row that is free there."""
    labels: list[Figure] = []
    free_s = [0.0] * len(_MARK_ROWS)
    for mark in curves.marks:
        row = next((n for n, t in enumerate(free_s) if t <= mark.t), free_s.index(min(free_s)))
        free_s[row] = mark.t + _LETTER * len(mark.text) * curves.end_s
        labels.append(_label(mark.t, _MARK_ROWS[row], mark.text, xanchor="left", yanchor="middle"))
    return labels


def _label(t: float, y: float, text: str, **more: Any) -> Figure:
    return {
        "x": round(t, 4),
        "y": y,
        "xref": "x",
        "yref": "paper",
        "text": text,
        "showarrow": False,
        "font": {"size": 11, "color": "#444"},
        **more,
    }


def _vertical(t: float, low: float, high: float, dash: str = "solid") -> Figure:
    line = {"color": "#555", "width": 1, "dash": dash}
    at = round(t, 4)
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": at,
        "x1": at,
        "y0": low,
        "y1": high,
        "line": line,
    }


def _ladder(
    step: Mapping[str, Any], definitions: Mapping[str, Any]
) -> tuple[list[Figure], list[Figure]]:
    """Lines and labels of the instants: the earliest stands highest, so none crosses another."""
    marks = instants(step, definitions)
    row = (1.0 - _LADDER) / max(len(marks), 1)
    shapes, labels = [], []
    for index, mark in enumerate(marks):
        height = 1.0 - row * (index + 0.5)
        after_s = mark.t - marks[0].t
        text = mark.text if index == 0 else f"{mark.text} {after_s:+.2f} s"
        shapes.append(_vertical(mark.t, 0.0, height))
        labels.append(_label(mark.t, height, text, xanchor="left", yanchor="middle", xshift=2))
    return shapes, labels


def _segments(step: Mapping[str, Any]) -> list[Figure]:
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": round(part.start_s, 4),
            "x1": round(part.end_s, 4),
            "y0": 0.0,
            "y1": _LADDER,
            "fillcolor": palette.SEGMENTS[part.kind],
            "opacity": 0.16,
            "line": {"width": 0},
            "layer": "below",
        }
        for part in segments(step)
        if part.end_s > part.start_s
    ]


def _bands(step: Mapping[str, Any]) -> list[Figure]:
    """The bands of departure and settling, where the result tells them."""
    found = []
    for level_key, band_key in (
        ("level_before_w", "depart_band_w"),
        ("level_after_w", "settle_band_w"),
    ):
        level_w, half_w = step.get(level_key), step.get(band_key)
        if level_w is None or half_w is None:
            continue
        found.append(
            {
                "type": "rect",
                "xref": "paper",
                "yref": "y",
                "x0": 0,
                "x1": 1,
                "y0": (level_w - half_w) / 1e3,
                "y1": (level_w + half_w) / 1e3,
                "fillcolor": palette.MEASURED,
                "opacity": 0.10,
                "line": {"width": 0},
                "layer": "below",
            }
        )
    return found


def _levels(step: Mapping[str, Any], view: Window) -> tuple[list[Figure], list[Figure]]:
    """The levels before and after as thin lines, each named at its own end of the picture.

    The names stand below their lines: a car seldom draws more than what is requested, so the
    lines of the request and of the offer run above.
    """
    known = step.get("instants_s") or {}
    turn_s = known.get("departed") or view.end_s
    before_w, after_w = step.get("level_before_w"), step.get("level_after_w")
    shapes, labels = [], []
    for text, level_w, start_s, end_s, end in (
        ("before", before_w, view.hold_start_s, turn_s, "left"),
        ("after", after_w, turn_s, view.hold_end_s, "right"),
    ):
        if level_w is None:
            continue
        level_kw = round(level_w / 1e3, 4)
        at = {"x0": round(start_s, 4), "x1": round(end_s, 4), "y0": level_kw, "y1": level_kw}
        line = {"color": palette.MEASURED, "width": 1, "dash": "dot"}
        shapes.append({"type": "line", "xref": "x", "yref": "y", **at, "line": line})
        name = f"{text} {level_kw:.3f} kW"
        label = _label(0.0, level_kw, name, xanchor=end, yanchor="top")
        labels.append({**label, "x": 0 if end == "left" else 1, "xref": "paper", "yref": "y"})
    return shapes, labels
