"""Instruments without an interface: a person reads and sets them."""
