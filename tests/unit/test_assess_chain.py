"""The delay chain: links that add up, devices that are missing, rapid steps apart."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_run import ACK_S, PILOT_S, Car, Hold, Meter, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate

HOLDS = [Hold(16, 25), Hold(6, 25), Hold(16, 25), Hold(6, 25)]
QUICK = Meter(poll_s=0.02, refresh_s=0.02, averaging_s=0.02, noise_w=2.0)


def links(result: dict[str, Any], spacing: str) -> dict[str, dict[str, Any]]:
    chain = next(one for one in result["chain"] if one["spacing"] == spacing)
    return {link["name"]: link for link in chain["links"]}


def test_each_link_is_what_the_device_took() -> None:
    car = Car(dead_s=0.8, length_s=1.5)
    found = links(evaluate(make(HOLDS, car, QUICK).record, limits_of()), "isolated")
    assert found["network"]["median"] == pytest.approx(ACK_S)
    assert found["evse"]["median"] == pytest.approx(PILOT_S - ACK_S)
    for name, truth_s in (("ev_dead_time", 0.8), ("ramp", 0.9 * 1.5), ("settling", 0.08 * 1.5)):
        link = found[name]
        assert abs(link["median"] - truth_s) <= link["expanded_uncertainty"], name
        assert (link["n"], link["of"]) == (4, 4)


def test_the_links_of_a_step_add_up_to_its_total() -> None:
    found = links(evaluate(make(HOLDS[:1], Car(), QUICK).record, limits_of()), "isolated")
    total_s = found.pop("total")["max"]
    assert sum(link["max"] for link in found.values()) == pytest.approx(total_s)


def test_without_a_pilot_the_links_beside_it_cannot_be_told() -> None:
    found = links(evaluate(make(HOLDS, pilot=False).record, limits_of()), "isolated")
    for name in ("evse", "ev_dead_time"):
        assert found[name]["n"] == 0
        assert found[name]["median"] is None
        assert "no pilot emulator" in found[name]["reason"]
    assert found["total"]["n"] == 4


def test_without_a_meter_only_what_the_events_tell_is_there() -> None:
    made = make(HOLDS)
    made.record.all_series.clear()
    del made.record.manifest["devices"]["reference"]
    found = links(evaluate(made.record, limits_of()), "isolated")
    assert {name for name, link in found.items() if link["n"]} == {"network", "evse"}
    assert found["total"]["reason"] == "no meter told the power"


def test_rapid_steps_have_a_chain_of_their_own() -> None:
    rapid = [Hold(16 if n % 2 == 0 else 6, 3) for n in range(6)]
    result = evaluate(make([*HOLDS, *rapid]).record, limits_of())
    isolated, apart = links(result, "isolated"), links(result, "rapid")
    assert (isolated["network"]["n"], apart["network"]["n"]) == (4, 6)
    assert apart["evse"]["median"] == pytest.approx(PILOT_S - ACK_S)
    assert apart["network"]["reason"] == ""


def test_where_no_rapid_step_was_played_it_says_so() -> None:
    apart = links(evaluate(make(HOLDS).record, limits_of()), "rapid")
    assert {link["reason"] for link in apart.values()} == {"no such setpoint was sent"}
