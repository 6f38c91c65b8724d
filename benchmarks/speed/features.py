"""Speed from recordings to normalised log-mel frames, next to other packages and part by part.

    python -m benchmarks.speed.features --out results/speed_features.json

Every contestant takes paths of RAVDESS (16 kHz FLAC, 48 kHz WAV) or of LibriSpeech and gives 80
log-mel bands with the mean over 3 s subtracted. Contestants take turns in a fresh process on one
core; the same work by two threads on two cores follows, with and without a detector, and for
recordings of half an hour that are made of LibriSpeech. Corpora that are missing below
``SPEECHSENT_DATA`` and packages that are not installed are left out with a message. Writes
FILE.json, FILE.md and FILE.png.
"""

import importlib.util
import itertools
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from benchmarks._timing import draw_ratios, on_cores, ratio, rows_of, take_turns
from benchmarks.speed._front_ends import PEERS, RATE, egemaps
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of
from sklearn_speechsent.datasets import get_data_home

EGEMAPS = "openSMILE: eGeMAPS (of two recordings, in proportion)"
OURS, DECODER, ONE = "ours", "the decoder alone", "one thread"
_PACKAGES = {"torchaudio": "torchaudio", "as WeSpeaker": "torchaudio", "librosa": "librosa"}
_PACKAGES |= {"kaldi-native-fbank": "kaldi_native_fbank", "openSMILE": "opensmile"}
#: Folder below SPEECHSENT_DATA and pattern of its files.
CORPORA = {
    "RAVDESS, FLAC, 16 kHz": ("ravdess", "*.flac"),
    "LibriSpeech, FLAC, 16 kHz": ("librispeech_excerpts", "*.flac"),
    "RAVDESS, WAV, 48 kHz": ("ravdess_48k", "*.wav"),
}


#: Of which longer recordings are made.
LONG = "LibriSpeech, FLAC, 16 kHz"


