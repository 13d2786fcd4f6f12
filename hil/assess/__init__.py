"""From a run folder to its result: pure functions, no bench needed.

To be read in this order; each module uses those before it:

- ``uncertainty``: terms, how they combine, a figure over many steps;
- ``devices``: who was on the bench, and the EVSE's rating;
- ``steps``: the record cut into setpoint steps;
- ``reference``: the reference meter's own error, by certificate or class;
- ``habits``: how a meter is polled, refreshes and averages;
- ``trace``: the reference meter's power, one value per refresh, with the meter's weaknesses;
- ``windows``: many windows of one series at once;
- ``passage``: levels and bands of steps, and the first value that leaves;
- ``shape``: the family of curves that responses follow;
- ``sketch``: where a response is, roughly;
- ``fitting``, ``curves``: curves fitted to many responses, and the instants they tell;
- ``weighing``: instants where a meter shows too few values for a fit;
- ``crossing``: instants between values, where no curve fits;
- ``scrutiny``: whether every value up to the end of the hold bears a curve out;
- ``response``: the instants of many responses, by whichever of these serves;
- ``tracking``: accuracy and precision;
- ``outcome``: all that is told of one step: what became of it, its instants, its figures;
- ``measure``: from all steps of an EVSE to what became of each;
- ``plausibility``: steps whose meter contradicts itself;
- ``attribution``: responses that belong to an earlier setpoint;
- ``doubts``: steps that should have told a figure and did not;
- ``verdict``: the decision rules, and the risk in them;
- ``certifying``: what stands in the way of a verdict that is to be signed;
- ``entry``: one attribute as it stands in the result, with its budget and its verdict;
- ``rates``: ramp rates, W/s;
- ``summary``: from all steps of an EVSE to its attributes;
- ``chain``: the delays of all steps, link by link;
- ``found``: what a record tells of one further attribute;
- ``linearity``: gain, offset, non-linearity and hysteresis, in watts or in amperes;
- ``offered``: the pilot against the setpoint, the current against the pilot;
- ``granularity``: staircases: how finely the power can be set, and dead bands;
- ``floor``: power at a setpoint of 0, setpoints below 6 A, the least power that is stable;
- ``overshoot``; ``energy``, ``in_force``: energy of the reference, and which limit binds when;
- ``excursion``, ``unused``: energy above a limit that binds, and energy that was not used;
- ``register``, ``energy_accuracy``: the charger's register, and it against the reference;
- ``sessions``: start, stop, pause and resume; ``phase_use``: on how many phases the car charges;
- ``catalogue``, ``character``: all of these as attributes;
- ``curve``: the meter's power as a curve that can be integrated;
- ``grid_response``: a step response as the answer to other demands, by superposition;
- ``requirement``: one requirement of a grid service, and what follows from what was told of it;
- ``step_groups``, ``step_requirements``, ``share_requirements``: what the steps tell of them;
- ``pilot_requirements``: what the control pilot tells of the timing of IEC 61851-1;
- ``pjm``: the performance score of a signal that was followed;
- ``services``: the table of all of them;
- ``evaluate``: from the record to ``result.json``.
"""
