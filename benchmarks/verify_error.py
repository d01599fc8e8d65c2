"""How often is verify's verdict right? A server whose penalty on the first request is known, under load.

The server is a fresh process each time, speaks HTTP, and takes 3 ms for a request; the first one takes 1, 1.2, 2 or 10
times as long. Requests that take no time have warmed its path before: its own first steps would be a penalty too. A
hundred verifications for each, ten starts apiece, while another process keeps a core busy. Right is ``pass`` without a
penalty and ``fail`` with one; a refusal is counted apart. Beside it, what the first start alone would have said by the
same limit. Run in a checkout: ``python -m benchmarks.verify_error``.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from benchmarks.results import save
from kserve_warmup.latency import Target, send
from kserve_warmup.protocols.bodies import request
from kserve_warmup.samples import SampleSet
from kserve_warmup.verify.running import Running
from kserve_warmup.verify.verification import Options, verify
from kserve_warmup.verify.verify_result import Verification

PENALTIES = (1.0, 1.2, 2.0, 10.0)
BASE_SECONDS = 0.003
OPTIONS = Options(starts=10, requests=10, pace=0.003)
WARMUPS = 30
FORK = multiprocessing.get_context("fork")


class Handler(BaseHTTPRequestHandler):
    penalty = 1.0
    warming = WARMUPS

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if Handler.warming:
            Handler.warming -= 1
        else:
            time.sleep(BASE_SECONDS * Handler.penalty)
            Handler.penalty = 1.0
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass


def serve(listener: socket.socket, penalty: float) -> None:
    Handler.penalty = penalty
    server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket = listener
    server.serve_forever()


class Penalised:
    """A server that is as slow at its first request as it was told to be."""

    def __init__(self, penalty: float, samples: SampleSet) -> None:
        self._penalty, self._sample = penalty, samples.samples[0]

    def __str__(self) -> str:
        return f"a penalty of {self._penalty:g}"

    @contextlib.contextmanager
    def start(self) -> Iterator[Running]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            started = time.monotonic()
            process = FORK.Process(target=serve, args=(listener, self._penalty), daemon=True)
            process.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                for _ in range(WARMUPS):
                    send(self._sample, Target(url, "model"))
                yield Running(url, None, started)
            finally:
                process.kill()
                process.join()


def burn(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        sum(range(10000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    samples = SampleSet("model", (request("v1", b'{"instances": [[1.0, 2.0]]}'),))
    load = FORK.Process(target=burn, args=(max(os.sched_getaffinity(0)),), daemon=True)
    load.start()
    results: dict[str, Any] = {}
    for penalty in PENALTIES:
        runs = [verify(Penalised(penalty, samples), [samples], OPTIONS) for _ in range(options.runs)]
        results[f"{penalty:g}"] = found = summary(runs, "pass" if penalty == 1 else "fail")
        counts = f"right {found['right']}, wrong {found['wrong']}, refused {found['refused']} of {options.runs}"
        print(f"penalty {penalty:4g}: {counts}; one start alone: right {found['one_start_right']}", flush=True)
    load.kill()
    save("verify_error", {"runs": options.runs, "starts": OPTIONS.starts, "penalties": results})


def summary(runs: list[Verification], right: str) -> dict[str, Any]:
    verdicts = [run.verdict for run in runs]
    ratios = sorted(run.rows[0].judgement.ratio for run in runs)
    alone = ["fail" if run.rows[0].series[0].ratio > run.max_ratio else "pass" for run in runs]
    return {
        "right": verdicts.count(right),  # type: ignore[arg-type]  # a verdict is one of three words
        "refused": verdicts.count("noisy"),
        "wrong": len(runs) - verdicts.count(right) - verdicts.count("noisy"),  # type: ignore[arg-type]
        "one_start_right": alone.count(right),
        "ratio_lowest_median_highest": [ratios[0], ratios[len(ratios) // 2], ratios[-1]],
        "doubt_median": sorted(run.rows[0].judgement.doubt for run in runs)[len(runs) // 2],
    }


if __name__ == "__main__":
    main()
