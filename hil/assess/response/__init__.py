"""How the power moved after a setpoint: its levels, its curve, its instants.

- ``passage``: levels and bands of steps, and the first value that leaves;
- ``shape``: the family of curves that responses follow;
- ``sketch``: where a response is, roughly;
- ``fitting``, ``curves``: curves fitted to many responses, and the instants they tell;
- ``weighing``: instants where a meter shows too few values for a fit;
- ``crossing``: instants between values, where no curve fits;
- ``scrutiny``: whether every value up to the end of the hold bears a curve out;
- ``instants``: the instants of many responses, by whichever of these serves.
"""
