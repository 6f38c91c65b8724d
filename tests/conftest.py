"""Hooks and fixtures of all tests: the data home of real recordings, and small synthetic data."""

import gc
import os
from pathlib import Path

# What imports and collection make stays to the end: nothing of it is garbage.
gc.disable()
os.environ.setdefault("MPLBACKEND", "Agg")
# Several test processes run at the same time; more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile
import torch
from joblib.externals.loky import reusable_executor

from sklearn_speechsent import UtteranceFrames
from sklearn_speechsent.nn import SpeakerBlocks
from sklearn_speechsent.pretrained import get_weights, weights_path
from sklearn_speechsent.utils.files import get_data_home

# No test cuts the power. Thousands of small files need not reach the disk before it goes on.
os.fsync = lambda fd: None
soundfile.SoundFile.flush = lambda file: None  # of libsndfile's fsync; closing writes what is left

DATA_HOME = get_data_home()
#: Data home of all tests that are not marked ``data``. Nobody makes this folder.
NO_DATA_HOME = Path(__file__).parent / "no_data_home"


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Let no module see the data home while it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHSENT_DATA", str(NO_DATA_HOME))
        try:
            return (yield)
        finally:
            gc.freeze()
            gc.enable()


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    """Mark the tests that ask for the data home, directly or through a fixture."""
    for item in items:
        if "data_home" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Let only tests marked ``data`` see the data home, from the set-up of their fixtures on."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("data") is None:
            patch.setenv("SPEECHSENT_DATA", str(NO_DATA_HOME))
        return (yield)


def pytest_runtest_setup(item):
    """Skip tests without a CUDA device or a data home; fail if a data home was named."""
    if item.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if item.get_closest_marker("data") is None or (DATA_HOME / "ravdess").is_dir():
        return
    if os.environ.get("SPEECHSENT_DATA"):
        pytest.fail(f"SPEECHSENT_DATA is {DATA_HOME}, which has no folder ravdess", pytrace=False)
    pytest.skip(f"no real recordings in {DATA_HOME}; point SPEECHSENT_DATA to them")


@pytest.fixture(scope="session")
def data_home() -> Path:
    """Data home with real recordings. Tests that ask for it are marked ``data``."""
    return DATA_HOME


@pytest.fixture
def home(monkeypatch, tmp_path) -> Path:
    """Empty data home."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("SPEECHSENT_DATA", str(home))
    return home


@pytest.fixture
def wespeaker(home) -> Path:
    """Empty file in the place of WeSpeaker's weights, which is enough to make a pipeline."""
    return _touched("wespeaker-voxceleb-resnet34")


@pytest.fixture
def whisper(home) -> Path:
    """Empty file in the place of Whisper's encoder, which is enough to make a pipeline."""
    return _touched("whisper-base")


def _touched(name: str) -> Path:
    path = weights_path(get_weights(name))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


@pytest.fixture(autouse=True)
def no_workers_left(end_workers):
    """End joblib's worker processes after the test that started them.

    Workers leave after 300 idle seconds, or when they have grown by 300 MB since their first task.
    A later test that meets the pool at that moment waits for them for ever, and one that forks
    copies the locks of the pool's threads. A file whose tests are all alike may share a pool: it
    replaces this fixture by one of the module.
    """
    yield
    end_workers()


@pytest.fixture(scope="session")
def end_workers():
    """Function that ends joblib's worker processes."""

    def end():
        if reusable_executor._executor is not None:
            reusable_executor._executor.shutdown(wait=True)

    return end


@pytest.fixture(autouse=True)
def global_generators_untouched():
    """No test may find that the package has seeded, or drawn from, torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state()), "torch's global generator moved"


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """Synthetic corpus of 4 speakers with 6 utterances each, on three levels."""
    from sklearn_speechsent.datasets import make_speech_sentiment

    folder = tmp_path_factory.mktemp("speech")
    return make_speech_sentiment(4, 6, levels=(-1, 0, 1), out_dir=folder, random_state=0)


@pytest.fixture
def somebody_speaks(monkeypatch):
    """Every utterance holds speech, whatever it is made of: noise stands for a voice.

    ``tests/vad/test_presence.py`` has the rule.
    """
    from sklearn_speechsent.vad import detector

    monkeypatch.setattr(
        detector, "holds_speech", lambda network, frames, *args: np.ones(len(frames), dtype=bool)
    )


@pytest.fixture
def make_frames():
    """Function that makes random frames and their levels -1, 0, 1."""
    return _make_frames


def _make_frames(n=12, size=8, seed=0, longest=30, **settings):
    """Random frames of unequal length, shifted by their label."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3 - 1
    arrays = [
        (rng.normal(size=(rng.integers(10, longest), size)) + level).astype(np.float32)
        for level in y
    ]
    return UtteranceFrames.from_arrays(arrays, frame_settings=settings or None), y


@pytest.fixture
def data():
    """12 utterances of 8 bins and their levels -1, 0, 1."""
    return _make_frames()


@pytest.fixture
def decoded(monkeypatch):
    """Rows of the recordings that were decoded in this process, in order."""
    from sklearn_speechsent import audio

    rows, original = [], audio.read_blocks

    def read(recording, *given, **options):
        rows.append(recording.row)
        return original(recording, *given, **options)

    monkeypatch.setattr(audio, "read_blocks", read)
    return rows


@pytest.fixture
def rng() -> np.random.Generator:
    """Fresh generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def computed(monkeypatch):
    """Frames that speaker blocks of torch computed, piece by piece."""
    lengths, maps = [], SpeakerBlocks.maps

    def counting(self, x, *rest):
        lengths.append(x.shape[1])
        return maps(self, x, *rest)

    monkeypatch.setattr(SpeakerBlocks, "maps", counting)
    return lengths
