"""Speech scores of frames: by energy, by a U-net, or by silero-vad."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent import audio
from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.graphs.builder import Graph
from sklearn_speechsent.graphs.openvino import compiled
from sklearn_speechsent.graphs.unet import speech_logits
from sklearn_speechsent.nn import SpeechUNet, folded, pieces
from sklearn_speechsent.nn.unet import frame_levels, utterance_levels
from sklearn_speechsent.training.data import UtteranceDataset, whole_batches
from sklearn_speechsent.utils.silence import digital_silence
from sklearn_speechsent.utils.threads import torch_threads

#: Energy range (dB) below the loudest frames in which there can be speech.
_RANGE_DB = 40.0
#: Frames of a batch, padding included, or of a piece of a longer utterance; and utterances.
_MAX_FRAMES, _MAX_UTTERANCES = 20_000, 256
#: Input of silero-vad: rate in Hz, and samples per probability.
_SILERO_RATE, _SILERO_WINDOW = 16000, 512


def energy_scores(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Energy of each frame above the noise floor of its utterance, in dB.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, n_mels)
        Log-mel energies before any mean normalisation.

    Returns
    -------
    ndarray of shape (n_frames,)

    Notes
    -----
    The floor is the 10th percentile of the utterance's own frames, or 40 dB below its 95th where
    that is higher, so that a quiet recording does not move the decision. Digital silence counts in
    neither.
    """
    energy = np.empty(len(frames))
    silent = np.empty(len(frames), dtype=bool)
    for first in range(0, len(frames), _MAX_FRAMES):
        block = slice(first, first + _MAX_FRAMES)
        energy[block] = np.logaddexp.reduce(frames[block].astype(np.float64), axis=1)
        silent[block] = digital_silence(frames[block])
    energy *= 10 / np.log(10)
    floor, top = np.percentile(energy if silent.all() else energy[~silent], [10, 95])
    return energy - max(floor, top - _RANGE_DB)


