"""Queries of a profile to readings with the instants of question and answer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from hil.config.instruments import ValueQuery
from hil.drivers.contact import Contact
from hil.drivers.scpi.answers import values
from hil.drivers.scpi.talk import ScpiTalk
from hil.quantities import Reading


async def ask_values(
    name: str, talk: ScpiTalk, query: ValueQuery, invalid: Iterable[float], contact: Contact
) -> list[Reading]:
    """Ask once; a value that is marked as none is left out. Raises DeviceError."""
    answer = await talk.link.ask(query.query)
    read = partial(values, query=query, invalid=invalid)
    found = talk.understood(answer, query.query, read)
    told = [field for field in query.fields if field.quantity is not None]
    t_request, t_reply = answer.t_request, answer.t_reply
    t = (t_request + t_reply) / 2
    readings = []
    for field, value in zip(told, found, strict=True):
        assert field.quantity is not None
        if contact.valid((field.quantity, field.phase), value) and value is not None:
            quantity, phase = field.quantity, field.phase
            readings.append(Reading(t, t_request, t_reply, name, quantity, phase, value))
    return readings
