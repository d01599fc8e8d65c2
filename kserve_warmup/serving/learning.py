"""What earlier starts learned of a model and this one uses, or what this one learns for the next."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kserve import Model

from kserve_warmup.caches.baked import baked_profile
from kserve_warmup.capture.capturing import folder_of
from kserve_warmup.capture.private_folder import open_private
from kserve_warmup.errors import WarmupError
from kserve_warmup.profile import MOST_RUNS, Profile
from kserve_warmup.profile_file import PROFILE_FILE, LearnedModel, ProfileFile, ProfileKey, add_to_file
from kserve_warmup.report import ProfileUse, StratumKey, WarmupReport
from kserve_warmup.samples import Sample
from kserve_warmup.serving.chosen import find_samples
from kserve_warmup.serving.profile_key import profile_key
from kserve_warmup.settings import WarmupSettings

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures


class Learning:
    """One start of one model: the profiles that it is given, and the latencies that it may leave for the next.

    A start that profiles have helped teaches nothing: learned from such starts, profiles drift.
    """

    def __init__(self, model: Model, settings: WarmupSettings, samples: Sequence[Sample]) -> None:
        """Look for profiles of ``model`` if it has samples; one that cannot be used is told and left."""
        self._name, self._settings = model.name, settings
        self._seen: dict[str, dict[StratumKey, tuple[float, ...]]] = {}
        self._key = profile_key(model, samples) if samples else ProfileKey()
        self._given: LearnedModel | None = None
        self.use = ProfileUse()
        if samples and not self._still_learns():
            self._given = next(self._found(), None)

    def profiles(self, path: str) -> Mapping[StratumKey, Profile]:
        """Return what is known of strata on a path, such as ``rest``; nothing of any but the first.

        A later path is judged in full: its calls are what warms the server's own stack, and with one a stratum, which
        a profile would leave of them, first requests took 1.15 to 1.44 times as long as later ones.
        """
        if self._given is None or not self._still_holds or self._seen:
            return {}
        strata = self._given.paths.get(path, {})
        if not strata:
            self._refuse(f"{path}: nothing was learned of it")
        return {key: profile.as_hint() for key, profile in strata.items()} if self.use.stale else strata

    def note(self, report: WarmupReport) -> None:
        """Take the report of one path that was warmed."""
        if report.profile:
            self.use = self.use.then(report.profile)
        seen = self._seen.setdefault(report.transport, {})
        for stratum in report.strata:
            if stratum.latencies_ms and stratum.converged:
                seen.setdefault(stratum.key, tuple(ms / 1000 for ms in stratum.latencies_ms))

    def finish(self, report: WarmupReport, *, first: bool) -> WarmupReport:
        """Leave what was learned where the settings say; return the report of the whole warm-up with what was done.

        Args:
            report: of all paths.
            first: whether the model was loaded for the first time in this process.
        """
        file = self._target
        learned = bool(self._seen) and first and not (self.use.used or report.moving)
        if file is not None and learned and self._write(file):
            self.use = replace(self.use, learned=str(file))
        return replace(report, profile=self.use if self.use != ProfileUse() else None)

    @property
    def _still_holds(self) -> bool:
        """Whether profiles can say anything: other code may compile at any call; a machine changes the scale."""
        return not {"code", "packages"} & {*self.use.stale}

    @property
    def _target(self) -> Path | None:
        return self._settings.profile_write or self._recorded

    @property
    def _recorded(self) -> Path | None:
        folder = folder_of(self._settings, self._name)  # whose files are recorded requests and nothing else
        return folder and folder.parent / ".profiles" / f"{folder.name}.json"

    def _still_learns(self) -> bool:
        """Return whether the file that is to be written has not seen enough starts yet."""
        file = self._settings.profile_write
        if file is None:
            return False
        found = self._read(file)
        return found is None or bool(found.key.differs(self._key)) or found.runs < MOST_RUNS

    def _found(self) -> Iterator[LearnedModel]:
        """Yield what earlier starts learned, from the first place that has something."""
        samples = find_samples(self._settings.samples, self._name)
        for file in (self._settings.profile, baked_profile(), samples and samples / PROFILE_FILE, self._recorded):
            found = self._read(file) if file is not None else None
            if found is None and file and file == self._settings.profile and not self.use.refused:
                self._refuse(f"{file}: it holds nothing of this model, or is not there")
            if found is not None:
                self.use = replace(self.use, source=str(file), stale=found.key.differs(self._key))
                if not self._still_holds:
                    self._refuse(f"{file}: it was learned with other {' and '.join(self.use.stale)}")
                yield found

    def _read(self, file: Path) -> LearnedModel | None:
        try:
            if file == self._recorded:
                os.close(open_private(file.parent))
            return ProfileFile.open(file).models.get(self._name)
        except FileNotFoundError:
            return None
        except (OSError, WarmupError) as error:
            said = getattr(error, "strerror", None) or error
            logger.warning("%s: the profile %s is not used: %s", self._name, file, said)
            self._refuse(f"{file}: {said}")
            return None

    def _refuse(self, why: str) -> None:
        self.use = replace(self.use, refused=(*self.use.refused, why))

    def _write(self, file: Path) -> bool:
        """Add this start to a file; that a disk is full must not keep a warm model from serving."""
        paths = {p: {key: Profile.learn([run]) for key, run in strata.items()} for p, strata in self._seen.items()}
        try:
            if file == self._recorded:
                os.close(open_private(file.parent, create=True))
            add_to_file(file, self._name, LearnedModel(self._key, paths))
        except (OSError, WarmupError) as error:
            logger.error(  # noqa: TRY400 - one line tells all
                "%s: cannot write the profile %s: %s: let KSERVE_WARMUP_PROFILE_WRITE name a file in a writable folder",
                self._name,
                file,
                getattr(error, "strerror", None) or error,
            )
            return False
        return True
