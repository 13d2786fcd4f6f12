"""Pages and tables for people and for CI, from a run folder and its result.

Rounding and wording belong here and nowhere else: ``rounding``, ``words`` and ``palette`` are the
vocabulary. ``sections`` (devices, steps, conditions), ``attributes``, ``budget`` (uncertainty),
``decision`` (rule, limits, reference meters), ``chain`` (delays) and ``services`` turn a result
into lines of text that every output shares; ``traces`` (the whole run) and ``steps`` (one setpoint)
prepare what is drawn; ``plots`` and ``bars`` draw it as still SVG and ``figures`` as data for
plotly.js; ``html``, ``junit`` and ``terminal`` are the outputs.
"""
