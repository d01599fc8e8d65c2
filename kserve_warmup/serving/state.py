"""Where one model stands between made and warm, in one process: events in, next state out; no I/O and no clock.

    NEW ──load begins──▶ LOADING ──loaded──▶ LOADED ──warm-up begins──▶ WARMING ──warmed──▶ WARM
                            │                  ▲                         │  ▲ │
                            └──load failed──▶ NEW                 waits──▼  │ └──failed──▶ FAILED
                                                                      WAITING

``declared`` is what the model itself says with ``self.ready``: it is loaded. ``load`` may begin anew from every state
in which nothing is under way.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class Phase(enum.Enum):
    """The steps towards a warm model."""

    NEW = "not loaded"
    LOADING = "loading"
    LOADED = "loaded, its warm-up waits for the server"
    WARMING = "warming up"
    WAITING = "waiting for something that it needs"
    WARM = "warm"
    FAILED = "its warm-up failed"


UNDER_WAY = frozenset({Phase.LOADING, Phase.WARMING, Phase.WAITING})
"""While in these, nobody may begin a load."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One moment of a model.

    ``load_wanted`` is whether ``load()`` was ever called: a copy of the model in another process has to do it too.
    """

    phase: Phase = Phase.NEW
    declared: bool = False
    load_wanted: bool = False

    @property
    def healthy(self) -> bool:
        """Return whether the model may be sent users' requests."""
        return self.declared and self.phase is Phase.WARM

    def load_begins(self) -> ModelState:
        """Return the state once a load has begun; what an earlier one declared counts no more.

        Raises:
            ValueError: something is under way.
        """
        if self.phase in UNDER_WAY:
            raise ValueError(f"a load cannot begin: the model is {self.phase.value}")
        return ModelState(Phase.LOADING, declared=False, load_wanted=True)

    def load_ends(self, *, loaded: bool) -> ModelState:
        """Return the state once the load is through; one that was not successful leaves the model as if new."""
        self._must_be(Phase.LOADING)
        return replace(self, phase=Phase.LOADED if loaded else Phase.NEW, declared=loaded)

    def declares(self, ready: bool) -> ModelState:
        """Return the state once the model has said whether it is ready; to say so without a load means loaded."""
        loaded = ready and self.phase in (Phase.NEW, Phase.FAILED)
        return replace(self, declared=ready, phase=Phase.LOADED if loaded else self.phase)

    def warms(self) -> ModelState:
        """Return the state once requests are sent, at first or again after a wait."""
        self._must_be(Phase.LOADED, Phase.WAITING, Phase.WARMING)
        return replace(self, phase=Phase.WARMING)

    def waits(self) -> ModelState:
        """Return the state while something else must come first: an engine, a predictor."""
        self._must_be(Phase.LOADED, Phase.WARMING, Phase.WAITING)
        return replace(self, phase=Phase.WAITING)

    def warmed(self) -> ModelState:
        """Return the state once every path that this process serves is warm."""
        self._must_be(Phase.LOADED, Phase.WARMING)
        return replace(self, phase=Phase.WARM)

    def fails(self) -> ModelState:
        """Return the state once it is certain that the model will not become warm."""
        return replace(self, phase=Phase.FAILED)

    def copied(self) -> ModelState:
        """Return the state of a copy in another process, which has loaded and warmed nothing yet."""
        ready_made = self.declared and not self.load_wanted
        return ModelState(Phase.LOADED if ready_made else Phase.NEW, ready_made, self.load_wanted)

    def _must_be(self, *phases: Phase) -> None:
        if self.phase not in phases:
            raise ValueError(f"the model is {self.phase.value}")
