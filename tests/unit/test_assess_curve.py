"""The integrals of a meter's power, between its values as well as at them."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_run import Hold, Meter, definitions, make

from hil.assess.evaluate import evaluate
from hil.assess.reading.trace import trace_of
from hil.assess.services.curve import curve_of
from hil.quantities import Phase, Quantity


def test_integrals_are_those_of_the_lines_between_the_values() -> None:
    record = make([Hold(16, 12), Hold(6, 12)], meter=Meter(refresh_s=0.5, averaging_s=0.5)).record
    trace, _ = trace_of(record, "dut")  # type: ignore[arg-type]
    assert trace is not None
    curve = curve_of(trace)
    assert curve is not None
    fine_s = np.linspace(curve.t[0], curve.t[-1], 200_001)
    fine_w = np.interp(fine_s, curve.t, curve.power_w)
    step_s = fine_s[1] - fine_s[0]
    area = np.concatenate(([0.0], np.cumsum(0.5 * (fine_w[1:] + fine_w[:-1]) * step_s)))
    moment = np.concatenate(([0.0], np.cumsum(0.5 * (area[1:] + area[:-1]) * step_s)))
    at = np.arange(17, 200_001, 7919)
    found = curve.integrals(fine_s[at])
    assert found[0] == pytest.approx(area[at], rel=1e-6)
    assert found[1] == pytest.approx(moment[at], rel=1e-6, abs=1e-3)


def test_a_meter_that_said_next_to_nothing_has_no_curve() -> None:
    """Three readings of one value, which the meter has not refreshed in between."""
    record = make([Hold(16, 12)], meter=Meter(refresh_s=1.0, averaging_s=1.0)).record
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    few = {name: column[:3] for name, column in record.all_series[key]._asdict().items()}
    record.all_series[key] = record.all_series[key]._replace(**few)
    trace, _ = trace_of(record, "dut")  # type: ignore[arg-type]
    assert trace is not None
    assert curve_of(trace) is None
    assert all(one["reason"] for one in evaluate(record, definitions())["services"])
