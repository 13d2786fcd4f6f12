"""Drivers of reference meters."""
