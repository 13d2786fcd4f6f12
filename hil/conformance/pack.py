"""A pack of conformance cases, played one after the other on one EVSE of an open bench.

Every case begins at its own start condition and ends on the ladder to the safe state. What comes
of it is a pre-check, and no certification.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hil.bench.safety import reach_safe_state
from hil.config.conformance import ConformanceCase, Pics
from hil.config.load import Bench, Loaded
from hil.conformance.applies import too_much, why_not
from hil.conformance.dialects import DIALECTS
from hil.conformance.heard import Heard
from hil.conformance.play import Playing
from hil.conformance.scene import Scene
from hil.conformance.verdicts import Outcome
from hil.conformance.wire import Wire, tolerance_for
from hil.drivers.protocols import Evse, OcppStation
from hil.errors import ConfigError, DeviceError, HilError, RecordError
from hil.quantities import EventKind
from hil.record.journal import Severity
from hil.record.run_folder import write_whole

if TYPE_CHECKING:
    from hil.session import Session

OUTCOMES = "conformance.json"
"""What came of the cases, in the run folder."""

DISCLAIMER = (
    "This is a pre-check by a test bench, in its own words; it is no certification, and none "
    "follows from it."
)


class Pack:
    """The cases of one run. ``outcomes`` has one for each, played or not."""

    name = "conformance"

    def __init__(
        self,
        bench: Bench,
        evse: str,
        cases: Sequence[Loaded[ConformanceCase]],
        pics: Loaded[Pics] | None,
        elsewhere: int = 0,
    ) -> None:
        self.elsewhere = elsewhere
        """How many cases there are beside these, all of other versions of OCPP."""
        self._bench, self._evse = bench, evse
        self._cases = [case.model for case in cases]
        self._pics = pics.model if pics else None
        self.files: Mapping[str, str] = {
            **{f"conformance/{case.path.name}": case.source.text for case in cases},
            **({"pics.yaml": pics.source.text} if pics else {}),
        }
        self.outcomes = [Outcome(case.case, case.version[0], case.oracle) for case in self._cases]
        for outcome in self.outcomes:
            outcome.other = ("ERROR", "the run ended before this case was played")

    def facts(self) -> list[dict[str, Any]]:
        """What came of the cases, for JSON."""
        return [outcome.facts() for outcome in self.outcomes]

    async def perform(self, session: Session) -> None:
        """Play every case that applies. Raises HilError where going on would not be safe."""
        try:
            scene = self._scene(session)
            known = await self._read_keys(scene)
            for case, outcome in zip(self._cases, self.outcomes, strict=True):
                await self._one(case, outcome, scene, known, session)
        finally:
            self._write(session)

    def _write(self, session: Session) -> None:
        """A disk that is full must not stand in the place of what ended the pack."""
        try:
            write_whole(session.folder.path / OUTCOMES, self.text())
        except RecordError as error:
            session.folder.tolerate()
            session.journal.finding("bench", "conformance_unwritten", str(error), "error")

    def text(self) -> str:
        """The JSON document."""
        return json.dumps(self.facts(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _scene(self, session: Session) -> Scene:
        device = session.devices.evses[self._evse]
        if not isinstance(device, OcppStation) or device.ocpp_version not in DIALECTS:
            known = ", ".join(DIALECTS)
            raise ConfigError(f"{self._evse}: cases are played on chargers that speak OCPP {known}")
        assert isinstance(device, Evse)
        wire, heard = Wire(session.config, self._evse), Heard(self._evse)
        session.journal.subscribe(wire)
        session.journal.subscribe(heard)
        return Scene(
            self._evse,
            device,
            device,
            session.devices.pilots_of(session.config)[self._evse],
            session.config.ocpp_evses()[self._evse],
            self._bench.ocpp_profiles()[self._evse],
            session.journal,
            session.observed,
            wire,
            heard,
            tolerance_for(self._bench, self._evse),
            session.devices.elsewhere.get(self._evse),
        )

    async def _read_keys(self, scene: Scene) -> dict[str, str]:
        dialect = DIALECTS[scene.station.ocpp_version]
        call = dialect.ask_keys()
        reply = await scene.station.call(call.action, call.payload)
        return dialect.keys_told(reply.payload)

    async def _one(
        self,
        case: ConformanceCase,
        outcome: Outcome,
        scene: Scene,
        known: Mapping[str, str],
        session: Session,
    ) -> None:
        version = scene.station.ocpp_version
        outcome.version = next((v for v in case.version if v == version), outcome.version)
        reason = why_not(
            case,
            self._pics,
            known,
            scene.profile,
            version,
            scene.config.rating,
            scene.elsewhere is not None,
        )
        highest = case.highest_a * scene.per_ampere(case)
        in_watts = scene.profile.unit == "W"
        reason = reason or too_much(
            highest if in_watts else 0.0,
            0.0 if in_watts else highest,
            scene.config,
            scene.amperes(case.lowest_a * scene.per_ampere(case)),
        )
        if reason:
            outcome.other = ("NOT_APPLICABLE", reason)
        else:
            self._tell(scene, case, case.title)
            outcome.other = ("ERROR", "the run ended before this case was over")
            await self._play(Playing(case, scene, outcome))
            safe = await reach_safe_state(
                session.config, session.devices, session.observed, session.journal
            )
            if not safe.confirmed:
                outcome.other = ("ERROR", f"safe state not confirmed: {safe.detail}")
        self._conclude(case, outcome, scene)
        if outcome.verdict == "ERROR" and outcome.reason.startswith("safe state"):
            raise HilError(f"{case.case}: {outcome.reason}; no further case is played")

    async def _play(self, playing: Playing) -> None:
        """One case; what a device fails to do is no verdict on the station unless it is its own."""
        scene, outcome = playing.scene, playing.outcome
        scene.wire.forget()
        try:
            await playing.begin()
            await playing.play()
            outcome.other = None
        except DeviceError as error:
            own = error.device == scene.name
            outcome.other = ("INCONCLUSIVE" if own else "ERROR", f"{error.device}: {error.what}")
        finally:
            playing.leave()

    def _conclude(self, case: ConformanceCase, outcome: Outcome, scene: Scene) -> None:
        verdict, reason = outcome.verdict, outcome.reason
        self._tell(scene, case, reason, verdict=verdict)
        if verdict in ("FAIL", "INCONCLUSIVE", "ERROR"):
            severity: Severity = "warning" if verdict == "INCONCLUSIVE" else "error"
            words = f"{case.case} ({case.title}): {verdict}: {reason}"
            code = f"conformance_{verdict.lower()}"
            scene.journal.finding(scene.name, code, words, severity)

    def _tell(self, scene: Scene, case: ConformanceCase, text: str, **more: Any) -> None:
        scene.journal.event(EventKind.CONFORMANCE, scene.name, case=case.case, text=text, **more)
