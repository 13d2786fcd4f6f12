"""The HTML report: what it must say, what it must never load, and that every picture is there."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require_tool
from hypothesis import given
from hypothesis import strategies as st
from report_contract import full
from report_page import Page, page
from report_stand_in import Run, changed, finding, practical_run, series_of

from hil.errors import RecordError
from hil.quantities import Event, EventKind, Phase, Quantity
from hil.report import figures
from hil.report.html import write_report
from hil.report.plots import step_svg
from hil.report.rounding import exact, rounded
from hil.report.sections import banners
from hil.report.steps import instants, window
from hil.report.svg import ticks
from hil.report.traces import Curve, curves, decimate, held_between, targets, thinned


@pytest.fixture(scope="module")
def run() -> Run:
    return practical_run((6, 16, 6, 10, 32, 8), rejected=4)


@pytest.fixture(scope="module")
def shown(run: Run) -> Page:
    return page(run)


def test_nothing_is_loaded_from_anywhere(shown: Page) -> None:
    """A report is opened offline, years later: an address in any tag or style breaks it then."""
    loading = ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background")
    for tag, attributes in shown.tags:
        for name in loading:
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
        assert "url(" not in (attributes.get("style") or "")
        if (attributes.get("http-equiv") or "").lower() != "content-security-policy":
            assert "http-equiv" not in attributes
    for style in shown.texts["style"]:
        assert "url(" not in style
        assert "@import" not in style
        assert "http" not in style
    plotly, own = shown.texts["script"]
    assert len(plotly) > 1_000_000
    assert "http" not in own


def test_the_browser_is_told_to_run_these_two_scripts_and_no_other(shown: Page) -> None:
    policy = next(
        attributes["content"] for attributes in shown.named("meta") if "http-equiv" in attributes
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy
    scripts = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    hashes = [
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in shown.texts["script"]
    ]
    assert scripts.split()[1:] == hashes


def test_a_virtual_run_says_so_first_and_in_every_section(shown: Page) -> None:
    assert shown.visible.index("Virtual lab: no real charger") < shown.visible.index(
        "decision rule"
    )
    assert "Virtual: dut, reference, vehicle." in shown.visible
    headings = shown.texts["h2"]
    assert len(headings) >= 9
    assert all("no real charger was measured" in heading for heading in headings)
    assert "@top-right" in shown.texts["style"][0], "the head of every printed page"


def test_a_real_run_says_nothing_of_virtual() -> None:
    real = practical_run((6, 16), virtual=False)
    real.record.manifest["devices"]["reference"]["identity"]["details"] = {}
    real.record.manifest["devices"]["dut"]["identity"] = {"description": "a charger"}
    real.record.manifest["bench"] = "lab-2"
    shown = page(changed(real, bench="lab-2"))
    assert "virtual" not in shown.visible.lower()
    assert "@top-right" not in shown.texts["style"][0]
    assert shown.classes("tag") == 0


def test_a_partly_virtual_run_does_not_deny_the_real_charger() -> None:
    run = practical_run((6, 16), virtual=False)
    run.record.manifest["devices"]["reference"]["virtual"] = True
    shown = page(changed(run, virtual=True, virtual_devices=["reference"]))
    assert "no real charger" not in shown.visible
    assert "partly virtual" in shown.visible
    assert "Virtual: reference." in shown.visible


@pytest.mark.parametrize(
    ("state", "words"),
    [("aborted", "was aborted"), ("failed", "run failed"), ("open", "never closed")],
)
def test_a_run_that_did_not_end_as_planned_says_so(run: Run, state: str, words: str) -> None:
    broken = changed(run, state=state)
    broken.record.manifest["detail"] = "Ctrl-C at the bench"
    shown = page(broken)
    assert words in shown.visible
    assert "Ctrl-C at the bench" in shown.visible
    assert words not in page(run).visible


def test_an_aborted_run_says_how_it_was_left(run: Run) -> None:
    manifest = {
        **run.record.manifest,
        "detail": "stopped from the keyboard (Ctrl-C)",
        "safe_state": {"confirmed": True, "detail": "confirmed by measurement after 0.3 s"},
    }
    (banner, *_) = banners({**run.result, "state": "aborted"}, manifest)
    assert banner.text == (
        "stopped from the keyboard (Ctrl-C). Safe state: confirmed by measurement after 0.3 s."
    )


def test_a_bench_that_never_opened_was_never_unsafe(run: Run) -> None:
    nothing = {"confirmed": None, "detail": "no device was opened"}
    manifest = {**run.record.manifest, "safe_state": nothing}
    titles = [banner.title for banner in banners({**run.result, "state": "failed"}, manifest)]
    assert not any("not confirmed" in title for title in titles)


def test_an_unconfirmed_safe_state_and_an_incomplete_record_are_alarms(run: Run) -> None:
    broken = changed(run, incomplete=True)
    broken.record.manifest["safe_state"] = {"confirmed": False, "detail": "dut did not answer"}
    visible = page(broken).visible
    assert "The safe state was not confirmed" in visible
    assert "dut did not answer" in visible
    assert "The record is incomplete" in visible


HOSTILE = "</script><script>alert(1)</script><img src=http://x.invalid onerror='alert(2)'>\"&<!--"


def spoiled(value: Any) -> Any:
    """Every text in it replaced, but for the names of EVSEs and of comparisons."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list):
        return [spoiled(item) for item in value]
    if isinstance(value, dict):
        return {k: v if k == "target" else spoiled(v) for k, v in value.items()}
    return value


