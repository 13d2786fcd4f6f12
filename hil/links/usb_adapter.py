"""USB serial adapters by their serial number, whatever their ports are called today."""

from __future__ import annotations

from serial.tools import list_ports

from hil.errors import DeviceError

_USB = "/usb/"


def usb_serial_of(port: str) -> str | None:
    """The serial number that ``/usb/SERIAL`` names; ``None`` for the name of a port."""
    return port.removeprefix(_USB) if port.startswith(_USB) else None


def port_of(device: str, usb_serial: str) -> str:
    """The port that the adapter has now.

    Raises DeviceError if no adapter, or more than one port, has that number.
    """
    ports = list(list_ports.comports())
    found = [port.device for port in ports if port.serial_number == usb_serial]
    if len(found) == 1:
        return str(found[0])
    there = ", ".join(f"{p.device} ({p.serial_number})" for p in ports if p.serial_number) or "none"
    what = "no USB adapter has" if not found else f"the ports {', '.join(found)} all have"
    raise DeviceError(
        device,
        f"cannot be reached: {what} the serial number {usb_serial}",
        f"Check the cable and 'link'; adapters of this computer: {there}",
    )
