"""Grid services: what one record says of their requirements.

- ``curve``: the meter's power as a curve that can be integrated;
- ``grid_response``: a step response as the answer to other demands, by superposition;
- ``requirement``: one requirement of a grid service, and what follows from what was told of it;
- ``step_groups``, ``step_requirements``, ``share_requirements``: what the steps tell of them;
- ``pilot_requirements``: what the control pilot tells of the timing of IEC 61851-1;
- ``pjm``: the performance score of a signal that was followed;
- ``table``: all of them.
"""
