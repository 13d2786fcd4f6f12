"""What a charger claims to measure -> readings; stamped with their arrival."""

from __future__ import annotations

from hil.drivers.evse import meter_values
from hil.drivers.evse.ocpp_charger import Charger
from hil.drivers.evse.stamps import STALE_S, age_s
from hil.drivers.evse.stamps import replayed as is_replayed
from hil.links.ocpp_frames import printable
from hil.quantities import Quality, Reading


def record(charger: Charger, meter_value: object, replayed: bool = False) -> bool:
    """Report the ``meterValue`` of a message (keys in snake case); its doubts are findings.

    What is ``replayed`` or stamped long ago is suspect. Whether the message tells of now, and not
    only of what the charger kept in an old queue.
    """
    samples, doubts = meter_values.read(meter_value)
    for doubt in doubts:
        charger.findings.finding("meter_values_doubtful", printable(doubt.text), key=doubt.key)
    readings = [reading for sample in samples for reading in _readings(charger, sample, replayed)]
    if readings:
        charger.journal.readings(readings)
    now = charger.journal.clock.utc()
    ages_s = [age_s(sample.timestamp, now) for sample in samples]
    return not samples or any(not is_replayed(age) for age in ages_s)


def _readings(charger: Charger, sample: meter_values.Sample, replayed: bool) -> list[Reading]:
    clock = charger.journal.clock
    t, quality = clock.now(), Quality.SUSPECT if replayed else Quality.CLAIMED
    age = age_s(sample.timestamp, clock.utc(t))
    if age is not None and abs(age) > STALE_S:
        quality = Quality.SUSPECT
        words = (
            f"MeterValues stamped {printable(sample.timestamp)} are {age:.0f} s old on "
            "arrival: an old queue or a wrong clock"
        )
        charger.findings.finding("meter_values_stale", words)
    return [
        Reading(t, None, t, charger.device, claim.quantity, claim.phase, claim.value, quality)
        for claim in sample.claims
    ]
