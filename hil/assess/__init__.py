"""From a run folder to its result: pure functions, no bench needed.

To be read in this order; each room uses those before it, and names its modules in their order:

- ``uncertainty``: terms, how they combine, a figure over many steps;
- ``reading``: what the record says, cleaned of what instruments do to it;
- ``response``: how the power moved after a setpoint;
- ``outcome``: what became of each step, and what must not be concluded from it;
- ``verdict``: the decision rules, and the risk in them;
- ``certifying``: what stands in the way of a verdict that is to be signed;
- ``entry``: one attribute as it stands in the result, with its budget and its verdict;
- ``rates``: ramp rates, W/s;
- ``summary``: from all steps of an EVSE to its attributes;
- ``chain``: the delays of all steps, link by link;
- ``character``: the attributes beside them;
- ``services``: the table of grid services;
- ``evaluate``: from the record to ``result.json``.
"""
