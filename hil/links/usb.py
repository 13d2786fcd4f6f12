"""USB adapters by their serial number: what an adapter is called changes, its number does not.

``/usb/SERIAL`` in place of a port's name stands for the adapter with that number.
"""

from __future__ import annotations

from serial.tools import list_ports

from hil.errors import DeviceError

USB = "/usb/"
"""Stands before a serial number."""


def real_name(device: str, port: str) -> str:
    """What a port is called at the moment. Takes its time; not for the event loop.

    Raises DeviceError if no adapter, or more than one port, has the serial number.
    """
    if not port.startswith(USB):
        return port
    wanted = port[len(USB) :]
    found = [one.device for one in list_ports.comports() if one.serial_number == wanted]
    if len(found) == 1:
        return str(found[0])
    what = "no USB adapter has" if not found else f"the ports {', '.join(found)} all have"
    raise DeviceError(
        device,
        f"cannot be reached: {what} the serial number {wanted}",
        f"Check the cable and 'link'; ports of this computer: {ports_there()}",
    )


def ports_there() -> str:
    """The ports of this computer, with the serial numbers by which an adapter can be named."""
    told = [
        f"{port.device} (/usb/{port.serial_number})" if port.serial_number else str(port.device)
        for port in list_ports.comports()
    ]
    return ", ".join(sorted(told)) or "none"
