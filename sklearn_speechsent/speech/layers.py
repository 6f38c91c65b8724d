"""A frozen encoder on one recording after another, whatever the encoder takes as input."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent import audio
from sklearn_speechsent.audio import Recording
from sklearn_speechsent.speech.log_mel import LENGTH, SAMPLE_RATE
from sklearn_speechsent.utils.devices import exact_float32
from sklearn_speechsent.utils.threads import torch_threads

#: Makes the result for a recording of pieces of its layers, each of shape (n_positions_i, n_layers,
#: width), float32, and of the number of positions of all together.
Finish = Callable[[Iterable[NDArray[np.float32]], int], NDArray[Any]]

#: Shortest recording (s): one frame.
SHORTEST = LENGTH / SAMPLE_RATE


class LayersFunction(ABC):
    """Layers of an encoder, of one recording after another.

    A subclass says what the encoder takes as input (:meth:`_inputs`).

    Parameters
    ----------
    network : Module
        Called with an input and ``layers``, gives a tensor of shape (1, n_positions, n_layers,
        width).
    layers : sequence of int
    normalize : {"level"} or None
        See :class:`~sklearn_speechsent.SpeechEncoder`; one of ``normalizations``.
    finish : callable
        See :data:`Finish`.
    blank : ndarray
        Result for a silent recording.
    n_threads : int or None
        Threads of torch for a recording.
    device : torch.device
        Where the layers are computed, with a copy of the network.
    n_jobs : int or None
        Threads that read ahead for a device other than the processor; recordings that OpenVINO
        computes at a time.
    openvino : bool
        Whether OpenVINO computes the layers; only if it is one of ``backends``.
    """

    #: Values that ``normalize`` can have.
    normalizations: ClassVar[tuple[str | None, ...]] = (None,)
    #: Values that ``backend`` can have.
    backends: ClassVar[tuple[str, ...]] = ("torch",)

    def __init__(
        self,
        network: Any,
        layers: Sequence[int],
        normalize: str | None,
        finish: Finish,
        blank: NDArray[Any],
        n_threads: int | None,
        device: torch.device,
        n_jobs: int | None,
        openvino: bool,
    ) -> None:
        self.network = network
        self.layers = list(layers)
        self.normalize = normalize
        self.finish = finish
        self.blank = blank
        self.n_threads = n_threads
        self.device = device
        self.n_jobs = n_jobs
        self.openvino = openvino

    @cached_property
    def placed(self) -> Any:
        """Network on the device; that of the estimator stays where it is."""
        if self.device.type == "cpu":
            return self.network
        return copy.deepcopy(self.network).to(self.device)

    def __call__(self, recordings: Iterable[Recording]) -> Iterator[NDArray[Any] | Exception]:
        """Result for each recording of a batch, or what is wrong with it."""
        given: Iterable[Any] = map(self._read, recordings)
        if self.device.type != "cpu":
            threads = joblib.Parallel(
                self.n_jobs, require="sharedmem", return_as="generator", pre_dispatch="n_jobs"
            )
            given = threads(joblib.delayed(self._read)(recording) for recording in recordings)
        for item in given:
            if isinstance(item, audio.SilentRecordingError):
                yield self.blank
            elif isinstance(item, Exception):
                yield item
            else:
                inputs, n_positions = item
                yield self.finish(map(self._run, inputs), n_positions)

    def _read(
        self, recording: Recording
    ) -> tuple[Iterator[NDArray[np.float32]], int] | audio.RecordingError:
        """Inputs of the pieces of a recording and their positions, or what is wrong with it."""
        try:
            blocks = audio.read_blocks(recording, SAMPLE_RATE, min_duration=SHORTEST)
            return self._inputs(without_ends(blocks))
        except audio.RecordingError as exception:
            return exception

    def _run(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        """Layers of a piece."""
        with (
            torch_threads(self.n_threads),
            exact_float32(self.device),
            torch.inference_mode(),
        ):
            batch = torch.from_numpy(given)[None].to(self.device)
            return self.placed(batch, self.layers)[0].cpu().numpy()

    @abstractmethod
    def _inputs(
        self, blocks: Iterable[NDArray[np.float32]]
    ) -> tuple[Iterator[NDArray[np.float32]], int]:
        """Inputs of the pieces of a recording, of 30 s at most, and the positions of all."""


def without_ends(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Samples without zeros at the beginning and the end.

    How much digital silence an editor or a recorder left there changes nothing then.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n_samples_i,)

    Yields
    ------
    ndarray of shape (n_samples_i,)
        At least one frame altogether: of a shorter sound, with zeros behind it.
    """
    n, silence, begun = 0, list[int](), False
    for block in blocks:
        sound = np.flatnonzero(block)
        if not len(sound):
            silence.append(len(block))
            continue
        first, last = 0 if begun else int(sound[0]), int(sound[-1]) + 1
        if begun:
            yield from (np.zeros(length, np.float32) for length in silence)
            n += sum(silence)
        yield block[first:last]
        n += last - first
        begun, silence = True, [len(block) - last]
    if n < LENGTH:
        yield np.zeros(LENGTH - n, np.float32)