def recordings(corpus, n):
    """Up to n files of a corpus, spread over it, without digital silence.

    Ours leaves frames of digital silence out, and other packages do not.

    Parameters
    ----------
    corpus : str
        Key of ``CORPORA``.
    n : int

    Returns
    -------
    list of str
    """
    folder, pattern = CORPORA[corpus]
    paths = sorted((get_data_home() / folder).rglob(pattern))
    sounding = [str(path) for path in paths if not has_silence(path)]
    return sounding[:: max(1, len(sounding) // n)][:n]


def has_silence(path):
    """Whether every sample of some frame of 25 ms is zero."""
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    places = np.flatnonzero(samples.any(axis=1))
    gaps = np.diff(places, prepend=-1, append=len(samples))
    return bool(gaps.max() > rate // 40)


def ours(paths, n_jobs=1, window=3.0, detector="passthrough"):
    """Extract by the public estimators, including the check of the headers.

    Parameters
    ----------
    paths : list of str
    n_jobs : int, default=1
    window : float or None, default=3.0
        Of the mean, in seconds.
    detector : transformer, optional
        Between frames and mean.

    Returns
    -------
    UtteranceFrames
    """
    from sklearn.pipeline import make_pipeline

    from sklearn_speechsent import MelFilterBank, SlidingCMN

    steps = MelFilterBank(n_jobs=n_jobs), detector, SlidingCMN(window, n_jobs=n_jobs)
    return make_pipeline(*steps).fit_transform(paths)


def duration_of(paths):
    """Seconds of sound in files."""
    return sum(soundfile.info(path).duration for path in paths)


def decode(paths):
    """Read files with soundfile.

    Parameters
    ----------
    paths : list of str
    """
    for path in paths:
        soundfile.read(path, dtype="float32")


def _installed(name):
    package = _PACKAGES[name.split(":")[0].split(",")[0]]
    if importlib.util.find_spec(package) is None:
        print(f"{name} is left out: pip install {package}")
        return False
    return True


def _difference(extract, window, paths):
    """Largest difference to our frames in the first recordings, as text."""
    if window == "other":
        return "other filters"
    pairs = zip(ours(paths, window=window), map(extract, paths), strict=True)
    return f"{max(np.abs(ours_ - theirs).max() for ours_, theirs in pairs):.1e}"


def against_peers(paths, rounds):
    """Time ours, the decoder and the peers on the same paths.

    Parameters
    ----------
    paths : list of str
    rounds : int

    Returns
    -------
    seconds : dict of str to list of float
    differences : dict of str to str
        Of the peers' frames to ours.
    """
    made = {n: (make(), window) for n, (make, window) in PEERS.items() if _installed(n)}
    differences = {n: _difference(extract, w, paths[:3]) for n, (extract, w) in made.items()}
    contestants = {OURS: lambda: ours(paths), DECODER: lambda: decode(paths)}
    for name, (extract, _) in made.items():
        contestants[name] = lambda extract=extract: [extract(path) for path in paths]
    if _installed("openSMILE"):
        smile, few = egemaps(), paths[:2]
        contestants[EGEMAPS] = lambda: [smile(path) for path in few]
    seconds = take_turns(contestants, rounds)
    if EGEMAPS in seconds:
        share = duration_of(few) / duration_of(paths)
        seconds[EGEMAPS] = [time / share for time in seconds[EGEMAPS]]
    return seconds, differences


def parts(paths, rounds):
    """Time the parts of the extraction, each on the result of the one before.

    Parameters
    ----------
    paths : list of str
    rounds : int

    Returns
    -------
    dict of str to list of float
        Seconds.
    """
    import soxr

    from sklearn_speechsent import MelFilterBank, SlidingCMN, VoiceActivityDetector
    from sklearn_speechsent.features._kaldi import LogMel

    read = [soundfile.read(path, dtype="float32") for path in paths]
    frames = MelFilterBank().fit_transform(paths)
    settings = MelFilterBank()._arguments()
    read = [(x if x.ndim == 1 else x.mean(axis=1), rate) for x, rate in read]
    resampled = [
        x if rate == RATE else soxr.resample(x, rate, RATE, quality="HQ") for x, rate in read
    ]
    contestants = {
        "all": lambda: ours(paths),
        "decode": lambda: decode(paths),
        "MFB": lambda: list(LogMel(**settings).each([x] for x in resampled)),
        "CMN": lambda: SlidingCMN().fit_transform(frames),
        "check of headers": lambda: MelFilterBank().fit(paths),
        "VAD, U-net": lambda: VoiceActivityDetector().fit_transform(frames),
        "VAD, energy": lambda: VoiceActivityDetector("energy").fit_transform(frames),
    }
    if read[0][1] != RATE:
        contestants["resample"] = lambda: [
            soxr.resample(x, rate, RATE, quality="HQ") for x, rate in read
        ]
    return take_turns(contestants, rounds)


def cmn_alone(rounds):
    """Time the sliding mean of 7 s next to torchaudio's, ten times each.

    Parameters
    ----------
    rounds : int

    Returns
    -------
    dict of str to list of float
        Seconds.
    """
    import torch

    from sklearn_speechsent import SlidingCMN

    contestants = {}
    frames = np.random.default_rng(0).normal(15, 3, (700, 80)).astype(np.float32)
    cmn = SlidingCMN().fit([frames])
    contestants[OURS] = lambda: [cmn.transform([frames]) for _ in range(10)]
    if _installed("torchaudio"):
        from torchaudio.transforms import SlidingWindowCmn

        theirs = SlidingWindowCmn(cmn_window=300, center=True)
        tensor = torch.from_numpy(frames)
        contestants["torchaudio: SlidingWindowCmn"] = lambda: [theirs(tensor) for _ in range(10)]
    return take_turns(contestants, rounds)


def detected(paths, n_jobs=1):
    """Extract with the U-net between frames and mean.

    Parameters
    ----------
    paths : list of str
    n_jobs : int, default=1

    Returns
    -------
    UtteranceFrames
    """
    from sklearn_speechsent import VoiceActivityDetector

    return ours(paths, n_jobs, detector=VoiceActivityDetector(n_jobs=n_jobs))


def _without_result(extract, paths):
    extract(paths)


def threads(paths, rounds, extract=ours):
    """Time one thread, two threads and two processes on two cores.

    Parameters
    ----------
    paths : list of str
    rounds : int
    extract : callable, default=ours

    Returns
    -------
    dict of str to list of float
        Seconds.
    """
    half = partial(_without_result, extract)
    halves = paths[::2], paths[1::2]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return take_turns(
            {
                ONE: lambda: extract(paths, 1),
                "two threads": lambda: extract(paths, 2),
                "two processes, half of the recordings each": lambda: list(pool.map(half, halves)),
            },
            rounds,
        )


def half_hours(folder, n=2):
    """Recordings of half an hour, of LibriSpeech end to end.

    Parameters
    ----------
    folder : Path
        Where they are written.
    n : int, default=2

    Returns
    -------
    list of str
        Empty without the corpus.
    """
    paths = recordings(LONG, 10**6)
    if not paths:
        return []
    made = []
    for number in range(n):
        made.append(str(folder / f"{number}.flac"))
        left = 1800 * RATE
        with soundfile.SoundFile(made[-1], "w", RATE, 1, "PCM_16") as file:
            for path in itertools.cycle(paths[number::n]):
                samples, _ = soundfile.read(path, dtype="int16")
                file.write(samples[:left])
                left -= len(samples)
                if left <= 0:
                    break
    return made


def part_rows(seconds, duration):
    """Times real time and share of the whole, of each part.

    Parameters
    ----------
    seconds : dict of str to list of float
        Of :func:`parts`.
    duration : float
        Of the recordings in seconds.

    Returns
    -------
    list of list of str
    """
    share = {name: ratio(seconds, name, "all") for name in seconds}
    inside = [name for name in share if name != "all" and not name.startswith("VAD")]
    share["the rest"] = 1 - sum(share[name] for name in inside)
    whole = np.median(seconds["all"])
    return [
        [name, f"{duration / (whole * max(part, 1e-9)):.0f}", f"{100 * part:.0f} %"]
        for name, part in share.items()
    ]


def main():
    """Measure one corpus after the other, print and save."""
    parser = make_parser(__doc__)
    parser.add_argument("--n", type=int, default=60, help="recordings of a corpus (60)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant (7)")
    parser.add_argument("--only", nargs="+", choices=["peers", "parts", "cmn", "threads"])
    options = parser.parse_args()
    wanted = options.only or ["peers", "parts", "cmn", "threads"]
    results, lines, bars = {}, [], {}

    def compared(title, seconds, extra=None):
        rows = [[*row, (extra or {}).get(row[0], "")] for row in rows_of(seconds, OURS)]
        columns = ["contestant", "median, ms", "range, ms", "to ours", "difference of frames"]
        lines.extend([f"## {title}", "", *table_of(columns, rows)])
        bars[title] = {name: ratio(seconds, name, OURS) for name in seconds if name != EGEMAPS}

    def on_two_cores(title, paths):
        for extract, more in ((ours, ""), (detected, ", with the U-net")):
            seconds = on_cores(threads, 2, paths, options.rounds, extract)
            results.setdefault("threads", {})[title + more] = seconds
            gains = [
                [name, f"{1000 * np.median(times):.0f}", f"{ratio(seconds, ONE, name):.2f}"]
                for name, times in seconds.items()
            ]
            columns = [f"{title}{more}, two cores", "median, ms", "times as fast"]
            lines.extend(table_of(columns, gains))

    if "cmn" in wanted:
        results["cmn"] = on_cores(cmn_alone, 1, options.rounds)
        compared("Sliding mean of 700 x 80, ten times", results["cmn"])
    for corpus in CORPORA:
        paths = recordings(corpus, options.n)
        if not paths:
            print(f"{corpus} is left out: set SPEECHSENT_DATA to the folder of the corpora.")
            continue
        duration = duration_of(paths)
        title = f"{corpus}: {len(paths)} recordings, {duration:.0f} s"
        result = results.setdefault(corpus, {"n": len(paths), "duration": duration})
        if "peers" in wanted:
            result["peers"], differences = on_cores(against_peers, 1, paths, options.rounds)
            compared(f"{title}, one core", result["peers"], differences)
        if "parts" in wanted:
            result["parts"] = on_cores(parts, 1, paths, options.rounds)
            rows = part_rows(result["parts"], duration)
            lines += ["Our time by part, one core (detectors are not part of it):", ""]
            lines += table_of(["part", "times real time", "share"], rows)
        if "threads" in wanted:
            on_two_cores(corpus, paths)
        save(options.out, results, lines)
    if "threads" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            if paths := half_hours(Path(folder)):
                on_two_cores(f"{len(paths)} recordings of half an hour", paths)
        save(options.out, results, lines)
    if bars:
        draw_ratios(options.out.with_suffix(".png"), bars)


if __name__ == "__main__":
    main()
