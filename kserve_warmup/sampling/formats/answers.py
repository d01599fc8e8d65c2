"""Which requests of a log were answered: told by the answers that the log has, too.

KServe's logger and others write a record for each request and one for its answer, with the same id, and the answer only
if it was a success (pkg/logger/handler.go). So a request without an answer, in a log that has answers, was refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kserve_warmup.sampling.formats.record import Answer, BadRecord, Record

NO_ANSWER = 0
"""Status of a request that others were answered around, and it was not."""

_MOST = 4096
_MOST_BYTES = 64 << 20
"""Requests that wait for their answers: a log has both close together. Beyond that the oldest waits no longer."""

_EARLY = 65_536
"""Answers before their requests: those of loggers that write in several threads."""


def judged(items: Iterable[Record | BadRecord | Answer]) -> Iterator[Record | BadRecord]:
    """Yield the records, with status 200 where an answer was found, and :data:`NO_ANSWER` where others have one.

    The order is that in which it is known. In what has no answers at all, every status stays as it was recorded.
    """
    waiting = _Waiting()
    for item in items:
        if isinstance(item, Answer):
            yield from waiting.answered(item.id)
        elif isinstance(item, BadRecord) or item.id is None:
            yield item
        else:
            yield from waiting.asked(item, item.id)
    yield from waiting.rest()


class _Waiting:
    """Requests whose answers may still come, the oldest first."""

    def __init__(self) -> None:
        self._requests: dict[str, Record] = {}
        self._early: dict[str, None] = {}
        self._bytes = 0
        self._seen = False

    def answered(self, key: str) -> Iterator[Record]:
        self._seen = True
        if record := self._take(key):
            yield record._replace(status=200)
        elif key:
            self._early[key] = None
            if len(self._early) > _EARLY:
                del self._early[next(iter(self._early))]

    def asked(self, record: Record, key: str) -> Iterator[Record]:
        if record.status is not None:
            self._seen = True
            yield record
        elif key in self._early:
            del self._early[key]
            yield record._replace(status=200)
        else:
            if before := self._take(key):
                yield self._unanswered(before)
            self._requests[key] = record
            self._bytes += len(record.body)
            while len(self._requests) > _MOST or self._bytes > _MOST_BYTES:
                if oldest := self._take(next(iter(self._requests))):
                    yield self._unanswered(oldest)

    def rest(self) -> Iterator[Record]:
        yield from map(self._unanswered, self._requests.values())

    def _take(self, key: str) -> Record | None:
        record = self._requests.pop(key, None)
        self._bytes -= len(record.body) if record else 0
        return record

    def _unanswered(self, record: Record) -> Record:
        return record._replace(status=NO_ANSWER) if self._seen else record
