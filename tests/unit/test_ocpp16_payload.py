"""A call's payload is what the ``ocpp`` package would make of it."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st
from ocpp.charge_point import remove_nones, snake_to_camel_case
from ocpp.v16 import call

from hil.drivers.evse.ocpp16_payload import payload_of

KEYS = st.sampled_from(
    ["limit", "start_period", "chargingProfileId", "soc", "csms_url", "_v2x", "min__charging", ""]
)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_it_is_spelled_as_the_package_spells_it(profile: dict[str, object]) -> None:
    request = call.SetChargingProfile(connector_id=1, cs_charging_profiles=profile)
    assert payload_of(request) == snake_to_camel_case(remove_nones(asdict(request)))
