"""Pages and tables for people and for CI, from a run folder and its result.

Rounding and wording belong here and nowhere else. ``words`` and ``palette`` are the vocabulary;
``sections`` turns a result into lines of text that every output shares; ``traces`` (the whole run)
and ``steps`` (one setpoint) prepare what is drawn; ``plots`` draws it as still SVG and ``figures``
as data for plotly.js; ``html``, ``junit`` and ``terminal`` are the outputs.
"""
