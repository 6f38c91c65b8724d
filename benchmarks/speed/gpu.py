"""Training and extraction on a GPU, next to a loop written by hand and to the processor.

    python -m benchmarks.speed.gpu --out results/speed_gpu.json

Training: chunks of at most 4 s per second of each system of the paper, in float32 (products of
convolutions in TF32, as torch takes by default) and in bfloat16, features computed beforehand. The
loop by hand is that of ``benchmarks.speed.training``, which also compares the outputs of the two
networks; here its batches are pinned and copied without waiting. It runs the frozen blocks on every
chunk, and there is none of ``34 + SpE``.

Extraction: seconds of audio per second of the frozen networks, from mel frames, and of Whisper's
layers, from files, of every fourth recording; on the device and on all cores of the processor, and
how far the features are apart, relative to the largest.

Recordings are those of RAVDESS, or synthetic ones where it is missing. Weights are random, with the
shapes of WeSpeaker's network and of Whisper base: nothing is downloaded, and times do not depend on
them. Every contestant works for ``--seconds`` after a call that is not counted; the whole takes
about one and a half minutes. ``--device cpu`` tries the script without a GPU, best with
``--recordings 4 --batch-size 2 --seconds 0``.
"""

import copy
import os
import re
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from benchmarks.speed._plain import Chunks, Network, endless, trainer
from benchmarks.speed.training import epochs_of
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of
from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    SpeechEncoder,
    UtteranceFrames,
    make_sentiment_pipeline,
)
from sklearn_speechsent.datasets import get_data_home, make_speech_sentiment
from sklearn_speechsent.nn import SpeakerResNet, WhisperEncoder
from sklearn_speechsent.pipeline import SYSTEMS
from sklearn_speechsent.pretrained import save_weights

LEVELS = (-2, -1, 0, 1, 2)
CHUNK = 400
PRECISIONS = ("float32", "bfloat16")
HEADS = {"C + R": ("regression", "ordinal"), "R": ("regression",), "C": ("ordinal",)}
TRAINING = ("system", "contestant", "chunks/s", "range")
EXTRACTION = ("features", "device, audio s/s", "processor, audio s/s", "difference")