def hostile(run: Run) -> Run:
    """The run with every text that a device or a file may have written replaced by HTML."""
    result: dict[str, Any] = changed(run).result
    result["findings"] = [finding(1.0, HOSTILE, HOSTILE, HOSTILE, HOSTILE)]
    for key in ("verdict_reason", "decision_rule", "scenario", "bench", "run"):
        result[key] = HOSTILE
    result["limits"] = {"name": HOSTILE, "description": HOSTILE, "definitions": {HOSTILE: HOSTILE}}
    for attribute in result["attributes"]:
        for key in ("name", "unit", "reason", "definition", "limit_source", "statistic", "verdict"):
            attribute[key] = HOSTILE
        attribute["limit"] = 1.0
        attribute["group"] = HOSTILE
        for term in attribute["uncertainty_terms"]:
            term.update(name=HOSTILE, kind=HOSTILE, distribution=HOSTILE)
    result["decision"] = dict.fromkeys(("rule", "words", "risk"), HOSTILE)
    result["decision"].update(certifying=True, blocked=[HOSTILE])
    for key in ("chain", "services", "meters"):
        result[key] = spoiled(result.get(key) or ())
    for step in result["steps"]:
        step["reason"] = step["outcome"] = HOSTILE
    record = changed(run).record
    record.manifest["files"] = {HOSTILE: HOSTILE}
    record.manifest["libraries"] = {HOSTILE: HOSTILE}
    for device in record.manifest["devices"].values():
        device["identity"] = {"description": HOSTILE, "details": {HOSTILE: HOSTILE}}
        device["driver"] = HOSTILE
    result["virtual_devices"] = [HOSTILE]
    record.events = [
        event._replace(data={**event.data, "unit": HOSTILE}) if "unit" in event.data else event
        for event in record.events
    ]
    record.manifest["detail"], result["state"] = HOSTILE, "failed"
    return Run(record, result)


def test_what_devices_say_is_text_and_never_html(run: Run) -> None:
    told = full(run)
    shown, innocent = page(hostile(told)), page(told)
    assert len(shown.texts["script"]) == 2
    assert len(shown.named("script")) == len(innocent.named("script"))
    assert not shown.named("img")
    assert not [
        attributes
        for _, attributes in shown.tags
        if any(name.startswith("on") for name in attributes)
    ]
    assert shown.visible.count("<img src=http://x.invalid") > 150
    for heading in ("Grid services", "Delay chain", "Further figures"):
        assert any(heading in text for text in shown.texts["h2"])
    assert "x.invalid" not in shown.texts["style"][0]
    hover = next(t for t in drawn(hostile(run))[0]["data"] if t["name"] == "requested")["text"]
    assert "x.invalid" in hover[0]
    assert "<" not in hover[0], "plotly.js would make links and markup of it"


