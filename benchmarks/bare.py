"""A FastAPI handler that reads the body and answers 202: `python -m benchmarks.bare PORT`."""

import sys

import uvicorn
from fastapi import FastAPI, Request, Response


def create_bare_app() -> FastAPI:
    """Make the least that a FastAPI service could do with a webhook."""
    app = FastAPI(openapi_url=None)

    @app.post("/webhooks")
    async def take(request: Request) -> Response:
        await request.body()
        return Response(b'{"status": "accepted"}', 202, media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_bare_app(),
        port=int(sys.argv[1]),
        # As `relay serve` has it.
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
    )