def recordings(n, folder):
    """Recordings of RAVDESS spread over its actors, or synthetic ones.

    Parameters
    ----------
    n : int
    folder : Path
        Of the synthetic ones.

    Returns
    -------
    paths : list of str
    what : str
    """
    found = sorted(map(str, (get_data_home() / "ravdess").rglob("*.flac")))
    if len(found) >= n:
        return found[:: len(found) // n][:n], "RAVDESS"
    corpus = make_speech_sentiment(4, -(-n // 4), levels=LEVELS, out_dir=folder, random_state=0)
    return [str(path) for path in corpus.data[:n]], "synthetic speech"


def random_weights(folder):
    """Files of a speaker network and of an encoder that were never trained.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    speaker, encoder : Path
    """
    speaker, encoder = folder / "speaker.safetensors", folder / "encoder.pt"
    network = SpeakerResNet(se_ratio=None)
    record = {"sample_rate": 16000, "n_mels": 80, "cmn": "utterance"}
    save_weights(
        speaker, network.state_dict(), architecture=network.architecture, frame_settings=record
    )
    whisper = WhisperEncoder()
    state = {f"encoder.{name}": tensor for name, tensor in whisper.state_dict().items()}
    state |= {f"encoder.ln_post.{name}": torch.ones(whisper.width) for name in ("weight", "bias")}
    dims = {
        "n_mels": whisper.n_mels,
        "n_audio_ctx": whisper.n_positions,
        "n_audio_state": whisper.width,
        "n_audio_head": whisper.width // 64,
        "n_audio_layer": len(whisper.blocks),
    }
    torch.save({"dims": dims, "model_state_dict": state}, encoder)
    return speaker, encoder


def for_seconds(function, seconds):
    """Seconds of each call, after one that is not counted, until they are enough.

    Parameters
    ----------
    function : callable
    seconds : float

    Returns
    -------
    list of float
    """
    function()
    found = []
    while not found or sum(found) < seconds:
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return found


def by_hand(system, frames, y, options):
    """Seconds of the loop by hand, in both precisions; nothing where there is none.

    Parameters
    ----------
    system : str
        One of the paper.
    frames : UtteranceFrames
        Mel frames.
    y : ndarray
    options : dict

    Returns
    -------
    dict of str to list of float
    """
    parts = re.fullmatch(r"([12])/2SREx-SEResNet-16 \+ (.*)", system)
    if parts is None:
        return {}
    device, found = options["device"], {}
    network = Network(int(parts[1]), len(LEVELS), HEADS[parts[2]])
    dataset = Chunks([np.array(f) for f in frames], y, CHUNK, augment=parts[1] == "1")
    n_steps = len(dataset) // options["batch_size"]
    for precision in PRECISIONS:
        batches = endless(dataset, options["batch_size"], pin_memory=device != "cpu")
        steps = trainer(
            copy.deepcopy(network),
            batches,
            n_steps,
            1e-3,
            fast=precision == "bfloat16",
            device=device,
        )

        def finished(steps=steps):
            steps()
            if device != "cpu":
                torch.cuda.synchronize(device)

        found[f"by hand, {precision}"] = for_seconds(finished, options["seconds"])
    return found


def training(system, files, y, weights, folder, options):
    """Seconds of an epoch of each contestant.

    Parameters
    ----------
    system : str
        One of the paper.
    files : list of str
    y : ndarray
        Levels as numbers from 0.
    weights : Path
    folder : Path
        Store of features.
    options : dict

    Returns
    -------
    dict of str to list of float
    """
    seconds = {}
    for precision in PRECISIONS:
        pipeline = make_sentiment_pipeline(
            system,
            weights=weights,
            memory=folder,
            n_jobs=-1,
            device=options["device"],
            levels=range(len(LEVELS)),
            precision=precision,
            batch_size=options["batch_size"],
            max_epochs=1,
            sampling_exponent=0.0,
            random_state=0,
        ).fit(files, y)
        epochs, of_history = epochs_of(pipeline["net"], pipeline[:-1].transform(files), y)
        calls = for_seconds(epochs, options["seconds"])
        # Without the pass that estimates batch normalisation after the last epoch.
        seconds[f"ours, {precision}"] = of_history()[-len(calls) :]
    frames = pipeline[:3].transform(files)
    return seconds | by_hand(system, frames, y, options)


def extraction(files, speaker, encoder, options):
    """Seconds of audio per second of each frozen network.

    Parameters
    ----------
    files : list of str
    speaker, encoder : Path
        Weights.
    options : dict

    Returns
    -------
    dict of str to dict
    """
    front_end = make_pipeline(MelFilterBank(n_jobs=-1), SlidingCMN(window=None, n_jobs=-1))
    frames = front_end.fit_transform(files)
    steps = {
        "SRExt, 2 blocks, maps": SpeakerFeatureExtractor(speaker, n_blocks=2, pooling=None),
        "SRExt, 3 blocks, statistics": SpeakerFeatureExtractor(speaker),
        "SpE": SpeakerEmbedder(speaker, normalize=False),
        "Whisper base, layers 2 to 4": SpeechEncoder(encoder),
    }
    duration, results = float(frames.metadata["duration"].sum()), {}
    for name, step in steps.items():
        X = files if isinstance(step, SpeechEncoder) else frames
        speeds, features = [], []
        for device in (options["device"], "cpu"):
            fitted = clone(step).set_params(n_jobs=-1, device=device).fit(X)
            made = fitted.transform(X)
            features.append(made.base if isinstance(made, UtteranceFrames) else made)
            seconds = for_seconds(partial(fitted.transform, X), options["seconds"])
            speeds.append(duration / statistics.median(seconds))
        apart = np.abs(features[0] - features[1]).max() / np.abs(features[1]).max()
        results[name] = {"speeds": speeds, "difference": float(apart)}
    return results


def report(document):
    """Lines of the report.

    Parameters
    ----------
    document : dict

    Returns
    -------
    list of str
    """
    rows = []
    for system, seconds in document["training"].items():
        for name, times in seconds.items():
            low, middle, high = (
                document["chunks"] / f(times) for f in (max, statistics.median, min)
            )
            rows.append([system, name, f"{middle:.0f}", f"{low:.0f} – {high:.0f}"])
    lines = [f"{document['name']}, torch {document['torch']}, {document['cores']} cores of the"]
    lines[0] += f" processor, {document['recordings']} recordings ({document['corpus']})."
    lines += ["", "## Training", "", *table_of(TRAINING, rows), "## Extraction", ""]
    rows = [
        [name, *(f"{speed:.0f}" for speed in result["speeds"]), f"{result['difference']:.0e}"]
        for name, result in document["extraction"].items()
    ]
    return [*lines, *table_of(EXTRACTION, rows)]


def main():
    """Run the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--recordings", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each contestant (1.5)")
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here. --device cpu tries the script without one.")
    on_gpu = args.device != "cpu"
    options = {
        "device": args.device,
        "batch_size": args.batch_size,
        "seconds": args.seconds,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files, corpus = recordings(args.recordings, folder / "speech")
        speaker, encoder = random_weights(folder)
        # As many as whole batches have, so that all contestants go through the same number.
        n_chunks = len(files) // args.batch_size * args.batch_size
        y = np.random.default_rng(0).integers(len(LEVELS), size=len(files))
        document = {
            "name": torch.cuda.get_device_name(args.device) if on_gpu else "the processor",
            "torch": torch.__version__,
            "cores": len(os.sched_getaffinity(0)),
            "corpus": corpus,
            "recordings": n_chunks,
            "chunks": n_chunks,
            "options": options,
            "training": {
                system: training(
                    system, files[:n_chunks], y[:n_chunks], speaker, folder / "store", options
                )
                for system in SYSTEMS
            },
            # On the processor all would take minutes.
            "extraction": extraction(files[:n_chunks:4], speaker, encoder, options),
        }
    save(args.out, document, report(document))


if __name__ == "__main__":
    main()
