"""``speechsent serve``: a model as a service, with a page."""

from __future__ import annotations

from typing import Annotated

import typer

from sklearn_speechsent.cli import options


def serve(
    model: Annotated[
        str, typer.Argument(help="Bundle (folder or .zip), or the name of a ready model.")
    ] = options.READY,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="SPEECHSENT_TOKEN", help="What clients must know.", show_envvar=True),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(help="Another site whose pages may ask, https://example.org; several times."),
    ] = None,
    max_mb: Annotated[float, typer.Option(help="Largest upload.")] = 25.0,
    max_seconds: Annotated[float, typer.Option(help="Longest recording.")] = 600.0,
    max_streams: Annotated[
        int | None, typer.Option(help="Streams at a time; by default 10 per worker.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of each kind; by default one per core.")
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests that may wait.")] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds for an answer.")] = 180.0,
) -> None:
    """Serve a model: HTTP, live streams, and a page with a microphone.

    Stops on Ctrl-C or SIGTERM. What is sent is not stored.
    """
    from sklearn_speechsent.serve.settings import Settings

    n = _n_cores() if workers is None else workers
    settings = Settings(
        host=host,
        port=port,
        token=token or None,
        origins=tuple(cors or ()),
        max_mb=max_mb,
        max_seconds=max_seconds,
        max_streams=10 * n if max_streams is None else max_streams,
        workers=n,
        queue=queue,
        timeout=timeout,
    )
    try:
        from sklearn_speechsent.serve.service import run
    except ImportError as error:
        raise ImportError(
            f"The service needs more ({error}). Install it: pip install 'sklearn-speechsent[serve]'"
        ) from error
    run(model, settings)


def _n_cores() -> int:
    """Cores that this process may use, in a container too."""
    from joblib import cpu_count

    return int(cpu_count())
