"""hil: a hardware-in-the-loop test bench for EV chargers."""

__version__ = "0.1.0"