def test_the_data_of_a_figure_cannot_end_its_script(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "overview", lambda _: {"layout": {"title": HOSTILE}})
    shown = page(run)
    assert len(shown.texts["script"]) == 2
    data = json.loads(shown.texts["script application/json"][0])
    assert data["layout"]["title"] == HOSTILE


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
)
def test_rounding_keeps_two_digits_of_the_uncertainty_and_its_place(
    value: float, expanded: float
) -> None:
    shown = rounded(value, expanded)
    assert shown.uncertainty is not None
    assert "e" not in str(shown).lower()
    spread = Decimal(shown.uncertainty)
    exponent = spread.adjusted() - 1
    unit = Decimal((0, (1,), exponent))
    assert abs(spread - Decimal(repr(expanded))) <= unit / 2
    assert spread % unit == 0
    assert 10 <= spread / unit < 100
    assert abs(Decimal(shown.value) - Decimal(repr(value))) <= unit / 2
    decimals = [len(text.partition(".")[2]) for text in (shown.value, shown.uncertainty)]
    assert decimals == [max(-exponent, 0)] * 2


@pytest.mark.parametrize(
    ("value", "expanded", "text"),
    [
        (1.90067, 0.0829, "1.901 ± 0.083"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (21643.7, 1234.0, "21600 ± 1200"),
        (-0.0004, 0.05, "0.000 ± 0.050"),
        (1234.567, None, "1235"),
        (0.0012345, None, "0.001235"),
        (3.0, 0.0, "3.000 ± 0"),
        (float("nan"), 1.0, "unknown"),
        (2.5, float("inf"), "2.500"),
    ],
)
def test_rounding_by_example(value: float, expanded: float | None, text: str) -> None:
    assert str(rounded(value, expanded)) == text


def test_a_deviation_shows_its_sign() -> None:
    assert str(rounded(12.3, 5.0, signed=True)) == "+12.3 ± 5.0"
    assert str(rounded(-12.3, 5.0, signed=True)) == "-12.3 ± 5.0"


values = st.lists(
    st.one_of(st.floats(-1e5, 1e5), st.just(float("nan"))), min_size=1, max_size=400
).map(np.array)


@given(values, st.integers(4, 60))
def test_decimation_keeps_every_extreme(y: np.ndarray, most: int) -> None:
    kept = decimate(y, most)
    assert kept.size <= max(most, 4)
    assert (np.diff(kept) > 0).all()
    assert kept[0] == 0
    assert kept[-1] == y.size - 1
    known = y[~np.isnan(y)]
    if known.size:
        assert np.nanmin(y[kept]) == known.min()
        assert np.nanmax(y[kept]) == known.max()


def test_decimation_keeps_the_extremes_of_every_stretch() -> None:
    """A spike in the middle of a long run must not vanish because the run has a higher one."""
    y = np.zeros(10_000)
    y[1234], y[5678] = 5.0, 50.0
    assert {1234, 5678} <= set(decimate(y, 100).tolist())


def test_a_line_breaks_where_readings_are_missing() -> None:
    t = np.concatenate([np.arange(0, 10, 0.1), np.arange(20, 30, 0.1)])
    for most in (1000, 50):
        curve = thinned(Curve(t, np.ones_like(t)), most)
        assert np.isnan(curve.y).sum() == 1
        broken = int(np.flatnonzero(np.isnan(curve.y))[0])
        assert curve.t[broken - 1] < 10 < 20 <= curve.t[broken + 1]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8, unique=True), st.floats(0, 90))