class OpenVINOUNet:
    """The U-net on one utterance at a time, by OpenVINO.

    Parameters
    ----------
    network : SpeechUNet
        In eval mode.
    n_jobs : int or None
        Threads, in joblib's reading; None for as many as torch is set to.
    """

    def __init__(self, network: SpeechUNet, n_jobs: int | None) -> None:
        self.centred = network.centred
        self.time_stride, self.half_width = network.time_stride, network.half_width
        n_mels = network.architecture["n_mels"]

        def make() -> Any:
            graph = Graph()
            frames = graph.input("frames", "float32", ["n_frames", cast(int, n_mels)])
            return graph.model({"logits": speech_logits(graph, folded(network), frames)})

        n_threads = None if n_jobs is None else joblib.effective_n_jobs(n_jobs)
        self._run = compiled(network, "logits", make, n_threads=n_threads)

    def __call__(
        self, x: torch.Tensor, lengths: torch.Tensor | None, level: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (1, T), as :class:`~sklearn_speechsent.nn.SpeechUNet` gives them."""
        return torch.from_numpy(self._run(self.centred(x, lengths, level)[0].numpy()))[None]


#: What scores frames: the network, or the same by OpenVINO.
Scorer = SpeechUNet | OpenVINOUNet


def unet_scores(
    network: Scorer, frames: UtteranceFrames, rows: NDArray[np.int64], n_jobs: int | None
) -> dict[int, NDArray[np.float32]]:
    """Probability of speech in each frame; digital silence has none.

    Long utterances go through the network in pieces that see all that their scores depend on.

    Parameters
    ----------
    network : SpeechUNet or OpenVINOUNet
        In eval mode.
    frames : UtteranceFrames
    rows : ndarray of int
        Utterances to score.
    n_jobs : int or None
        Threads of torch.

    Returns
    -------
    dict of int to ndarray of shape (n_frames_i,)
        By row.
    """
    scores: dict[int, NDArray[np.float32]] = {}
    long = frames.lengths[rows] > _MAX_FRAMES
    most = 1 if isinstance(network, OpenVINOUNet) else _MAX_UTTERANCES
    short = rows[~long]
    short = short[np.argsort(frames.lengths[short], kind="stable")]
    dataset = UtteranceDataset(frames)
    with torch_threads(n_jobs), torch.inference_mode():
        batches = whole_batches(frames.lengths, most, short, _MAX_FRAMES)
        for batch in batches if len(short) else []:
            inputs, _ = dataset[batch]
            found = speech_probability(network, inputs["x"].float(), inputs["lengths"])
            for row, values in zip(batch.tolist(), found, strict=True):
                scores[row] = values[: frames.lengths[row]].copy()
        for row in rows[long].tolist():
            scores[row] = _long_scores(network, frames[row])
    return scores


def speech_probability(
    network: Scorer, x: torch.Tensor, *arguments: torch.Tensor | None
) -> NDArray[np.float32]:
    """Probability of speech in each frame of a batch; digital silence has none.

    Parameters
    ----------
    network : SpeechUNet or OpenVINOUNet
        In eval mode.
    x : Tensor of shape (B, T, n_mels)
    *arguments : Tensor or None
        Further arguments of the network: lengths, level.

    Returns
    -------
    ndarray of shape (B, T)
    """
    return network(x, *arguments).sigmoid().masked_fill(digital_silence(x), 0.0).numpy()


def _long_scores(network: Scorer, utterance: NDArray[Any]) -> NDArray[np.float32]:
    """Probability of speech in each frame of an utterance that is computed in pieces."""

    def batch(part: slice) -> torch.Tensor:
        return torch.tensor(utterance[part], dtype=torch.float32)[None]

    cuts = list(
        pieces(
            len(utterance),
            step=network.time_stride,
            context=network.half_width,
            longest=_MAX_FRAMES,
        )
    )
    found = [frame_levels(batch(piece)) for piece, _ in cuts]
    levels, silent = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    level = utterance_levels(levels, silent, torch.tensor([len(utterance)]))
    scores = np.empty(len(utterance), np.float32)
    for piece, seen in cuts:
        x = batch(seen)
        speech = speech_probability(network, x, torch.tensor([x.shape[1]]), level)[0]
        scores[piece] = speech[piece.start - seen.start :][: piece.stop - piece.start]
    return scores


def load_silero() -> Any:
    """Network of silero-vad, an optional package, without what importing it does to torch.

    Returns
    -------
    torch.jit.ScriptModule
        A new one: it remembers what it found last, which no two threads may share.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the format of its network is deprecated in torch
            from silero_vad import load_silero_vad

            return load_silero_vad()
    except ImportError as exception:
        raise ImportError(
            'VoiceActivityDetector(method="silero") needs the package silero-vad: pip install '
            'sklearn-speechsent[silero]. method="unet" needs no other package.'
        ) from exception
    finally:
        if torch.get_num_threads() != threads:  # the import sets one thread globally
            torch.set_num_threads(threads)


def silero_scores(
    recordings: Sequence[audio.Recording], frames: UtteranceFrames, rows: NDArray[np.int64]
) -> dict[int, NDArray[np.float32]]:
    """Probability of speech at the centre of each frame, by silero-vad.

    Parameters
    ----------
    recordings : sequence of Recording
    frames : UtteranceFrames
        Frames of the recordings, one utterance each.
    rows : ndarray of int
        Utterances to score.

    Returns
    -------
    dict of int to ndarray of shape (n_frames_i,)
        By row.
    """
    length, shift = frames.frame_length, frames.frame_shift
    rate = frames.frame_settings.get("sample_rate", _SILERO_RATE)
    network = load_silero()
    scores: dict[int, NDArray[np.float32]] = {}
    with torch_threads(1):  # windows of 32 ms in sequence: more threads only wait
        for row in rows.tolist():
            recording = recordings[row]
            if not isinstance(recording.source, str):
                # Samples without a rate are at that of the front end.
                recording = replace(recording, rate=recording.rate or rate)
            samples = audio.read(recording, _SILERO_RATE)
            # It refuses what is shorter than a window.
            samples = np.pad(samples, (0, -len(samples) % _SILERO_WINDOW))
            found = network.audio_forward(torch.from_numpy(samples)[None], _SILERO_RATE)
            found = found[0].numpy()
            centres = np.arange(frames.lengths[row]) * shift + length / 2
            windows = (centres * _SILERO_RATE / _SILERO_WINDOW).astype(np.int64)
            scores[row] = found[np.minimum(windows, len(found) - 1)]
    return scores
