"""A model that scores uploads and follows streams, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import warnings
from multiprocessing.connection import Connection
from typing import Any

from sklearn_speechsent._version import __version__
from sklearn_speechsent.serve.errors import Refusal

#: Samples of all channels that a second may have: stereo at 96 kHz.
_SAMPLES_PER_SECOND = 2 * 96_000
#: Seconds: with less there would be hundreds of windows for every second of speech.
_SHORTEST_STEP = 0.25
#: Types of NumPy for the samples of streams.
FORMATS = {"s16le": "<i2", "f32le": "<f4"}
_NOBODY = "nobody speaks in it"


def work(connection: Connection, model: str, max_seconds: float, behind: bool) -> None:
    """Answer questions until the other end of a connection is closed.

    The first answer is the description of the model, or a text that says why it cannot be loaded.

    Parameters
    ----------
    connection : Connection
        A question is the name of a method of :class:`Desk` and its arguments.
    model : str
        Bundle.
    max_seconds : float
        Longest recording.
    behind : bool
        Whether other processes go first where there are not enough cores.
    """
    # The process at the other end of the connection decides when this one ends.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    if behind and hasattr(os, "nice"):
        os.nice(5)
    warnings.simplefilter("ignore")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):
        try:
            desk = Desk(model, max_seconds)
        except (OSError, ValueError, ImportError) as error:
            connection.send(str(error))
            return
        connection.send(desk.description)
        while True:
            name, arguments = connection.recv()
            connection.send(_answer(desk, name, arguments))


def _answer(desk: Desk, name: str, arguments: tuple[Any, ...]) -> Any:
    """What a method gives, or why it does not."""
    try:
        return getattr(desk, name)(*arguments)
    except Refusal as refusal:
        return refusal
    except Exception as error:
        import traceback

        traceback.print_exc()  # for the log; a client is told nothing of the machine
        return Refusal(500, "failed", f"The model failed ({type(error).__name__}).", close=1011)


class Desk:
    """A loaded model and its streams.

    Parameters
    ----------
    model : str
        Bundle.
    max_seconds : float
        Longest recording.

    Attributes
    ----------
    description : dict
        What ``/v1/model`` tells of the model.
    """

    def __init__(self, model: str, max_seconds: float) -> None:
        import torch

        from sklearn_speechsent.deploy import load_model
        from sklearn_speechsent.inference import CausalDetector
        from sklearn_speechsent.inference.scoring import Scorer
        from sklearn_speechsent.utils.estimators import set_everywhere

        torch.set_num_threads(1)
        self._model = set_everywhere(load_model(model), on_error="raise")
        self._max_seconds = max_seconds
        self._scorer = Scorer(self._model)
        self._detector = CausalDetector.of()
        self._streams: dict[int, tuple[Any, str]] = {}
        self.description = _description(model, self._levels())

    def _levels(self) -> list[Any]:
        return [] if self._scorer.levels is None else self._scorer.levels.tolist()

    def score(self, content: bytes) -> bytes:
        """Score a recording as a whole.

        Parameters
        ----------
        content : bytes
            Of a file.

        Returns
        -------
        bytes
            JSON.

        Raises
        ------
        Refusal
        """
        seconds, _ = self._measured(content)
        with _said_as_refusal():
            (values,) = self._scorer.of([content])
        level, expected, probabilities = self._scorer.summary(values)
        answer = {
            "level": level,
            "expected": expected,
            "probabilities": list(probabilities),
            "levels": self._levels(),
            "duration": seconds,
            "note": _NOBODY if math.isnan(expected) else None,
        }
        return _as_json(answer)

    def timeline(self, content: bytes, options: dict[str, Any]) -> bytes:
        """Follow a recording over time.

        Parameters
        ----------
        content : bytes
            Of a file.
        options : dict
            May have ``window``, ``step`` and ``channels`` of ``sentiment_timeline``.

        Returns
        -------
        bytes
            JSON.

        Raises
        ------
        Refusal
        """
        from sklearn_speechsent.inference import sentiment_timeline

        seconds, n_channels = self._measured(content)
        with _said_as_refusal():
            _check_step(options)
            table = sentiment_timeline(self._model, [content], detector=self._detector, **options)
        levels = self._levels()
        exact: dict[Any, Any] = {level: level for level in levels}  # the table has 1.0 for 1
        columns = ("channel", "start", "end", "expected", "speech", "final")
        rows = [
            {name: row[name] for name in columns}
            | {"level": exact.get(row["level"])}
            | {"probabilities": [row[f"p({level})"] for level in levels]}
            for row in table.astype(object).to_dict("records")
        ]
        answer = {"levels": levels, "duration": seconds, "channels": n_channels, "rows": rows}
        return _as_json(answer)

    def open(self, number: int, hello: dict[str, Any]) -> list[Any]:
        """Begin a stream.

        Parameters
        ----------
        number : int
            Of the stream.
        hello : dict
            ``sample_rate`` and ``format``, and perhaps ``window`` and ``step``.

        Returns
        -------
        list
            Levels.

        Raises
        ------
        Refusal
        """
        from sklearn_speechsent.inference import StreamingSentiment

        options = {key: value for key, value in hello.items() if key in ("window", "step")}
        try:
            _check_step(options)
            stream = StreamingSentiment(
                self._model,
                sample_rate=hello["sample_rate"],
                detector=self._detector,
                **options,
            )
        except (ValueError, TypeError) as error:
            raise Refusal(422, "bad_hello", str(error)) from None
        self._streams[number] = stream, FORMATS[hello["format"]]
        return self._levels()

    def push(self, number: int, content: bytes, provisional: bool) -> tuple[list[str], int]:
        """Take the next samples of a stream.

        Parameters
        ----------
        number : int
        content : bytes
        provisional : bool
            As in ``StreamingSentiment.push``.

        Returns
        -------
        list of str
            JSON of each event.
        int
            Number of scores that were left out since the stream began.

        Raises
        ------
        Refusal
        """
        import numpy as np

        stream, kind = self._streams[number]
        samples = np.frombuffer(content, kind).astype(np.dtype(kind).newbyteorder("="))
        try:
            events = stream.push(samples, provisional=provisional)
        except ValueError as error:
            raise Refusal(422, "bad_samples", str(error), close=1003) from None
        return _events(events), stream.n_left_out

    def finish(self, number: int) -> list[str]:
        """Take the end of a stream.

        Parameters
        ----------
        number : int

        Returns
        -------
        list of str
            JSON of each event.
        """
        return _events(self._streams[number][0].finish())

    def close(self, number: int) -> None:
        """Forget a stream.

        Parameters
        ----------
        number : int
        """
        self._streams.pop(number, None)

    def _measured(self, content: bytes) -> tuple[float, int]:
        """Seconds and channels of a recording, decoded up to the limit whatever its header says."""
        from sklearn_speechsent.audio import Recording, RecordingError, io

        recording = Recording(0, content)
        try:
            file = io.open_audio(recording)
        except RecordingError as error:
            raise Refusal(415, "not_audio", _plain(error)) from None
        with file, _said_as_refusal():
            file.extent.span(recording)  # a rate that can be, and all that is promised
            rate, n_channels = file.extent.rate, file.extent.channels
            most = self._max_seconds * min(rate, _SAMPLES_PER_SECOND / n_channels)
            n = file.extent.length or 0
            if n <= most:
                n = 0
                for block in file.blocks(0, None):
                    n += len(block)
                    if n > most:
                        break
            if n > most:
                raise Refusal(
                    413,
                    "too_long",
                    f"The recording has more than {most / rate:g} s, of which a part can be sent.",
                )
        return n / rate, n_channels


def _description(model: str, levels: list[Any]) -> dict[str, Any]:
    """What is known of a bundle that was loaded."""
    from pathlib import Path

    from sklearn_speechsent.deploy.files import CARD, MANIFEST, read_files, read_json
    from sklearn_speechsent.deploy.ready import find_ready

    path = find_ready(model) or Path(model).expanduser().resolve()
    contents = read_files(path)
    manifest = read_json(contents[MANIFEST], MANIFEST)
    return {
        "name": path.stem if path.suffix == ".zip" else path.name,
        "predicts": manifest["predicts"],
        "levels": levels,
        "sample_rate": 16000,
        "version": __version__,
        "card": contents[CARD].decode("utf-8"),
    }


@contextlib.contextmanager
def _said_as_refusal() -> Any:
    """What is wrong with a recording or a setting, as a refusal."""
    from sklearn_speechsent.audio import RecordingError

    try:
        yield
    except RecordingError as error:
        raise Refusal(422, "unusable", _plain(error)) from None
    except (ValueError, TypeError) as error:
        raise Refusal(422, "bad_option", str(error)) from None


def _plain(error: Exception) -> str:
    """Message of an error without the name of a row, of which there is only one."""
    text = re.sub(r"^row 0 \([^)]*\): ", "", " ".join(str(error).split()))
    return text[:1].upper() + text[1:]


def _check_step(options: dict[str, Any]) -> None:
    step = options.get("step", 1.0)
    if isinstance(step, (int, float)) and step < _SHORTEST_STEP:
        raise ValueError(f"step={step:g} must be at least {_SHORTEST_STEP:g} seconds.")


def _events(events: list[Any]) -> list[str]:
    from sklearn_speechsent.inference.events import event_as_dict

    return [json.dumps(event_as_dict(event), ensure_ascii=False) for event in events]


def _as_json(value: Any) -> bytes:
    return json.dumps(_sound(value), ensure_ascii=False, allow_nan=False).encode()


def _sound(value: Any) -> Any:
    """Value with null for NaN and what pandas and NumPy know as missing."""
    if isinstance(value, dict):
        return {key: _sound(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_sound(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return float(value) if isinstance(value, float) and math.isfinite(value) else None
