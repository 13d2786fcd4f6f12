"""Drivers of control-pilot emulators."""
