"""Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008)."""

from __future__ import annotations

MEASURED = "#0072b2"
REQUESTED = "#d55e00"
CLAIMED = "#767676"
OFFERED = "#009e73"
INK = "#1a1a1a"
FAINT = "#d9d9d9"

SEGMENTS = {
    "network": "#cc79a7",
    "evse": "#e69f00",
    "ev": "#56b4e9",
    "evse_ev": "#e69f00",
    "ramp": "#009e73",
}
"""The parts of a delay, by who answers for them."""

LINKS = {
    "network": SEGMENTS["network"],
    "evse": SEGMENTS["evse"],
    "ev_dead_time": SEGMENTS["ev"],
    "ramp": SEGMENTS["ramp"],
    "settling": "#f0e442",
}
"""The links of the delay chain, in the same colours."""
