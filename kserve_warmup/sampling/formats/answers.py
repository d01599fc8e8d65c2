"""Which requests of a log were answered: told by the answers that the log has, too.

KServe's logger and others write a record for each request and one for its answer, with the same id, and the answer only
if it was a success (pkg/logger/handler.go). So a request without an answer, in a log that has answers, was refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kserve_warmup.sampling.formats.record import Answer, BadRecord, Record

NO_ANSWER = 0
"""Status of a request that others were answered around, and it was not."""

_WAITING = 4096
_WAITING_BYTES = 64 << 20
"""Requests that wait for their answers: a log has both close together. Beyond that the oldest waits no longer."""

_EARLY = 65_536
"""Answers before their requests: those of loggers that write in several threads."""


def judged(items: Iterable[Record | BadRecord | Answer]) -> Iterator[Record | BadRecord]:
    """Yield the records, with status 200 where an answer was found, and :data:`NO_ANSWER` where others have one.

    The order is that in which it is known. In what has no answers at all, every status stays as it was recorded.
    """
    waiting: dict[str, Record] = {}
    early: dict[str, None] = {}
    size, seen = 0, False

    def told(record: Record) -> Record:
        return record._replace(status=NO_ANSWER) if seen else record

    for item in items:
        if isinstance(item, Answer):
            seen = True
            if record := waiting.pop(item.id, None):
                size -= len(record.body)
                yield record._replace(status=200)
            elif item.id:
                early[item.id] = None
                if len(early) > _EARLY:
                    del early[next(iter(early))]
        elif isinstance(item, BadRecord) or item.id is None or item.status is not None:
            seen = seen or (isinstance(item, Record) and item.id is not None)
            yield item
        elif item.id in early:
            del early[item.id]
            yield item._replace(status=200)
        else:
            if before := waiting.pop(item.id, None):
                size -= len(before.body)
                yield told(before)
            waiting[item.id] = item
            size += len(item.body)
            while len(waiting) > _WAITING or size > _WAITING_BYTES:
                oldest = waiting.pop(next(iter(waiting)))
                size -= len(oldest.body)
                yield told(oldest)
    yield from map(told, waiting.values())
