"""What every configuration file has in common: strict, frozen, and an unknown key is an error.

A user's file is data, never code: it is checked against these models and nothing else. Quantities
are written with their unit (:mod:`hil.config.units`) and are SI floats in here.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A device, group, profile or bench: letters, digits, ``.``, ``_`` and ``-``; never a path."""

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""

OneLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
"""A few words for a person, at most 100 characters."""


class Model(BaseModel):
    """Strict, frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def address(*schemes: str) -> AfterValidator:
    """A check that a text is an address of one of these schemes."""

    def check(text: str) -> str:
        try:
            parts = urlsplit(text)
            port_ok = parts.port is None or 0 <= parts.port <= 65535
            (parts.hostname or "").encode("idna")  # fails where no lookup could begin
        except ValueError:
            parts, port_ok = urlsplit(""), False
        if parts.scheme not in schemes or not port_ok:
            raise PydanticCustomError(
                "address",
                "'{text}' is not an address of the form {forms}",
                {"text": text, "forms": " or ".join(f"{scheme}://…" for scheme in schemes)},
            )
        return text

    return AfterValidator(check)


def on_loopback(text: str) -> bool:
    """Whether an address can be reached from this computer alone.

    A name other than localhost is somebody else's to decide, and counts as not.
    """
    host = urlsplit(text).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
