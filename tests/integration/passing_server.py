"""Shows what reaches a server behind a proxy, and what its answers may look like; ready as soon as it listens.

``python passing_server.py --http_port PORT``: each predict is noted in the file ``$CALLS``, a poisoned one kills it.
"""

import argparse
import asyncio
import gzip
import hashlib
import os
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

GO = asyncio.Event()


async def ready(_):
    return JSONResponse({"name": "model", "ready": True})


def note(body):
    with Path(os.environ["CALLS"]).open("ab") as calls:
        calls.write(body + b"\n")


async def predict(request):
    body = await request.body()
    note(body)
    if b"poison" in body:
        os._exit(9)
    return JSONResponse({"predictions": [len(body)]})


async def echo(request):
    body = await request.body()
    if request.query_params.get("die"):
        os._exit(9)
    found = {"method": request.method, "path": str(request.url.path), "headers": request.headers.items()}
    return JSONResponse(found | {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})


async def events(_):
    async def told():
        yield "data: 1\n\n"
        await GO.wait()
        yield "data: 2\n\n"

    return StreamingResponse(told(), media_type="text/event-stream")


async def go(_):
    GO.set()
    return JSONResponse({})


async def zipped(_):
    headers = {"content-encoding": "gzip", "x-of-the-server": "kept"}
    return Response(gzip.compress(b"small" * 100), headers=headers)


async def big(_):
    return Response(b"x" * (5 << 20))


async def socket(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text[::-1])


ROUTES = [
    Route("/v1/models/model", ready),
    Route("/v1/models/model:predict", predict, methods=["POST"]),
    Route("/echo", echo, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    Route("/events", events),
    Route("/go", go),
    Route("/zipped", zipped),
    Route("/big", big),
    WebSocketRoute("/socket", socket),
]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--http_port", type=int)
    options, _ = parser.parse_known_args()
    uvicorn.run(Starlette(routes=ROUTES), port=options.http_port, log_level="warning")
