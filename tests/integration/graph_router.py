"""Stands in for the router of an InferenceGraph, which is written in Go and on no registry of packages.

As KServe's (cmd/router/main.go): it takes a POST at any path, posts the body to the first step and what that answers to
the next, hands on the headers that ``PROPAGATE_HEADERS`` names and no other, says 500 for a step that is not there,
and is ready at ``/readyz`` whatever its steps are.
"""

import os
import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

PORT, *STEPS = sys.argv[1:]
HANDED_ON = os.environ.get("PROPAGATE_HEADERS", "").lower().split(",")
CLIENT = httpx.AsyncClient()


async def ready(_):
    return PlainTextResponse("OK")


async def graph(request):
    body = await request.body()
    headers = {name: value for name, value in request.headers.items() if name in HANDED_ON}
    for step in STEPS:
        try:
            answer = await CLIENT.post(step, content=body, headers={"content-type": "application/json", **headers})
        except httpx.HTTPError as error:
            return PlainTextResponse(f"Failed to process request: {error}", 500)
        body = answer.content
        if not answer.is_success:
            return Response(body, answer.status_code)
    return Response(body, 200, media_type="application/json")


app = Starlette(routes=[Route("/readyz", ready), Route("/{path:path}", graph, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(PORT))
