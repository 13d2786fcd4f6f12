"""What a call of the ``ocpp`` package carries on the wire, in one pass over it.

The package's own way (``asdict``, ``remove_nones``, ``snake_to_camel_case``) copies a payload three
times and takes each key apart anew: half of what a setpoint cost. Its spelling of keys is used.
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import Any

from ocpp.charge_point import snake_to_camel_case


def payload_of(request: Any) -> dict[str, Any]:
    """The payload of a request (a dataclass of ``ocpp.v16.call``): camel case, without ``None``."""
    named = ((field.name, getattr(request, field.name)) for field in fields(request))
    return {_camel(name): _plain(value) for name, value in named if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value if item is not None]
    return value


@lru_cache(maxsize=512)
def _camel(key: str) -> str:
    spelled: str = next(iter(snake_to_camel_case({key: None})))
    return spelled
