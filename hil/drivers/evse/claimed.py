"""What a charger claims to measure -> readings; stamped with their arrival."""

from __future__ import annotations

from hil.drivers.evse import meter_values
from hil.drivers.evse.ocpp_charger import Charger
from hil.links.ocpp_frames import printable
from hil.quantities import Quality, Reading

_STALE_S = 60.0


def record(charger: Charger, meter_value: object, replayed: bool = False) -> None:
    """Report the ``meterValue`` of a message (keys in snake case); its doubts are findings.

    What is ``replayed`` or stamped long ago is suspect.
    """
    samples, doubts = meter_values.read(meter_value)
    for doubt in doubts:
        charger.findings.finding("meter_values_doubtful", printable(doubt.text), key=doubt.key)
    readings = [reading for sample in samples for reading in _readings(charger, sample, replayed)]
    if readings:
        charger.journal.readings(readings)


def _readings(charger: Charger, sample: meter_values.Sample, replayed: bool) -> list[Reading]:
    clock = charger.journal.clock
    t, quality = clock.now(), Quality.SUSPECT if replayed else Quality.CLAIMED
    age_s = meter_values.age_s(sample.timestamp, clock.utc(t))
    if age_s is not None and abs(age_s) > _STALE_S:
        quality = Quality.SUSPECT
        words = (
            f"MeterValues stamped {printable(sample.timestamp)} are {age_s:.0f} s old on "
            "arrival: an old queue or a wrong clock"
        )
        charger.findings.finding("meter_values_stale", words)
    return [
        Reading(t, None, t, charger.device, claim.quantity, claim.phase, claim.value, quality)
        for claim in sample.claims
    ]
