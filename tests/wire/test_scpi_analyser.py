"""The SCPI meter's driver against its twin and against peers that misbehave, on loopback."""

from __future__ import annotations

import asyncio

import pytest
from bench_files import hil
from meter_stand_in import POWER, poll, warp
from scpi_stand_in import ANALYSER, analyser, peer

from hil.drivers.protocols import Meter
from hil.errors import DeviceError
from hil.links.scpi import LONGEST_ANSWER_BYTES
from hil.quantities import LINES, Phase, Quantity

NUMBERS = ",".join("2.300000E+02" for _ in ANALYSER.values[0].fields)


def sound(line):
    """What a sound instrument answers to each line."""
    answers = {
        "*IDN?": b"GENERIC,ANALYSER,1,1.0\n",
        "SYST:ERR?": b'0,"No error"\n',
        "SENS:UPD?": b"0.1\n",
        "MEAS:ALL?": NUMBERS.encode() + b"\n",
    }
    return answers.get(line, b"")


def test_every_value_arrives_and_the_interval_is_the_profile_s():
    async def main():
        async with analyser() as b:
            identity = await b.meter.open()
            await asyncio.sleep(1.0)
            await b.meter.read()
            return b, identity

    b, identity = warp(main)
    assert isinstance(b.meter, Meter)
    assert identity.details["serial"] == "SN-VIRTUAL"
    assert identity.details["update_s"] == "0.1"
    assert b.twin._interval_s == 0.1
    true = b.supply.measure(*b.supply.windows[-1])
    got = {(r.quantity, r.phase): r.value for r in b.said.readings}
    assert got[POWER] == pytest.approx(sum(true.power_w), rel=1e-6)
    assert got[Quantity.FREQUENCY, Phase.TOTAL] == 50.0
    for line, phase in enumerate(LINES):
        assert got[Quantity.VOLTAGE, phase] == pytest.approx(true.voltage_v[line], rel=1e-6)
        assert got[Quantity.CURRENT, phase] == pytest.approx(true.current_a[line], rel=1e-6)
        assert got[Quantity.POWER, phase] == pytest.approx(true.power_w[line], rel=1e-6)


def test_a_late_answer_is_never_taken_for_the_next_one():
    async def main():
        async with analyser() as b:
            await b.meter.open()
            b.twin.server.hold_back_s = 0.6  # the driver waits for 0.5 s
            failures = await poll(b.meter, 3.0)
            b.twin.server.hold_back_s = 0.0
            await poll(b.meter, 2.0)
            return b, failures

    b, failures = warp(main)
    assert failures
    assert b.said.findings() == ["meter_lost", "meter_back"]
    readings = b.said.series(POWER)
    assert readings
    for reading in readings:  # power rises by 100 W/s: an answer of 0.6 s ago is 60 W off
        age_s = reading.t - (reading.value - 2500.0) / 100.0
        assert 0.0 <= age_s <= 0.16


def test_the_answer_that_comes_after_its_time_is_not_that_to_the_next_query():
    """The first answer arrives 0.1 s after nobody waits for it, while the second is waited for."""

    async def main():
        async with analyser() as b:
            link = b.meter._talk.link
            await link.open()
            b.twin.server.hold_back_s = 0.6
            with pytest.raises(DeviceError, match="no answer"):
                await link.ask("MEAS:ALL?")
            b.twin.server.hold_back_s = 0.2
            return (await link.ask("*IDN?")).text

    assert warp(main).startswith("GENERIC,ANALYSER")


def test_a_query_that_is_given_up_leaves_no_answer_behind():
    async def main():
        async with analyser() as b:
            link = b.meter._talk.link
            await link.open()
            b.twin.server.hold_back_s = 0.2
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await link.ask("MEAS:ALL?")
            return (await link.ask("*IDN?")).text

    assert warp(main).startswith("GENERIC,ANALYSER")


def test_marks_are_no_numbers():
    async def main():
        async with analyser() as b:
            await b.meter.open()
            b.twin.wrong_numbers = True
            await b.meter.read()
            b.twin.wrong_numbers = False
            await b.meter.read()
            return b.said

    said = warp(main)
    number = len(ANALYSER.values[0].fields)
    assert said.findings() == ["invalid_value"] * number + ["value_valid_again"] * number
    assert len(said.readings) == number


@pytest.mark.parametrize(
    ("line", "answer", "words"),
    [
        ("*IDN?", b"OTHER,THING,1,1\n", "expects 'GENERIC' and 'ANALYSER'"),
        ("SENS:UPD?", b"1.0\n", "was told SENS:UPD 0.1 and answers 1 to SENS:UPD?"),
        ("MEAS:ALL?", b"1,2,3\n", "3 fields where 11 were asked for"),
        ("MEAS:ALL?", NUMBERS.replace("2.3", "2,3").encode() + b"\n", "22 fields"),
        ("MEAS:ALL?", NUMBERS.replace("+02", "V").encode() + b"\n", "is no number"),
        ("MEAS:ALL?", b"\xff\xfe\n", "fields where 11"),
        ("MEAS:ALL?", b"1" * (2 * LONGEST_ANSWER_BYTES), "more than 4096 bytes in one line"),
        ("MEAS:ALL?", b"", "gave no answer to MEAS:ALL? within 0.5 s"),
        ("SYST:ERR?", b"hello\n", "is no entry of an error queue"),
    ],
)
def test_an_answer_that_is_none_is_an_error(line, answer, words):
    async def main():
        async with peer(lambda asked: answer if asked == line else sound(asked)) as b:
            with pytest.raises(DeviceError) as error:
                await b.meter.open()
            return str(error.value), b.said

    text, said = warp(main)
    assert words in text
    assert said.readings == []


def test_what_nobody_asked_for_is_thrown_away():
    async def main():
        twice = {"MEAS:ALL?": sound("MEAS:ALL?") + b"9.0,9.0\n"}
        async with peer(lambda asked: twice.get(asked, sound(asked))) as b:
            await b.meter.open()
            for _ in range(2):
                await asyncio.sleep(0.1)
                await b.meter.read()
            return b.said

    said = warp(main)
    assert set(said.findings()) == {"answer_unasked"}
    assert {r.value for r in said.readings} == {230.0}


def test_an_instrument_that_refuses_its_interval_says_why():
    async def main():
        slow = ANALYSER.update.model_copy(update={"every": 120.0})
        async with analyser(ANALYSER.model_copy(update={"update": slow})) as b:
            with pytest.raises(DeviceError, match=r"did not like SENS:UPD 120: -222"):
                await b.meter.open()

    warp(main)


def test_a_run_with_an_analyser_is_measured_within_its_range(tmp_path):
    outcome = hil("run", "virtual-scpi", "quick-look", "--out", str(tmp_path), cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "safe state: confirmed" in outcome.stdout
