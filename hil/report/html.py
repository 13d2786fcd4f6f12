"""The report as one HTML file: interactive, self-contained, the same without a network."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from hil.errors import RecordError
from hil.record.run_folder import Record, write_whole
from hil.report import (
    attributes,
    budget,
    decision,
    figures,
    palette,
    plots,
    sections,
    services,
    words,
)
from hil.report.by_hand import hand_rows
from hil.report.chain import chain_tables
from hil.report.claims import COLUMNS, claim_rows
from hil.report.supplies import supply_table
from hil.report.traces import RunCurves, Target, curves, targets


def write_report(record: Record, result: Mapping[str, Any], path: Path) -> None:
    """Write the report of a run to ``path``. Raises RecordError if it cannot be written."""
    write_whole(path, render(record, result))


def render(record: Record, result: Mapping[str, Any]) -> str:
    """The whole page."""
    plotly_js, own_js = _plotly_js(), _resource("report.js")
    template = _environment().get_template("report.html.j2")
    return template.render(
        policy=_policy(plotly_js, own_js),
        plotly_js=Markup(plotly_js),
        own_js=Markup(own_js),
        css=Markup(_resource("report.css")),
        run_id_css=Markup(_css_text(str(result["run"]))),
        **_content(record, result),
    )


class _EvseView(NamedTuple):
    target: Target
    figure: str
    picture: Markup
    conditions: Sequence[sections.Fact]


class _StepView(NamedTuple):
    row: sections.StepRow
    facts: Sequence[sections.Fact]
    figure: str | None
    picture: Markup


def _content(record: Record, result: Mapping[str, Any]) -> dict[str, Any]:
    manifest = record.manifest
    drawn = {t.name: (t, curves(record, result, t)) for t in targets(manifest)}
    findings = result.get("findings") or []
    devices = manifest.get("devices") or {}
    practical, *further = attributes.groups(result)
    return {
        "result": result,
        "started": (manifest.get("clock") or {}).get("started_utc"),
        "files": manifest.get("files") or {},
        "verdict": words.verdict(result["verdict"]),
        "virtual": sections.virtual_words(result, manifest),
        "banners": list(sections.banners(result, manifest)),
        "decision": decision.decision_facts(result),
        "blocked": (result.get("decision") or {}).get("blocked"),
        "meters": decision.meter_facts(result, manifest),
        "practical": practical,
        "further": further,
        "budgets": {one.anchor: one for one in budget.budgets(result)},
        "no_limit": attributes.NO_LIMIT,
        "services": services.services(result),
        "supplies": supply_table(result),
        "by_hand": hand_rows(result),
        "chains": [chain._replace(picture=Markup(chain.picture)) for chain in chain_tables(result)],
        "claims": claim_rows(result),
        "claim_columns": COLUMNS,
        "several": len(drawn) > 1,
        "evses": [_evse_view(record, *pair) for pair in drawn.values()],
        "steps": _step_views(result, drawn),
        "findings": findings[: sections.MOST_FINDINGS],
        "findings_left_out": max(len(findings) - sections.MOST_FINDINGS, 0),
        "devices": {name: (d, sections.device_facts(d)) for name, d in devices.items()},
        "clock": sections.clock_facts(result, manifest),
        "definitions": sections.definition_facts(result),
        "most_numbered_steps": plots.MOST_NUMBERED_STEPS,
        "palette": palette,
        "words": words,
        "uncertainty_covers": decision.covers(result),
        "not_a_certificate": words.NOT_A_CERTIFICATE,
    }


def _evse_view(record: Record, target: Target, found: RunCurves) -> _EvseView:
    return _EvseView(
        target,
        _json(figures.overview(found)),
        Markup(plots.run_picture(found)),
        sections.condition_facts(record, target),
    )


def _step_views(
    result: Mapping[str, Any], drawn: Mapping[str, tuple[Target, RunCurves]]
) -> list[_StepView]:
    rated_w = {n: t.rating["power_w"] for n, (t, _) in drawn.items() if t.rating.get("power_w")}
    definitions = result["limits"].get("definitions") or {}
    views = []
    for step, row in zip(result["steps"], sections.step_rows(result, rated_w), strict=True):
        facts = sections.step_facts(step, row)
        figure: figures.Figure | None = None
        picture = ""
        if step["target"] in drawn:
            target, found = drawn[step["target"]]
            figure = figures.zoom(found, step, target, definitions)
            picture = plots.step_picture(found, step, definitions)
        views.append(_StepView(row, facts, _json(figure) if figure else None, Markup(picture)))
    return views


def _json(figure: Any) -> Markup:
    """JSON that can stand in a script element: no character of it can end the element."""
    text = json.dumps(figure, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _resource(name: str) -> str:
    return files("hil.report").joinpath(name).read_text(encoding="utf-8")


def _plotly_js() -> str:
    """plotly.js as plotly ships it; importing the package for it would take 0.3 s."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise RecordError("plotly is not installed, so no report can be drawn; install hil again")
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    try:
        return script.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{script.name} of plotly cannot be read: {error.strerror}") from None


def _policy(*scripts: str) -> str:
    """A content security policy: these scripts and no other, and nothing from any network."""
    hashes = " ".join(
        f"'sha256-{b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _css_text(text: str) -> str:
    """Text for a CSS string: everything but letters and digits as a code point."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"\\{ord(match[0]):x} ", text)
