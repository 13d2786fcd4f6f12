"""MeterValues as chargers really send them: what is read, what is left out, and what is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.drivers.evse.meter_values import Claim, read
from hil.drivers.evse.stamps import age_s
from hil.quantities import Phase, Quantity


def one(**sampled: Any) -> tuple[list[Claim], list[str]]:
    """Claims and doubts of a single sampled value."""
    samples, doubts = read([{"timestamp": "2020-01-01T00:00:00Z", "sampled_value": [sampled]}])
    return samples[0].claims, [doubt.text for doubt in doubts]


@pytest.mark.parametrize(
    ("measurand", "unit", "phase", "value", "expected"),
    [
        ("Power.Active.Import", "W", None, "11040.0", (Quantity.POWER, Phase.TOTAL, 11040.0)),
        ("Power.Active.Import", "kW", "L2", "3.68", (Quantity.POWER, Phase.L2, 3680.0)),
        ("Power.Active.Export", "W", None, "500", (Quantity.POWER, Phase.TOTAL, -500.0)),
        ("Power.Offered", "kW", None, "22", (Quantity.POWER_OFFERED, Phase.TOTAL, 22000.0)),
        ("Current.Import", "A", "L1", " 15.97 ", (Quantity.CURRENT, Phase.L1, 15.97)),
        ("Current.Export", "A", "L3", "1", (Quantity.CURRENT, Phase.L3, -1.0)),
        ("Current.Offered", "A", None, "16", (Quantity.CURRENT_OFFERED, Phase.TOTAL, 16.0)),
        ("Voltage", "V", "L3-N", "229.9", (Quantity.VOLTAGE, Phase.L3, 229.9)),
        (
            "Energy.Active.Import.Register",
            "kWh",
            None,
            "0.5",
            (Quantity.ENERGY_IMPORT, Phase.TOTAL, 500.0),
        ),
        (
            "Energy.Active.Import.Register",
            None,
            None,
            "7",
            (Quantity.ENERGY_IMPORT, Phase.TOTAL, 7.0),
        ),
        (
            "Energy.Active.Export.Register",
            "Wh",
            None,
            "3",
            (Quantity.ENERGY_EXPORT, Phase.TOTAL, 3.0),
        ),
        ("Frequency", None, None, "49.98", (Quantity.FREQUENCY, Phase.TOTAL, 49.98)),
        ("Frequency", "Hertz", None, "50", (Quantity.FREQUENCY, Phase.TOTAL, 50.0)),
        ("SoC", "Percent", None, "80", (Quantity.STATE_OF_CHARGE, Phase.TOTAL, 80.0)),
        ("Temperature", "Celsius", None, "31", (Quantity.TEMPERATURE, Phase.TOTAL, 31.0)),
        ("Temperature", "Celcius", None, "31", (Quantity.TEMPERATURE, Phase.TOTAL, 31.0)),
        ("Temperature", "K", None, "300.15", (Quantity.TEMPERATURE, Phase.TOTAL, 27.0)),
        ("Temperature", "Fahrenheit", None, "212", (Quantity.TEMPERATURE, Phase.TOTAL, 100.0)),
        ("Power.Factor", None, None, "0.98", (Quantity.POWER_FACTOR, Phase.TOTAL, 0.98)),
    ],
)
def test_sound_values_come_in_the_bench_s_units_without_a_word(
    measurand: str, unit: str | None, phase: str | None, value: str, expected: Any
) -> None:
    claims, doubts = one(measurand=measurand, unit=unit, phase=phase, value=value)
    assert doubts == []
    (claim,) = claims
    assert claim == (*expected[:2], pytest.approx(expected[2]))


def test_a_value_with_nothing_said_is_imported_energy_in_watt_hours() -> None:
    assert one(value="12345") == ([Claim(Quantity.ENERGY_IMPORT, Phase.TOTAL, 12345.0)], [])


@pytest.mark.parametrize(
    ("measurand", "unit", "factor"),
    [
        ("Frequency", "Hz", 1.0),
        ("Power.Active.Import", "KW", 1000.0),
        ("Power.Active.Import", "watts", 1.0),
        ("Current.Import", "Amps", 1.0),
        ("Energy.Active.Import.Register", "KWH", 1000.0),
        ("SoC", "%", 1.0),
        ("Temperature", "°C", 1.0),
    ],
)
def test_a_misspelled_unit_is_read_and_named(measurand: str, unit: str, factor: float) -> None:
    claims, doubts = one(measurand=measurand, unit=unit, value="2")
    assert [claim.value for claim in claims] == [2 * factor]
    assert len(doubts) == 1
    assert f"'{unit}'" in doubts[0]


@pytest.mark.parametrize(
    ("sampled", "word"),
    [
        ({"measurand": "Power.Active.Import", "unit": "A", "value": "16"}, "no unit of it"),
        ({"measurand": "Current.Import", "unit": "bananas", "value": "16"}, "no unit of it"),
        ({"measurand": "Power.Active.Import", "unit": "VA", "value": "16"}, "no unit of it"),
        ({"measurand": "Current.Import", "unit": "A", "value": ""}, "no number"),
        ({"measurand": "Current.Import", "unit": "A", "value": "NaN"}, "no number"),
        ({"measurand": "Current.Import", "unit": "A", "value": "1e999"}, "no number"),
        ({"measurand": "Current.Import", "unit": "A", "value": True}, "no number"),
        ({"measurand": "Current.Import", "unit": "A", "value": "16,5"}, "no number"),
        ({"measurand": "Current.Import", "unit": "A", "value": "FA01"}, "no number"),
        ({"measurand": "Current.Import", "unit": "A"}, "no number"),
        (
            {"measurand": "Voltage", "unit": "V", "phase": "L1-L2", "value": "400"},
            "no single phase",
        ),
        ({"measurand": "RPM", "value": "3"}, "not recorded"),
    ],
)
def test_what_cannot_be_understood_is_left_out_and_named(
    sampled: dict[str, Any], word: str
) -> None:
    claims, doubts = one(**sampled)
    assert claims == []
    assert len(doubts) == 1
    assert word in doubts[0]


def test_a_number_where_text_belongs_is_read() -> None:
    assert one(measurand="Current.Import", unit="A", value=15.9)[0][0].value == 15.9


def test_power_without_a_unit_is_watts_and_named() -> None:
    claims, doubts = one(measurand="Power.Active.Import", value="3680")
    assert claims[0].value == 3680.0
    assert "without a unit" in doubts[0]


def test_import_and_export_of_one_instant_are_one_signed_value() -> None:
    values = [
        {"measurand": "Power.Active.Import", "unit": "W", "value": "700"},
        {"measurand": "Power.Active.Export", "unit": "kW", "value": "2.5"},
    ]
    samples, doubts = read([{"sampled_value": values}])
    assert samples[0].claims == [Claim(Quantity.POWER, Phase.TOTAL, -1800.0)]
    assert doubts == []


def test_the_same_value_twice_counts_once() -> None:
    values = [{"measurand": "Voltage", "unit": "V", "value": text} for text in ("230", "0")]
    samples, doubts = read([{"sampled_value": values}])
    assert samples[0].claims == [Claim(Quantity.VOLTAGE, Phase.TOTAL, 230.0)]
    assert "twice" in doubts[0].text


def test_an_object_where_a_list_belongs_is_a_list_of_one() -> None:
    sampled = {"measurand": "Current.Import", "unit": "A", "value": "6"}
    samples, doubts = read({"timestamp": "now", "sampled_value": sampled})
    assert [(sample.timestamp, len(sample.claims)) for sample in samples] == [("now", 1)]
    assert doubts == []


@pytest.mark.parametrize("nothing", [None, [], [[]], "x", 7, [{"sampled_value": []}], [{}]])
def test_nothing_to_read_is_nothing_read(nothing: object) -> None:
    samples, doubts = read(nothing)
    assert [claim for sample in samples for claim in sample.claims] == []
    assert doubts == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["timestamp", "sampled_value", "value", "unit", "measurand", "phase"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_anything_can_be_read_and_only_finite_numbers_come_out(value: object) -> None:
    samples, _ = read(value)
    for sample in samples:
        for claim in sample.claims:
            assert claim.value == claim.value
            assert abs(claim.value) < float("inf")


NOW = datetime(2020, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2020-01-01T11:59:00Z", 60.0),
        ("2020-01-01T12:59:00+01:00", 60.0),
        ("2020-01-01T15:00:30+03", -30.0),
        ("2020-01-01T12:00:00.250", -0.25),
        ("0001-01-01T00:00:00Z", 63713476800.0),
        ("", None),
        ("0", None),
        ("yesterday", None),
    ],
)
def test_the_age_of_a_sample(timestamp: str, expected: float | None) -> None:
    assert age_s(timestamp, NOW) == expected
