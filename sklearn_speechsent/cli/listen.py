"""``speechsent listen``: a live stream, from the microphone or standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from sklearn_speechsent.cli import options
from sklearn_speechsent.cli.models import load
from sklearn_speechsent.cli.options import Format

#: Seconds of standard input that are read at a time.
_CHUNK = 0.1


def listen(
    source: Annotated[
        str | None,
        typer.Argument(
            help="- for samples of 16 bits (s16le, one channel) on standard input; by default the "
            "microphone.",
            show_default=False,
        ),
    ] = None,
    model: options.Model = options.READY,
    rate: Annotated[int, typer.Option(help="Hz of the samples on standard input.")] = 16000,
    device: Annotated[str | None, typer.Option(help="Microphone: number or name.")] = None,
    devices: Annotated[bool, typer.Option("--devices", help="List the microphones.")] = False,
    window: Annotated[float, typer.Option(help="Seconds of the windows.")] = 5.0,
    step: Annotated[float, typer.Option(help="Seconds between windows.")] = 1.0,
    form: options.OutputFormat = None,
) -> None:
    """Follow a voice live: a line per event, until Ctrl-C or the end of the input."""
    if source not in (None, "-"):
        raise ValueError(f"listen hears the microphone or -, and not {source!r}: see timeline.")
    if devices:
        print(_sounddevice().query_devices())
        return
    fitted = load(model)

    from sklearn_speechsent.inference import StreamingSentiment

    with _microphone(device) if source is None else _pcm(rate) as (sample_rate, chunks):
        stream = StreamingSentiment(fitted, sample_rate=sample_rate, window=window, step=step)
        show = _show_json if form in (Format.json, Format.jsonl) else _show
        try:
            for samples in chunks:
                for event in stream.push(samples):
                    show(event)
        except KeyboardInterrupt:
            pass
        for event in stream.finish():
            show(event)


def _show(event: Any) -> None:
    """One line for people."""
    kind = type(event).__name__
    if kind != "Score":
        said = "speech begins" if kind == "SpeechStart" else "speech ends"
        print(f"{event.time:8.2f} s  {said}", flush=True)
        return
    mark = "=" if event.final else "~"
    print(f"{event.end:8.2f} s  {mark} {_said(event)}", flush=True)


def _said(event: Any) -> str:
    if event.expected != event.expected:
        return "nothing can be said"
    level = "" if event.level is None or event.level != event.level else f"level {event.level}, "
    return f"{level}expected {event.expected:+z.2f}"


def _show_json(event: Any) -> None:
    from sklearn_speechsent.inference.events import event_as_dict

    print(json.dumps(event_as_dict(event), ensure_ascii=False), flush=True)


@contextmanager
def _pcm(rate: int) -> Iterator[tuple[int, Iterator[Any]]]:
    import numpy as np

    size = 2 * max(1, int(rate * _CHUNK))

    def chunks() -> Iterator[Any]:
        while data := sys.stdin.buffer.read(size):
            yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)

    yield rate, chunks()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: there is no PortAudio
        raise ImportError(
            f"The microphone needs sounddevice ({error}). Install it: pip install sounddevice"
        ) from error
    return sounddevice


@contextmanager
def _microphone(device: str | None) -> Iterator[tuple[int, Iterator[Any]]]:
    import queue

    sounddevice = _sounddevice()
    waiting: queue.Queue[Any] = queue.Queue()  # the callback must not wait for a score

    def heard(samples: Any, n_samples: int, times: Any, status: Any) -> None:
        if status:
            print(f"Warning: {status}", file=sys.stderr)
        waiting.put(samples.copy())

    def chunks() -> Iterator[Any]:
        while True:
            yield waiting.get()

    chosen = int(device) if device is not None and device.isdigit() else device
    try:
        microphone = sounddevice.InputStream(
            channels=1, dtype="int16", callback=heard, device=chosen
        )
    except sounddevice.PortAudioError as error:
        raise RuntimeError(f"The microphone cannot be opened: {error}. See --devices.") from error
    with microphone:
        print("Listening; Ctrl-C ends.", file=sys.stderr)
        yield int(microphone.samplerate), chunks()