def test_a_held_value_reaches_into_its_window(times: list[float], start_s: float) -> None:
    t = np.array(sorted(times))
    part = held_between(Curve(t, np.arange(t.size, dtype=float)), start_s, start_s + 10)
    if t[0] > start_s + 10:
        assert not part.t.size
        return
    assert part.t[-1] == start_s + 10
    assert part.t[0] == max(start_s, t[0])
    assert part.y[0] == max(np.searchsorted(t, part.t[0], side="right") - 1, 0)
    assert part.y[-1] == np.searchsorted(t, start_s + 10, side="right") - 1


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(3, 12))
def test_ticks_are_few_and_within(low: float, span: float, most: int) -> None:
    found = ticks(low, low + span, most)
    assert 0 < len(found) <= most + 1
    assert all(low - 0.01 * span <= tick <= low + 1.01 * span for tick in found)


def drawn(run: Run) -> list[dict[str, Any]]:
    return [json.loads(text) for text in page(run).texts["script application/json"]]


def test_every_step_has_its_zoom_with_its_instants(run: Run) -> None:
    overview, *zooms = drawn(run)
    assert [trace["name"] for trace in overview["data"]] == [
        "requested",
        "pilot offers, A",
        "setpoint, A",
        "measured",
        "the charger's own claim",
        "requested, not taken",
    ]
    steps = run.result["steps"]
    assert len(zooms) == len(steps) == 6
    measured = run.record.series("reference", Quantity.POWER)
    for step, zoom in zip(steps, zooms, strict=True):
        known = [at for at in step["instants_s"].values() if at is not None]
        start_s, end_s = zoom["layout"]["xaxis"]["range"]
        assert start_s < min(known) <= max(known) < end_s
        lines = [s["x0"] for s in zoom["layout"]["shapes"] if s["type"] == "line"]
        assert set(np.round(known, 4)) <= set(lines)
        curve = next(trace for trace in zoom["data"] if trace["name"] == "measured")
        inside = measured.t[(measured.t >= start_s) & (measured.t <= end_s)]
        assert set(np.round(inside, 4)) <= set(curve["x"]), "a zoom shows every reading"
        low, high = zoom["layout"]["yaxis"]["range"]
        assert low < min(step["level_before_w"], step["requested_w"]) / 1e3 < high


def test_the_labels_of_instants_stand_in_rows_of_their_own(run: Run) -> None:
    zoom = drawn(run)[2]
    labels = zoom["layout"]["annotations"][:7]
    assert [label["text"].partition(" +")[0] for label in labels] == [
        "sent",
        "acknowledged",
        "pilot edge",
        "power departs",
        "10 %",
        "90 %",
        "settled",
    ]
    heights = [label["y"] for label in labels]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 7


def test_instants_are_shown_in_the_order_in_which_they_happened() -> None:
    """Some firmware moves its pilot before it answers."""
    step = {"instants_s": {"sent": 1.0, "acknowledged": 2.0, "pilot": 1.5, "departed": 3.0}}
    marks = instants(step, {"ramp_low": 0.05})
    assert [mark.text for mark in marks] == ["sent", "pilot edge", "acknowledged", "power departs"]


def test_a_setpoint_without_response_is_shown_for_a_while_and_not_beyond_its_hold() -> None:
    step = {"instants_s": {"sent": 100.0, "acknowledged": 100.1}, "ends_s": 108.0}
    view = window(step)
    assert view is not None
    assert 108.0 <= view.end_s < 112.0
    assert window({"instants_s": {"sent": None}}) is None


def test_a_refused_setpoint_is_marked_and_never_drawn_as_in_force(run: Run) -> None:
    overview = drawn(run)[0]
    refused = next(t for t in overview["data"] if t["name"] == "requested, not taken")
    requested = next(t for t in overview["data"] if t["name"] == "requested")
    assert refused["text"] == ["setpoint 4: 10 A"]
    assert 6.9 not in requested["y"]
    assert "rejected by the EVSE" in page(run).visible


