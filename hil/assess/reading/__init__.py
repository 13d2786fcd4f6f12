"""What the record says, cleaned of what instruments do to it.

- ``devices``: who was on the bench, and the EVSE's rating;
- ``steps``: the record cut into setpoint steps;
- ``reference``: the reference meter's own error, by certificate or class;
- ``habits``: how a meter is polled, refreshes and averages;
- ``trace``: the reference meter's power, one value per refresh, with the meter's weaknesses;
- ``windows``: many windows of one series at once.
"""
