"""Conformance cases on a live bench: a pre-check of a station, and no certification of it."""
