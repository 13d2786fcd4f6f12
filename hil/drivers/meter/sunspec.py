"""Finds the meter in a SunSpec device: the mark, the chain of models, what the meter model has.

What the device says is bounded before it is followed: a chain that does not end, a model without
length or one beyond the address space is an error that names the model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from hil.config.profiles import MeterProfile, SunSpec
from hil.errors import DeviceError
from hil.links.modbus import Answer
from hil.registers import Key
from hil.sunspec import COMMON, END, MARK, Layout, ModelBlock, blocks_of, layout_of, text_of

_MOST_MODELS = 100
"""Real devices have a dozen; the longest chain of the alliance's own examples is half of that."""
_COMMON_LENGTH = 64
"""Registers of the common model that hold maker, model, options, version and serial number."""
_CHECK = "Check with the maker's SunSpec document that this is a meter, and its firmware."

Read = Callable[[int, int], Awaitable[Answer]]
"""Reads so many registers from an address on."""


class Model(NamedTuple):
    """One model of the chain."""

    number: int
    address: int
    """Of its number."""
    length: int
    """Registers after number and length."""


class Found(NamedTuple):
    """The meter of a device."""

    blocks: list[ModelBlock]
    details: dict[str, str]
    """Maker, model, version, serial number, and which models were there."""


async def find_meter(device: str, profile: MeterProfile, options: SunSpec, read: Read) -> Found:
    """Walk the chain of a device and learn what its meter model has.

    Raises DeviceError if there is no chain, if it is not as a chain is, or if no meter is in it.
    """
    base = await _base(device, options, read)
    models = await _walk(device, base, read)
    numbers = ", ".join(str(model.number) for model in models)
    meters = [m for m in models if layout_of(m.number) and options.model in (None, m.number)]
    if not meters:
        wanted = f"model {options.model}" if options.model else "a meter (201 to 204, 211 to 214)"
        what = f"has no {wanted} among its models: {numbers or 'none at all'}"
        raise DeviceError(device, what, _CHECK)
    meter = meters[0]
    layout = layout_of(meter.number)
    assert layout is not None
    if meter.length < layout.least_length:
        what = f"has model {meter.number} with {meter.length} registers, and it needs at least "
        raise DeviceError(device, f"{what}{layout.least_length}", _CHECK)
    has = await _implemented(layout, meter, options, read)
    lacking = ", ".join(f"{quantity} {phase}" for quantity, phase in sorted(profile.tells - has))
    if lacking:
        remedy = (
            "Write 'phases: 1' in a copy of the profile for a meter of one phase, or take what "
        )
        remedy += f"it does not have out of 'tells'. {_CHECK}"
        raise DeviceError(device, f"does not have {lacking} in its model {meter.number}", remedy)
    blocks = blocks_of(layout, meter.address, has, options.sign)
    for block in blocks:
        if block.count > profile.max_registers:
            what = f"has a meter model that takes requests of {block.count} registers"
            raise DeviceError(device, what, "Raise max_registers in the profile, if it takes that.")
    details = {"sunspec_base": str(base), "sunspec_models": numbers}
    details["sunspec_meter"] = f"model {meter.number} at {meter.address}"
    return Found(blocks, {**await _common(models, read), **details})


async def _base(device: str, options: SunSpec, read: Read) -> int:
    """The first address that has the mark."""
    last: DeviceError | None = None
    for base in options.base:
        try:
            answer = await read(base, len(MARK))
        except DeviceError as error:
            last = error
            continue
        if tuple(answer.registers) == MARK:
            return base
    places = ", ".join(map(str, options.base))
    why = f" (the last answer: it {last.what})" if last is not None else ""
    what = f"shows no SunSpec mark at {places}{why}"
    raise DeviceError(device, what, "Check the unit identifier, and that SunSpec is switched on.")


async def _walk(device: str, base: int, read: Read) -> list[Model]:
    """Every model of the chain, in its order."""
    models: list[Model] = []
    address = base + len(MARK)
    while True:
        number, length = (await read(address, 2)).registers
        if number == END:
            return models
        what = f"has model {number} at {address} "
        if length == 0:
            raise DeviceError(device, f"{what}without any registers", _CHECK)
        if address + 2 + length + 2 > 65536:
            raise DeviceError(device, f"{what}that reaches beyond the last address", _CHECK)
        if len(models) == _MOST_MODELS:
            what = f"has a chain of more than {_MOST_MODELS} models, which does not seem to end"
            raise DeviceError(device, what, _CHECK)
        models.append(Model(number, address, length))
        address += 2 + length


async def _implemented(
    layout: Layout, meter: Model, options: SunSpec, read: Read
) -> frozenset[Key]:
    """The values that the meter has, as it stands now."""
    has: set[Key] = set()
    for block in blocks_of(layout, meter.address, None, options.sign):
        values = block.decode((await read(block.address, block.count)).registers)
        keys = zip(block.quantities, block.phases, strict=True)
        has |= {key for key, value in zip(keys, values, strict=True) if value is not None}
    return frozenset(has)


async def _common(models: Sequence[Model], read: Read) -> dict[str, str]:
    """What the device says it is."""
    common = next((m for m in models if m.number == COMMON and m.length >= _COMMON_LENGTH), None)
    if common is None:
        return {}
    words = (await read(common.address + 2, _COMMON_LENGTH)).registers
    parts = {"maker": (0, 16), "model": (16, 32), "firmware": (40, 48), "serial": (48, 64)}
    return {name: text_of(words[first:end]) for name, (first, end) in parts.items()}
