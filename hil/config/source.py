"""YAML 1.2 with the place of every key and value, so that an error can point at it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hil.errors import ConfigError

_LARGEST_FILE_BYTES = 1024 * 1024
"""The largest file that ships has 20 kB, and the reader takes 5 s for a megabyte. Setpoints by the
thousand stand in a CSV file (``trace``)."""
_LARGEST_NODE_COUNT = 200_000
_DEEPEST = 60
_KEPT_TEXTS = 32
_LONGEST_KEPT_BYTES = 16 * 1024
"""Of what was read, for the next time: a run reads its limits and services when it is prepared and
once more from its folder. What is kept comes to at most 100 MB, if somebody means harm."""

_BOOLEANS = {"true": True, "false": False}
"""No ``yes`` and no ``on``, even where a file says that it is YAML 1.1."""

_SCALARS: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": lambda text: _BOOLEANS[text.lower()],
    "tag:yaml.org,2002:int": lambda text: int(text.replace("_", ""), 0),
    "tag:yaml.org,2002:float": lambda text: float(text.lower().replace(".inf", "inf")),
}
"""What a plain scalar means, by the tag that the core schema of YAML 1.2 gives it."""

Location = tuple[str | int, ...]


@dataclass
class Source:
    """A YAML file as plain data, with the line and column of every place in it."""

    name: str
    """The path as the user gave it."""
    text: str
    data: Any = None
    problems: list[str] = field(default_factory=list)
    """What is wrong with the YAML itself, such as a key given twice."""
    _values: dict[Location, tuple[int, int]] = field(default_factory=dict)
    _keys: dict[Location, tuple[int, int]] = field(default_factory=dict)
    _nodes: int = 0

    def problem(self, location: Location, what: str, at_key: bool = False) -> str:
        """``file:line:column: path: what is wrong`` for a place, or for the nearest that exists."""
        places = self._keys if at_key else self._values
        known = location
        while known and known not in places:
            known = known[:-1]
        line, column = places.get(known) or self._values.get(known, (1, 1))
        path = dotted(location)
        return f"{self.name}:{line}:{column}: {path + ': ' if path else ''}{what}"


def dotted(location: Location) -> str:
    """``steps[2].hold`` for ``("steps", 2, "hold")``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    return path


def read_yaml(path: Path, name: str | None = None) -> Source:
    """Read a YAML file. Raises ConfigError if it cannot be read or is not YAML."""
    name = str(path) if name is None else name
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise _too_large(name)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: is not UTF-8 text (byte {error.start})") from error
    return parse_yaml(text, name)


def _too_large(name: str) -> ConfigError:
    return ConfigError(f"{name}: larger than 1 MiB; this is not a configuration file")


def parse_yaml(text: str, name: str) -> Source:
    """Data and places of a YAML text. Raises ConfigError where it is not YAML at all."""
    if len(text) > _LARGEST_FILE_BYTES:
        raise _too_large(name)
    source = Source(name, text)
    try:
        node = _compose(text) if len(text) > _LONGEST_KEPT_BYTES else _composed(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        what = " ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{name}:{where}: not valid YAML: {what}") from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name}:1:1: not valid YAML: {str(error).splitlines()[0]}") from error
    if node is None:
        raise ConfigError(f"{name}:1:1: the file is empty")
    source.data = _plain(source, node, ())
    return source


def _compose(text: str) -> Node | None:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    node: Node | None = yaml.compose(text)
    return node


_composed = functools.lru_cache(_KEPT_TEXTS)(_compose)
"""Whoever walks through the nodes changes none of them."""


def _plain(source: Source, node: Node, location: Location) -> Any:
    source._values[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
    source._nodes += 1
    if source._nodes > _LARGEST_NODE_COUNT or len(location) > _DEEPEST:
        raise ConfigError(f"{source.name}: nested too deep or too large for a configuration")
    if isinstance(node, MappingNode):
        return _mapping(source, node, location)
    if isinstance(node, SequenceNode):
        return [_plain(source, item, (*location, index)) for index, item in enumerate(node.value)]
    return _scalar(source, node, location)


def _mapping(source: Source, node: MappingNode, location: Location) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, ScalarNode) else None
        if not isinstance(key, str):
            source.problems.append(source.problem(location, "a key must be plain text"))
            continue
        place = (*location, key)
        mark = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if key in data:
            first = source._keys[place][0]
            source.problems.append(
                f"{source.name}:{mark[0]}:{mark[1]}: {dotted(place)}: "
                f"key given twice (first on line {first})"
            )
            continue
        source._keys[place] = mark
        data[key] = _plain(source, value_node, place)
    return data


def _scalar(source: Source, node: Node, location: Location) -> Any:
    tag = str(node.tag)
    build = _SCALARS.get(tag)
    if build is None:
        if tag != "tag:yaml.org,2002:timestamp":
            source.problems.append(source.problem(location, f"the tag '{tag}' has no meaning here"))
        return node.value
    try:
        return build(node.value)
    except (ValueError, KeyError):
        return node.value