def test_the_offer_is_drawn_until_the_pilot_ends_it(run: Run) -> None:
    """A curve of held values that breaks must first reach the instant at which it breaks."""
    ended = changed(run)
    last = [e for e in ended.record.events if e.kind is EventKind.PILOT_EDGE][-1]
    off = last._replace(t=last.t + 9.0, data={**last.data, "current_a": None})
    ended.record.events = sorted([*ended.record.events, off])
    offer = next(t for t in drawn(ended)[0]["data"] if t["name"] == "pilot offers, A")
    assert [offer["y"][i] for i in range(len(offer["x"])) if offer["x"][i] == round(off.t, 4)] == [
        last.data["current_a"],
        None,
    ]


@pytest.mark.parametrize("action", ["plug_in", "unplug", "start_charging", "stop_charging"])
def test_what_begins_or_ends_charging_is_marked(run: Run, action: str) -> None:
    marked = changed(run)
    command = Event(33.0, EventKind.COMMAND, "dut", {"action": action})
    marked.record.events = sorted([*marked.record.events, command])
    labels = [a for a in drawn(marked)[0]["layout"]["annotations"] if a["x"] == 33.0]
    assert [label["text"] for label in labels] == [action.replace("_", " ")]


def test_the_zoom_of_a_refused_setpoint_shows_what_was_asked_for(run: Run) -> None:
    """Power and offer alone look like a step that was followed to the watt."""
    low_kw, high_kw = drawn(run)[4]["layout"]["yaxis"]["range"]
    assert low_kw < 6.9 < high_kw
    still = ET.fromstring(step_svg(run.record, run.result, 4))
    crossed = [e for e in still.iter() if e.get("class") == "refused"]
    assert len(crossed) == 2, "in the picture and in its legend"
    assert "not taken" in " ".join(still.itertext())
    assert "not taken" not in step_svg(run.record, run.result, 2)


def test_the_words_of_marks_close_together_do_not_cover_each_other(run: Run) -> None:
    marked = changed(run)
    for t, action in ((150.0, "stop_charging"), (151.0, "plug_in"), (152.0, "unplug")):
        marked.record.events.append(Event(t, EventKind.COMMAND, "dut", {"action": action}))
    marked.record.events.sort()
    labels = drawn(marked)[0]["layout"]["annotations"]
    heights = {label["y"] for label in labels if label["x"] in (150.0, 151.0, 152.0)}
    assert len(heights) == 3


def test_suspect_readings_are_marked_and_not_joined(run: Run) -> None:
    doubtful = changed(run)
    series = doubtful.record.series("reference", Quantity.POWER)
    good = np.arange(series.t.size) % 100 != 50
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    doubtful.record.all_series[key] = series_of(series.t, series.value, good)
    overview = drawn(doubtful)[0]
    suspect = next(t for t in overview["data"] if t["name"] == "suspect reading")
    assert len(suspect["x"]) == (~good).sum()
    assert suspect["mode"] == "markers"
    joined = next(t for t in overview["data"] if t["name"] == "measured")
    assert not set(suspect["x"]) & set(joined["x"])


def test_a_long_run_is_thinned() -> None:
    run = practical_run((6, 16), hold_s=1200.0)
    overview, zoom, _ = drawn(run)
    assert all(len(trace["x"]) <= 1.1 * figures.MOST_POINTS for trace in overview["data"])
    assert all(len(trace["x"]) <= 2 * figures.MOST_ZOOM_POINTS for trace in zoom["data"])
    found = curves(run.record, run.result, next(targets(run.record.manifest)))
    top = next(trace for trace in overview["data"] if trace["name"] == "measured")
    assert max(top["y"]) == pytest.approx(found.measured.y.max() / 1e3, abs=1e-4)


def test_the_table_shows_each_attribute_with_its_uncertainty_and_limit(shown: Page) -> None:
    for text in (
        "Activation time",
        "Ramp-up time",
        "Ramp-down time",
        "± 0.083",
        "≤ 10 s",
        "±1104 W",
        "5 of 6",
        "meter sampling and refresh",
        "does not say whether it includes the error of the reference meter",
        "not a certificate",
    ):
        assert text in shown.visible, text


