"""Who a charger says it is: HTTP Basic authentication, as OCPP's security profile 1 has it.

The user name is the charge point identity. The password travels as it was entered or, where it was
entered as hexadecimal digits, as the bytes they stand for; chargers do either.
"""

from __future__ import annotations

import hmac
import json
import re
from typing import NamedTuple

from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import InvalidHeader
from websockets.headers import build_www_authenticate_basic, parse_authorization_basic

CHALLENGE = build_www_authenticate_basic("OCPP")
"""What a refusal asks for."""

_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2}){16,20}")
"""A password of OCPP 1.6 has 16 to 20 bytes, hence up to 40 digits."""

_SHORTEST_CONCEALED = 8
"""A shorter word would be found in frames that have nothing to do with it."""


class Shown(NamedTuple):
    """What became of the credentials that a charger showed."""

    accepted: bool
    words: str
    """How the password came, or what was wrong; never what it was."""


class Password:
    """The password of one charge point."""

    def __init__(self, charge_point: str, password: str) -> None:
        self._charge_point = charge_point.casefold()
        self._text = password.encode()
        hexadecimal = _HEXADECIMAL.fullmatch(password)
        self._bytes = bytes.fromhex(password) if hexadecimal else self._text
        escaped = json.dumps(password)[1:-1]
        words = {password, escaped, json.dumps(password, ensure_ascii=False)[1:-1]}
        self._words = sorted((word for word in words if len(word) >= _SHORTEST_CONCEALED), key=len)

    def __repr__(self) -> str:
        return "Password(…)"

    def check(self, headers: Headers) -> Shown:
        """Judge the credentials of a handshake, the password in constant time."""
        try:
            header = headers.get("Authorization")
            if header is None:
                return Shown(False, "that shows no password")
            user, shown = parse_authorization_basic(header)
        except (InvalidHeader, MultipleValuesError):
            return Shown(False, "with an Authorization header that is not HTTP Basic")
        secret = shown.encode(errors="surrogateescape")
        as_text = hmac.compare_digest(secret, self._text)
        as_bytes = hmac.compare_digest(secret, self._bytes)
        if user.casefold() != self._charge_point:
            return Shown(False, "whose user name is not the charge point identity")
        if not as_text and not as_bytes:
            return Shown(False, "with a wrong password")
        how = "as it was entered" if as_text else "as the bytes that its digits stand for"
        return Shown(True, how)

    def conceal(self, text: str) -> str:
        """A frame without the password, should a charger ever send it in one."""
        for word in reversed(self._words):
            text = text.replace(word, "(password)")
        return text
