"""``kaigents-nb fake-model``."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from kaigents_nb.cli import printing


def fake_model(
    script: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SCRIPT]", help="YAML or Python; without, the model repeats what it is told.", exists=True
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 0,
) -> None:
    """Serve a scripted model on this machine: OpenAI's protocol over HTTP, for trying things out without a key."""
    try:
        import uvicorn

        from kaigents_nb.fake_model.app import application
    except ImportError as error:
        raise ValueError(f"fake-model needs {error.name}: pip install 'kaigents-nb[web]'.") from None
    from kaigents_nb.fake_model.script import load

    app = application(load(script))
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        printing.say(f"A scripted model, no real one, at {address} (Ctrl+C ends it)")
        printing.say(f"kg.model('any-name', base_url={address!r})")
        uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listening])
