"""The least that could be done with a webhook: `python -m benchmarks.bare fastapi|asgi PORT`."""

import sys

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

_ANSWER = b'{"status": "accepted"}'


def create_bare_app() -> FastAPI:
    """Make a FastAPI handler that reads the body and responds with 202."""
    app = FastAPI(openapi_url=None)

    @app.post("/webhooks")
    async def take(request: Request) -> Response:
        await request.body()
        return Response(_ANSWER, 202, media_type="application/json")

    return app


async def take_raw(scope: Scope, receive: Receive, send: Send) -> None:
    """Do the same as a plain ASGI application: the cost of the server itself."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ANSWER))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})


if __name__ == "__main__":
    uvicorn.run(
        create_bare_app() if sys.argv[1] == "fastapi" else take_raw,
        port=int(sys.argv[2]),
        # As `relay serve` has it.
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        lifespan="on" if sys.argv[1] == "fastapi" else "off",
    )