def test_bands_are_drawn_where_the_result_tells_them(run: Run) -> None:
    banded = changed(run)
    plain = len(drawn(run)[1]["layout"]["shapes"])
    banded.result["steps"][0].update(depart_band_w=172.5, settle_band_w=100.0)
    assert len(drawn(banded)[1]["layout"]["shapes"]) == plain + 2


def test_a_run_that_failed_at_once_still_has_a_report(run: Run) -> None:
    bare = changed(run, steps=[], attributes=[], findings=[], state="failed", verdict="ERROR")
    bare.record.events.clear()
    bare.record.all_series.clear()
    manifest = bare.record.manifest
    manifest["devices"] = {"dut": {"role": "evse", "driver": "ocpp16", "virtual": True}}
    for late in ("clock", "files", "safe_state", "libraries", "detail"):
        del manifest[late]
    visible = page(bare).visible
    assert "No attribute could be evaluated" in visible
    assert "No setpoint was sent" in visible
    assert "No reference meter measures dut" in visible


def test_many_findings_are_cut_and_counted(run: Run) -> None:
    flood = [finding(float(n), "dut", "late", f"finding {n}") for n in range(700)]
    visible = page(changed(run, findings=flood)).visible
    assert "finding 499 " in visible
    assert "finding 500 " not in visible
    assert "200 more findings" in visible


def test_two_chargers_each_have_their_run(run: Run) -> None:
    both = changed(run)
    devices = both.record.manifest["devices"]
    devices["second"] = {**devices["dut"]}
    overview = [f for f in drawn(both) if "yaxis2" in f["layout"] and "legend" in f["layout"]]
    assert len(overview) == 2
    assert not [t for t in overview[1]["data"] if t["name"] == "measured"]


def test_the_still_picture_of_a_step_is_svg_with_its_instants(run: Run) -> None:
    svg = step_svg(run.record, run.result, 2)
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = " ".join(root.itertext())
    words = ("sent", "acknowledged +", "pilot edge +", "power departs +", "10 % +", "settled +")
    for word in words:
        assert word in texts
    assert svg.count("http") == 1, "the name space alone"


def test_a_picture_of_a_step_that_is_not_there_is_refused(run: Run) -> None:
    with pytest.raises(RecordError, match="no setpoint 99"):
        step_svg(run.record, run.result, 99)


def test_a_report_that_cannot_be_written_is_one_clear_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"report\.html"):
        write_report(run.record, run.result, tmp_path / "missing" / "report.html")


CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
    "--window-size=1280,9000",
    "--dump-dom",
]


def test_a_browser_draws_what_is_in_view_and_complains_of_nothing(tmp_path: Path) -> None:
    """Catches a script error, a blocked script, and a page that draws every step at once."""
    browser = require_tool("chromium", "chromium")
    run = hostile(full(practical_run(tuple(range(6, 32)), rejected=4)))
    path = tmp_path / "report.html"
    write_report(run.record, run.result, path)
    command = [browser, *CHROMIUM, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    dom = Page(done.stdout)
    assert "CONSOLE" not in done.stderr
    trouble = next(found for found in dom.named("p") if found.get("id") == "trouble")
    assert "hidden" in trouble
    assert dom.classes("figure") == 27
    assert 2 <= dom.classes("drawn") < 10
    assert dom.classes("scatterlayer") >= 2
    links = [attributes.get("href") or "#" for _, attributes in dom.tags]
    assert all(link.startswith("#") for link in links), "no button leads out of the report"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01 * 7360, "73.6"), (220.8, "220.8"), (10**15, "1" + 15 * "0"), (1e-7, "0.0000001")],
)
def test_what_was_written_down_is_shown_as_it_was(value: float, text: str) -> None:
    """A share of a rating is a product of floats, 73.60000000000001 W of 7360 W."""
    assert exact(value) == text
