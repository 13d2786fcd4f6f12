"""A person at a console, played line by line: nothing is taken that is not meant."""

from __future__ import annotations

import asyncio

import pytest
from meter_stand_in import warp
from person_stand_in import by_hand

from hil.config.by_hand import FaceValue
from hil.config.sources import Level
from hil.drivers.protocols import Meter, ReadByHand, Source
from hil.errors import DeviceError
from hil.quantities import EventKind, Quality, Quantity


def findings(b):
    return [e.data["code"] for e in b.said.of(EventKind.FINDING)]


def states(b):
    return [e.data["state"] for e in b.said.of(EventKind.OPERATOR)]


def read(script, **changes):
    async def main():
        async with by_hand(script, **changes) as b:
            await b.meter.open()
            await b.meter.read()
            return b

    return warp(main)


def test_what_was_typed_is_a_reading_from_the_question_to_the_answer_with_a_name():
    b = read([(1, "Maria Muster"), (4, "10.93"), (6, "230.1 V")], name=None)
    assert isinstance(b.meter, Meter)
    assert isinstance(b.meter, ReadByHand)
    power, voltage = b.said.readings
    assert (power.value, voltage.value) == (10_930.0, 230.1)
    assert power.t_reply - power.t_request == pytest.approx(4.0)
    assert voltage.t_request >= power.t_reply
    assert power.t == pytest.approx((power.t_request + power.t_reply) / 2)
    told = [e.data for e in b.said.of(EventKind.READ_BY_HAND)]
    assert [(one["operator"], one["typed"]) for one in told] == [
        ("Maria Muster", "10.93"),
        ("Maria Muster", "230.1 V"),
    ]
    assert "Old Analyser, serial 7: read power in kW (0.00 kW to 25.00 kW)" in b.person.shown
    assert findings(b) == []


def test_what_is_refused_is_asked_for_again_and_the_reading_spans_all_of_it():
    b = read([(2, "10,93"), (2, "10.9"), (2, "10.93"), (1, "230.1")])
    assert [r.value for r in b.said.readings] == [10_930.0, 230.1]
    assert b.said.readings[0].t_reply - b.said.readings[0].t_request == pytest.approx(6.0)
    assert states(b)[:4] == ["asked", "refused", "refused", "answered"]
    assert findings(b) == []


def test_a_decimal_comma_is_taken_where_the_bench_file_says_so_and_a_point_is_not():
    b = read([(1, "10.93"), (1, "10,93"), (1, "230,1")], decimal="comma")
    assert [r.value for r in b.said.readings] == [10_930.0, 230.1]


def test_out_of_range_is_refused_and_confirmed_it_is_a_finding_that_no_figure_uses():
    b = read([(1, "109.30"), (1, "26.00"), (1, "26.00 kW !"), (1, "230.1")])
    assert [(r.value, r.quality) for r in b.said.readings] == [
        (26_000.0, Quality.SUSPECT),
        (230.1, Quality.GOOD),
    ]
    assert findings(b) == ["reading_out_of_range"]
    assert "109.30 kW is not between 0.00 kW and 25.00 kW" in b.person.shown


def test_a_value_that_is_skipped_is_a_gap_and_the_next_is_asked_for():
    b = read([(1, "-"), (1, "230.1")])
    assert [r.quantity for r in b.said.readings] == [Quantity.VOLTAGE]
    assert findings(b) == ["question_skipped"]


def test_without_an_answer_the_question_ends_and_the_rest_is_not_asked_for():
    b = read([])
    assert b.said.readings == []
    assert findings(b) == ["question_unanswered", "reading_given_up"]
    assert b.journal.clock.now() == pytest.approx(60.0, abs=0.1), "and not 120 s"


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one():
    async def main():
        late, *rest = (61, "5.47"), (1, ""), (1, "10.93"), (1, "230.1")
        async with by_hand([late, *rest]) as b:
            await b.meter.open()
            await b.meter.read()
            await asyncio.sleep(1)
            await b.meter.read()
            return b

    b = warp(main)
    assert [r.value for r in b.said.readings] == [10_930.0, 230.1], "5.47 was for the first"
    assert "the last question was not answered: press Enter" in b.person.shown


def test_an_answer_on_its_way_when_the_time_was_up_wakes_the_next_question_and_answers_none():
    async def main():
        async with by_hand([(60.5, "5.47"), (1, "10.93"), (1, "230.1")]) as b:
            await b.meter.open()
            await b.meter.read()
            await b.meter.read()  # at once: "5.47" is typed after it has said "press Enter"
            return b

    b = warp(main)
    assert [r.value for r in b.said.readings] == [10_930.0, 230.1]


def test_what_was_typed_ahead_is_thrown_away():
    b = read([(1, "10.93\n231.0\n232.0"), (1, "230.1")])
    assert [r.value for r in b.said.readings] == [10_930.0, 230.1]
    assert "discarded" in states(b)


