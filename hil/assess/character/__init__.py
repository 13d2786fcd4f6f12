"""Attributes beside the practical ones: what a charger and its car are like.

- ``found``: what a record tells of one further attribute;
- ``linearity``: gain, offset, non-linearity and hysteresis, in watts or in amperes;
- ``offered``: the pilot against the setpoint, the current against the pilot;
- ``granularity``: staircases: how finely the power can be set, and dead bands;
- ``floor``: power at a setpoint of 0, setpoints below 6 A, the least power that is stable;
- ``overshoot``;
- ``in_force``, ``excursion``, ``unused``: since when a limit binds; energy above it, and not used;
- ``register``, ``energy``, ``energy_accuracy``: the charger's register against the reference;
- ``sessions``: start, stop, pause and resume; ``phase_use``: on how many phases the car charges;
- ``catalogue``, ``table``: all of these as attributes.
"""
