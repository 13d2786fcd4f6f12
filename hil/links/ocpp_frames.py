"""OCPP frames as chargers really send them: read as far as can be, every fault named.

A frame passes four gates: text, JSON (one attempt at repair), envelope, and the schema of the
action. A fault at a gate is a :class:`Remark`; only a frame that cannot be read at all is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, NamedTuple

import jsonschema_rs

from hil.json_text import too_deep
from hil.record.journal import Severity

Version = Literal["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]
"""A version of OCPP, as its websocket subprotocol is called."""

Validator = jsonschema_rs.Draft4Validator | jsonschema_rs.Draft6Validator

CALL, CALLRESULT, CALLERROR = 2, 3, 4

_ENVELOPE_LENGTH = {CALL: 4, CALLRESULT: 3, CALLERROR: 5}
_PAYLOAD_DEPTH = 2
"""The envelope's array and the payload's object."""

_DEEPEST = 32
"""Brackets within brackets. The schemas of OCPP 1.6 go to 6, those of 2.x to 13; what is deeper is
made to break a reader."""

_CALL_ID = re.compile(r'\s*,*\s*\[\s*"?2"?\s*,\s*"([^"\\]{1,64})"')
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Message(NamedTuple):
    """One frame that could be read."""

    kind: int
    """CALL, CALLRESULT or CALLERROR."""
    unique_id: str
    action: str
    """Of a CALL its own, of an answer that of the call it answers; empty if nobody asked."""
    payload: dict[str, Any]
    error: str
    """CALLERROR: code and description; empty otherwise."""
    text: str
    """The frame as valid JSON."""


class Remark(NamedTuple):
    """Something wrong with a frame; ``key`` is the same for faults of the same sort."""

    key: Hashable
    code: str
    text: str
    severity: Severity = "warning"


def printable(value: object, longest: int = 120) -> str:
    """Text from a charger, fit for a finding: one line, no control characters, not too long."""
    text = _UNPRINTABLE.sub("?", value if isinstance(value, str) else repr(value))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def decode(data: bytes) -> tuple[str, list[Remark]]:
    """The text of a frame; bytes that are no UTF-8 stay readable in hexadecimal."""
    try:
        return data.decode(), []
    except UnicodeDecodeError as error:
        remark = Remark("utf8", "ocpp_encoding", f"a frame is not UTF-8 ({error.reason})")
        return data.decode(errors="backslashreplace"), [remark]


def call_id(text: str) -> str | None:
    """The message id of a CALL that is otherwise unreadable, so that it can be answered."""
    match = _CALL_ID.match(text)
    return match.group(1) if match else None


def read(
    text: str, asked: Mapping[str, str], version: Version = "ocpp1.6"
) -> tuple[Message | None, list[Remark]]:
    """A frame, and what is wrong with it; ``asked`` is the action of each call by its id.

    ``None`` if the frame cannot be used at all; the last remark then says why.
    """
    remarks: list[Remark] = []
    if too_deep(text, _DEEPEST):
        words = f"a frame is nested deeper than {_DEEPEST} levels: {printable(text)}"
        return None, [Remark("depth", "ocpp_depth", words)]
    frame, sound = _load(text, remarks)
    message = _envelope(frame, text if sound else None, asked, remarks)
    if message is not None and message.kind != CALLERROR:
        remarks.extend(_schema_remarks(message, version))
    return message, remarks


def _load(text: str, remarks: list[Remark]) -> tuple[Any, bool]:
    try:
        return json.loads(text), True
    except (ValueError, RecursionError) as error:
        fault = str(error)
    try:
        frame = json.loads(repair(text))
    except (ValueError, RecursionError):
        words = f"a frame is no JSON and cannot be repaired ({fault}): {printable(text)}"
        remarks.append(Remark("unreadable", "ocpp_json", words))
        return None, False
    words = f"a frame is broken JSON ({fault}); what is complete in it is used: {printable(text)}"
    remarks.append(Remark("repaired", "ocpp_json_repaired", words))
    return frame, False


class _Open(NamedTuple):
    """An array or object that is not closed yet, while a text is repaired."""

    closer: str
    start: int
    """Where it begins in the output."""


def repair(text: str) -> str:
    """Valid JSON out of a frame with stray commas, or one that was cut short; one attempt.

    Never lets a value through that may have been cut: the element in which the text ends is left
    out, and so is the whole object around it below the payload, since half a sampled value would
    be read with a wrong measurand or unit. Raises ValueError if brackets do not match.
    """
    out: list[str] = []
    stack: list[_Open] = []
    for token in _tokens(text):
        if token in "}]":
            if not stack or stack.pop().closer != token:
                raise ValueError("brackets do not match")
            _drop_comma(out)
        elif token == "," and (not out or out[-1] in ("[", "{", ",")):
            continue
        elif token in "{[":
            stack.append(_Open("}" if token == "{" else "]", len(out)))
        out.append(token)
        if not stack and token in "}]":
            return "".join(out)
    return _close(out, stack)


def _close(out: list[str], stack: list[_Open]) -> str:
    """End a text that was cut short: drop what is not complete, then close what is open."""
    whole = out[-1:] in (["}"], ["]"])
    if not whole and len(stack) > _PAYLOAD_DEPTH and stack[-1].closer == "}":
        del out[stack.pop().start :]
    if not whole and stack:
        _drop_member(out, stack[-1])
    while stack:
        _drop_comma(out)
        out.append(stack.pop().closer)
    return "".join(out)


def _drop_member(out: list[str], inside: _Open) -> None:
    """Cut back to the last comma of the innermost open container, or to its beginning."""
    depth = 0
    for position in range(len(out) - 1, inside.start, -1):
        depth += (out[position] in ("}", "]")) - (out[position] in ("{", "["))
        if out[position] == "," and depth == 0:
            del out[position:]
            return
    del out[inside.start + 1 :]


def _drop_comma(out: list[str]) -> None:
    if out and out[-1] == ",":
        out.pop()


_TOKEN = re.compile(r'[\[\]{},:]|"(?:[^"\\]|\\.)*"?|[^\s\[\]{},:"]+', re.DOTALL)


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text.strip("\0\ufeff \t\r\n")):
        yield match.group()


def _envelope(
    frame: Any, text: str | None, asked: Mapping[str, str], remarks: list[Remark]
) -> Message | None:
    if frame is None and remarks:
        return None
    kind = _kind(frame)
    if kind is None or len(frame) < 2 or (kind == CALL and not _is_action(frame)):
        words = f"a frame is no OCPP message: {printable(frame)}"
        remarks.append(Remark("envelope", "ocpp_envelope", words))
        return None
    if len(frame) != _ENVELOPE_LENGTH[kind] or type(frame[0]) is not int:
        words = f"a message has {len(frame)} elements: {printable(frame)}"
        remarks.append(Remark(("length", kind), "ocpp_envelope", words))
        text = None
    unique_id = frame[1] if isinstance(frame[1], str) else json.dumps(frame[1])
    action = frame[2] if kind == CALL else asked.get(unique_id, "")
    payload = _payload(frame, kind)
    if payload is None:
        words = f"the payload of {action or 'an answer'} is no object: {printable(frame)}"
        remarks.append(Remark(("payload", action), "ocpp_envelope", words))
        payload, text = {}, None
    if text is None:
        text = json.dumps([CALL, frame[1], action, payload]) if kind == CALL else ""
    error = _error(frame) if kind == CALLERROR else ""
    return Message(kind, unique_id, action, payload, error, text)


def _kind(frame: Any) -> int | None:
    if not isinstance(frame, list) or not frame:
        return None
    kind = frame[0]
    if isinstance(kind, str) and kind in ("2", "3", "4"):
        kind = int(kind)
    return kind if type(kind) is int and kind in _ENVELOPE_LENGTH else None


def _is_action(frame: list[Any]) -> bool:
    return len(frame) > 2 and isinstance(frame[2], str)


def _payload(frame: list[Any], kind: int) -> dict[str, Any] | None:
    if kind == CALLERROR:
        return {}
    place = 3 if kind == CALL else 2
    if len(frame) <= place:
        return {}
    return frame[place] if isinstance(frame[place], dict) else None


def _error(frame: list[Any]) -> str:
    words = [printable(part) for part in frame[2:4] if part not in ("", None)]
    return ": ".join(words) or "without a code"


def _schema_remarks(message: Message, version: Version) -> Iterator[Remark]:
    """One remark for each place at which the payload breaks the schema of its action."""
    action = message.action
    named = f"{action} (message {printable(message.unique_id, 40)})"
    validator = _validator(version, action, message.kind == CALL)
    if validator is None:
        return
    try:
        if validator.is_valid(message.payload):
            return
        faults = _faults(validator, message.payload)
    except ValueError as error:
        words = f"{named}: the payload cannot be checked ({printable(str(error))})"
        yield Remark((action, "", "text"), "ocpp_schema", words)
        return
    for (path, rule), said in faults.items():
        words = f"{named}: {path or 'payload'}: {printable('; '.join(said))} (rule: {rule})"
        yield Remark((action, path, rule), "ocpp_schema", words)


def _faults(validator: Validator, payload: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """What breaks the schema, by path (list positions left out) and rule."""
    faults: dict[tuple[str, str], list[str]] = {}
    for error in validator.iter_errors(payload):
        path = ".".join("*" if isinstance(part, int) else part for part in error.instance_path)
        said = faults.setdefault((path, str(error.schema_path[-1])), [])
        if error.message not in said:
            said.append(error.message)
    return faults


class _Schemas(NamedTuple):
    """Where the ``ocpp`` package keeps the schemas of a version, and how they are named."""

    package: str
    request: str
    validator: type[Validator]


_SCHEMAS: Mapping[Version, _Schemas] = {
    "ocpp1.6": _Schemas("ocpp.v16", "", jsonschema_rs.Draft4Validator),
    "ocpp2.0.1": _Schemas("ocpp.v201", "Request", jsonschema_rs.Draft6Validator),
    "ocpp2.1": _Schemas("ocpp.v21", "Request", jsonschema_rs.Draft6Validator),
}


@lru_cache(maxsize=256)
def _validator(version: Version, action: str, is_request: bool) -> Validator | None:
    """The schema that the ``ocpp`` package ships, compiled; ``None`` for an unknown action."""
    if not (action.isascii() and action.isalnum()):
        return None
    schemas = _SCHEMAS[version]
    name = f"{action}{schemas.request if is_request else 'Response'}.json"
    schema = resources.files(schemas.package).joinpath("schemas", name)
    if not schema.is_file():
        return None
    return schemas.validator(
        json.loads(schema.read_text(encoding="utf-8-sig")), validate_formats=True
    )