def test_a_console_that_is_gone_is_a_gap_and_is_reached_again_for_the_next_reading():
    async def main():
        async with by_hand([(1, None), (1, ""), (1, "10.93"), (1, "230.1")]) as b:
            await b.meter.open()
            await b.meter.read()
            await b.meter.read()
            return b

    b = warp(main)
    assert findings(b) == ["question_unanswered", "reading_given_up"]
    assert [r.value for r in b.said.readings] == [10_930.0, 230.1]
    assert b.person.visits == 2


def test_without_a_console_the_meter_does_not_open_and_says_what_to_do():
    async def main():
        async with by_hand([]) as b:
            b.meter._operator._console._port = 1
            with pytest.raises(DeviceError, match="ncat -l -k 1"):
                await b.meter.open()

    warp(main)


def test_without_a_name_the_meter_does_not_open():
    async def main():
        async with by_hand([], name=None) as b:
            with pytest.raises(DeviceError, match="nobody said who reads"):
                await b.meter.open()

    warp(main)


def test_a_cancelled_question_is_withdrawn_and_its_answer_counts_for_nothing():
    async def main():
        async with by_hand([(5, "10.93"), (1, "0.00")]) as b:
            await b.meter.open()
            reading = asyncio.ensure_future(b.meter.read())
            await asyncio.sleep(1)
            reading.cancel()
            await asyncio.wait({reading})
            await b.meter.read_flow()
            return b

    b = warp(main)
    assert [r.value for r in b.said.readings] == [0.0]
    assert "withdrawn" in states(b)


def test_something_is_done_once_enter_alone_is_pressed_or_what_it_shows_is_within_its_bounds():
    load = FaceValue.model_validate(
        {"quantity": "power", "from": "1.9 kW", "to": "2.1 kW", "resolution": "10 W"}
    )

    async def main():
        script = [(1, "yes"), (1, ""), (1, "2.50"), (1, "2.50 !"), (1, "2.02"), (1, "-")]
        async with by_hand(script) as b:
            operator = b.meter._operator
            await operator.do("close the door", None)
            await operator.do("set the load L-5 to 2 kW", load)
            with pytest.raises(DeviceError, match="nobody said that it was done: open the door"):
                await operator.do("open the door", None)
            return b

    b = warp(main)
    (told,) = [e.data for e in b.said.of(EventKind.READ_BY_HAND)]
    assert (told["value"], told["typed"], told["operator"]) == (2020.0, "2.02", "Eva")
    assert states(b).count("refused") == 3


# --- a source ---------------------------------------------------------------------------------


def test_a_source_is_set_and_switched_by_asking_and_off_once_somebody_says_so():
    async def main():
        async with by_hand([(5, "230.4"), (5, "207"), (5, "0.0")]) as b:
            assert isinstance(b.source, Source)
            identity = await b.source.open()
            assert b.source.may_be_on
            await b.source.set_level(Level(207.0, 50.0))
            return b, identity, await b.source.make_safe()

    b, identity, words = warp(main)
    assert identity.details["set_by"] == "Eva"
    assert "set 230 V and 50 Hz and its limit of current to 34 A" in b.person.shown
    assert "set 207 V and 50 Hz, then type the voltage" in b.person.shown
    assert words == "off, says Eva; it shows 0.0 V"
    assert not b.source.may_be_on
    told = [(e.data["state"], e.data["voltage_v"], e.t) for e in b.said.of(EventKind.SOURCE)]
    assert [state for state, *_ in told] == ["commanded", "confirmed"] * 3
    assert told[3][2] - told[2][2] == pytest.approx(5.0), "the level changed in between"
    assert [r.value for r in b.said.readings] == [230.4, 207.0, 0.0]


def test_a_voltage_that_is_not_the_level_is_refused_and_off_is_not_believed_while_it_is_live():
    async def main():
        async with by_hand([(1, "211"), (1, "231"), (1, "231.0"), (1, "12")]) as b:
            await b.source.open()
            return b, await b.source.make_safe()

    b, words = warp(main)
    assert "211 V is not 230 V to within 4.6 V" in b.person.shown
    assert "231 V is not off" in b.person.shown
    assert words.endswith("12.0 V")


def test_a_source_that_nobody_switches_off_may_be_on():
    async def main():
        async with by_hand([(1, "230.0")]) as b:
            await b.source.open()
            with pytest.raises(DeviceError, match="nobody said that it was done"):
                await b.source.make_safe()
            return b

    assert warp(main).source.may_be_on


def test_a_level_beyond_the_limits_is_never_asked_for():
    async def main():
        async with by_hand([(1, "230.0")]) as b:
            await b.source.open()
            with pytest.raises(DeviceError, match="outside of the source's limits"):
                await b.source.set_level(Level(261.0, 50.0))
            return b

    assert "261" not in warp(main).person.shown
