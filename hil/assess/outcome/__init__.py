"""What became of each setpoint step, and what must not be concluded from it.

- ``tracking``: accuracy and precision;
- ``step``: all that is told of one step: what became of it, its instants, its figures;
- ``measure``: from all steps of an EVSE to what became of each;
- ``attribution``: responses that belong to an earlier setpoint;
- ``plausibility``: steps whose meter contradicts itself;
- ``doubts``: steps that should have told a figure and did not.
"""
