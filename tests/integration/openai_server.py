"""Stands in for an OpenAI-compatible server, whose real ones need a GPU or a language model's weights.

It speaks HTTP through uvicorn, as vLLM does: a whole answer or a stream of events, the prompt's words being its tokens.
A prompt says what goes on: ``long``, ``fail``, ``fail in the stream``, ``break off``, ``say nothing``.
"""

import asyncio
import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

REST_SECONDS = 2
"""What the rest of an answer to ``long`` takes: so long that no busy machine takes it for the beginning."""


async def models(_):
    return JSONResponse({"object": "list", "data": [{"id": "model", "object": "model"}]})


async def chat(request):
    asked = await request.json()
    prompt = asked["messages"][-1]["content"]
    if prompt == "fail":
        return JSONResponse({"error": {"message": "no such model"}}, 404)
    await asyncio.sleep(0.005)
    if asked.get("stream"):
        return StreamingResponse(events(prompt), media_type="text/event-stream")
    await rest(prompt)
    return JSONResponse({"choices": [{"message": {"content": prompt}}]})


async def rest(prompt):
    await asyncio.sleep(REST_SECONDS if prompt == "long" else 0.01)


async def events(prompt):
    if prompt == "say nothing":
        return
    if prompt == "fail in the stream":
        yield 'data: {"error": {"message": "out of memory"}}\n\n'
        return
    for word in prompt.split():
        yield f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n"
        await asyncio.sleep(0.001)
    if prompt == "break off":
        raise RuntimeError("the engine died")
    await rest(prompt)
    yield "data: [DONE]\n\n"


app = Starlette(routes=[Route("/v1/models", models), Route("/v1/chat/completions", chat, methods=["POST"])])

if __name__ == "__main__":
    # no idle connection is kept: the server closes each one after its answer, without having said so
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), timeout_keep_alive=0)
