"""Drivers of chargers under test."""
