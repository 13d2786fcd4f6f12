"""Which versions of OCPP cases can be played in."""

from __future__ import annotations

from collections.abc import Mapping

from hil.conformance import calls2, calls16
from hil.conformance.calls import Dialect

DIALECTS: Mapping[str, Dialect] = {"1.6": calls16, "2.0.1": calls2, "2.1": calls2}
"""By the version of OCPP that a station speaks."""
