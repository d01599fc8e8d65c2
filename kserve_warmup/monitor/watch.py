"""The watch that begins when a model is ready: late compiles and unseen requests, told, counted and captured.

A request costs a few references and a look at a clock. What is judged is judged by a thread, of whose time requests
lose a hundredth at most; the body of a request that nothing compiled for is let go when that is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from prometheus_client import Counter

from kserve_warmup.capture.capturing import CAPTURE, Capture
from kserve_warmup.errors import SampleError
from kserve_warmup.monitor import dynamo_compiles, jax_compiles, numba_compiles, triton_language_compiles
from kserve_warmup.monitor.compile_hooks import Hooks
from kserve_warmup.monitor.taken_request import CURRENT, LateCompile, TakenRequest
from kserve_warmup.monitor.warmed_strata import WarmedStrata
from kserve_warmup.samples.sample import PROTOCOLS, Stratum
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.place import exact
from kserve_warmup.serving.context import is_warmup

logger = logging.getLogger("kserve.warmup")

LATE = Counter("kserve_warmup_late_compiles", "Programs compiled after a model was ready.", ("framework",))
UNSEEN = Counter("kserve_warmup_unseen_requests", "Requests looked at whose stratum was not warmed.", ("protocol",))

PERIOD = 0.25
LOOK_SECONDS = 0.05
"""Between two looks at requests for which nothing compiled; a look that takes long makes the pause longer."""
AGAIN_SECONDS = 1.0
"""The same, for a path and length that were looked at before."""
PAUSE = 100
"""A look is followed by a pause of this many times its length."""
LARGEST = 16 << 20
"""Bytes of a body that is held, and of all that wait."""
MOST_NAMES = 20
"""Warnings of each kind before one says that there are more."""
MOST_KEYS = 4096
CAPTURED_EACH = 8
"""Requests of one stratum that the capture gets beyond its rate."""

_HOOKS = (jax_compiles, numba_compiles, dynamo_compiles, triton_language_compiles)

HOW = "record it with KSERVE_WARMUP_CAPTURE_DIR, or sample the traffic anew, and the next start is warm for it"


class Watch:
    """The watch of one process."""

    def __init__(self, capture: Capture, settled: Callable[[str | None], bool] = lambda _: True) -> None:
        """Watch nothing yet.

        Args:
            capture: takes requests that were missed.
            settled: whether the model of a name, or any one of this process, is neither being loaded nor warmed.
        """
        self.settled = settled
        self._capture = capture
        self._models: dict[str, WarmedStrata] = {}
        self._hooks = Hooks(_HOOKS, self.compiled)
        self._queue: deque[TakenRequest | LateCompile] = deque()
        self._held = 0
        self._lock, self._judging = threading.Lock(), threading.Lock()
        self._keys: set[tuple[str, int]] = set()
        self._due = self._due_again = 0.0
        self._told: dict[str, set[str]] = {}
        self._captured: dict[tuple[str, Stratum], int] = {}
        self._thread: threading.Thread | None = None

    def begin(self, model: str, warmed: WarmedStrata) -> None:
        """Watch ``model``, which is ready: its own compiles are done."""
        self._models[model] = warmed
        self._hooks.install()
        for hook in _HOOKS:
            LATE.labels(hook.FRAMEWORK)
        for protocol in PROTOCOLS:
            UNSEEN.labels(protocol)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="kserve-warmup-monitor", daemon=True)
            self._thread.start()

    def __bool__(self) -> bool:
        """Return whether any model is watched."""
        return bool(self._models)

    def __contains__(self, model: str) -> bool:
        """Return whether a model is watched."""
        return model in self._models

    def compiled(self, framework: str, program: str, seconds: float | None) -> None:
        """Take a compile, on the thread that it happened on."""
        if not self._models or is_warmup():
            return
        request = CURRENT.get()
        found = LateCompile(framework, program, seconds)
        if request is not None and not request.over:
            if request.model not in self._models or not self.settled(request.model):
                return
            LATE.labels(framework).inc()
            if len(request.compiles) < MOST_NAMES:
                request.compiles.append(found)
        elif self.settled(None):
            LATE.labels(framework).inc()
            if len(self._queue) < MOST_KEYS:
                self._queue.append(found)

    def ended(self, request: TakenRequest, *, success: bool) -> None:
        """Take a request that was answered; it is looked at if something compiled for it, or if there is time."""
        request.over, request.success = True, success
        if request.make is not None and (request.compiles or (success and self._is_due(request))):
            with self._lock:
                if self._held + request.size <= LARGEST:
                    self._held += request.size
                    self._queue.append(request)
                    return
        request.make = None
        self._queue.extend(request.compiles)

    def _is_due(self, request: TakenRequest) -> bool:
        now = time.monotonic()
        if now < self._due:
            return False
        key = (request.path, request.size)
        if key in self._keys and now < self._due_again:
            return False
        if len(self._keys) >= MOST_KEYS:
            self._keys.clear()
        self._keys.add(key)
        self._due, self._due_again = now + LOOK_SECONDS, now + AGAIN_SECONDS
        return True

    def _work(self) -> None:
        while True:
            time.sleep(PERIOD)
            self._hooks.install()
            self.judge()

    def judge(self) -> None:
        """Judge what has been taken so far."""
        with self._judging:
            while self._queue:
                taken = self._queue.popleft()
                started = time.thread_time()
                try:
                    if isinstance(taken, LateCompile):
                        self._tell_compile(taken, None, None)
                    else:
                        self._judge(taken)
                except Exception:
                    logger.debug("a request could not be judged", exc_info=True)
                if isinstance(taken, TakenRequest):
                    taken.make = None
                    with self._lock:
                        self._held -= taken.size
                self._due = max(self._due, time.monotonic() + PAUSE * (time.thread_time() - started))

    def _judge(self, request: TakenRequest) -> None:
        record, stratum = _placed(request)
        warmed = self._models.get(request.model)
        unseen = stratum is not None and warmed is not None and stratum not in warmed
        for compile_ in request.compiles:
            self._tell_compile(compile_, request.model, stratum, unseen=unseen)
        if record is None or stratum is None or not (request.success and (unseen or request.compiles)):
            return
        if unseen:
            UNSEEN.labels(stratum.protocol).inc()
            what = f"{request.model}: a request of a stratum that was not warmed: {stratum}: {HOW}"
            self._warn("unseen", f"{request.model} {stratum}", what)
        recorder = self._capture.get(request.model)
        number = self._captured.get((request.model, stratum), 0)
        if recorder is None or request.recorded or number >= CAPTURED_EACH:
            return
        if len(self._captured) >= MOST_KEYS:
            self._captured.clear()
        self._captured[(request.model, stratum)] = number + 1
        recorder.offer(record)

    def _tell_compile(
        self, found: LateCompile, model: str | None, stratum: Stratum | None, *, unseen: bool = False
    ) -> None:
        took = "" if found.seconds is None else f" for {found.seconds:.3g} s"
        what = f"{model or 'after ready'}: {found.framework} compiled {found.program}{took} under real traffic"
        if stratum is not None:
            why = "no sample that was warmed has this shape" if unseen else "its stratum was warmed with other values"
            what += f", in a request of {stratum}: {why}"
        self._warn("compile", f"{found.framework} {found.program}", f"{what}: {HOW}")

    def _warn(self, kind: str, name: str, message: str) -> None:
        told = self._told.setdefault(kind, set())
        if name in told or len(told) > MOST_NAMES:
            return
        told.add(name)
        if len(told) > MOST_NAMES:
            message = (
                f"more than {MOST_NAMES} late compiles or unseen strata: further ones are only counted in /metrics"
            )
        logger.warning("%s", message)


def _placed(request: TakenRequest) -> tuple[Record | None, Stratum | None]:
    """Return a request's record and stratum, None where its body tells none."""
    if request.make is None:
        return None, None
    try:
        record = request.make()
        return record, exact(record)
    except SampleError:
        return None, None


WATCH = Watch(CAPTURE)
"""This process's."""
