"""Interrupted fits that resume, with the result that they would have had."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
)

from sklearn_speechsent import (
    SpeakerVerifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.training import resume as resume_module
from sklearn_speechsent.training.net import UtteranceNet
from sklearn_speechsent.training.resume import FitProgress

SMALL = dict(max_epochs=3, batch_size=4, n_jobs=1, random_state=0)
CONFIGURATIONS = {
    "plain": (SpeechSentimentRegressor, dict(lr_schedule=None)),
    "milestones, chunks, dropout": (
        SpeechSentimentRegressor,
        dict(chunk_duration=0.12, module__dropout=0.3),
    ),
    "early stopping, plateau": (
        SpeechSentimentClassifier,
        dict(early_stopping=True, lr_schedule="plateau", validation_fraction=0.25, patience=2),
    ),
    "it does stop early": (
        SpeechSentimentRegressor,
        dict(early_stopping=True, validation_fraction=0.25, patience=1, lr=0.3, max_epochs=20),
    ),
    "two heads, sampling": (
        SpeechSentimentClassifier,
        dict(two_headed=True, sampling_exponent=1.0, spec_augment=False),
    ),
    "bfloat16": (SpeechSentimentRegressor, dict(precision="bfloat16")),
    "one cycle, groups of rates, gradient norm": (
        SpeechSentimentRegressor,
        dict(
            lr_schedule="one-cycle",
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=0.01,
            optimizer__param_groups=[("stext.*", {"lr": 1e-4})],
            callbacks=[("clip", GradientNormClipping(1.0))],
        ),
    ),
    "averaged weights": (SpeechSentimentClassifier, dict(average_epochs=2, lr=1e-2)),
    "callbacks of the user": (
        SpeechSentimentRegressor,
        dict(
            callbacks=[
                ("score", EpochScoring("r2", name="r2", on_train=True, lower_is_better=False)),
                ("rate", LRScheduler("CosineAnnealingLR", T_max=9, step_every="batch")),
                ("freeze", Freezer("*stem*", at=2)),
                ("stop", EarlyStopping("train_loss", patience=2, load_best=True, sink=print)),
            ],
            lr_schedule=None,
        ),
    ),
    "speakers": (
        SpeakerVerifier,
        dict(
            validation_fraction=0.5,
            chunk_duration=0.12,
            module__widths=(4, 8),
            module__depths=(1, 1),
            module__embedding_size=6,
        ),
    ),
}


class Killed(BaseException):
    """Stands for kill -9: no code catches it."""


@pytest.fixture
def die(monkeypatch):
    """Function that lets a method die at its n-th call from now on, before or after its work."""

    def die(n, owner=UtteranceNet, name="infer", error=Killed, after=False):
        original, calls = getattr(owner, name), []

        def dying(self, *args, **kwargs):
            calls.append(None)
            if len(calls) == n and not after:
                raise error
            result = original(self, *args, **kwargs)
            if len(calls) == n:
                raise error
            return result

        patch = pytest.MonkeyPatch()
        patch.setattr(owner, name, dying)
        patches.append(patch)
        return patch

    patches = []
    yield die
    for patch in reversed(patches):
        patch.undo()


@pytest.fixture
def every_batch(monkeypatch):
    monkeypatch.setattr(resume_module, "SAVE_INTERVAL", 0.0)


def examples(cls, make_frames, n=12):
    X, y = make_frames(n)
    return X, (np.array(["a", "b", "c", "d"])[np.arange(n) % 4] if cls is SpeakerVerifier else y)


def complete(net, X, y, die, n):
    """Fit a net that dies at every n-th batch; returns it and the number of deaths."""
    for deaths in range(100):
        patch = die(n)
        try:
            return clone(net).fit(X, y), deaths
        except Killed:
            pass
        finally:
            patch.undo()
    raise AssertionError("no progress")


def result(net, X):
    if isinstance(net, SpeakerVerifier):
        return np.append(net.transform(X).ravel(), net.threshold_)
    return net.predict(X)


def assert_equal_fits(net, other, X):
    """On one thread there is no rounding that could differ."""
    assert len(net.history) == len(other.history)
    for row, expected in zip(net.history, other.history, strict=True):
        assert set(row) == set(expected)
        assert {k: v for k, v in row.items() if k != "dur"} == {
            k: v for k, v in expected.items() if k != "dur"
        }
    for owner, reference in ((net.module_, other.module_), (net.optimizer_, other.optimizer_)):
        state, expected = owner.state_dict(), reference.state_dict()
        torch.testing.assert_close(state, expected, rtol=0, atol=0, equal_nan=True)
    np.testing.assert_array_equal(result(net, X), result(other, X))
    assert not net.module_.training


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_fit_that_dies_again_and_again(name, make_frames, tmp_path, die, every_batch):
    """In training, estimation of batch norm and validation, some batches further each time."""
    cls, params = CONFIGURATIONS[name]
    X, y = examples(cls, make_frames)
    whole = cls(**{**SMALL, **params}).fit(X, y)
    net = clone(whole).set_params(resume=tmp_path)
    # The batches after the last save must fit between two deaths.
    n = {"callbacks of the user": 5, "speakers": 8}.get(name, 3)
    resumed, deaths = complete(net, X, y, die, n)
    assert deaths >= 2
    assert_equal_fits(resumed, whole, X)
    (file,) = tmp_path.iterdir()
    if name == "it does stop early":
        assert len(whole.history) < params["max_epochs"]
    # A finished fit is read and not trained.
    patch = die(1, name="train_step_single")
    assert_equal_fits(clone(net).fit(X, y), whole, X)
    patch.undo()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("interval", "early_stopping", "step"),
    # With one save per pass its moments are much alike. The fourth case is "plain", above.
    [(0.0, True, 1), (1e9, True, 3), (1e9, False, 3)],
)
def test_every_moment(make_frames, tmp_path, die, monkeypatch, interval, early_stopping, step):
    """Each batch of two epochs, and of the pass that estimates batch normalisation."""
    monkeypatch.setattr(resume_module, "SAVE_INTERVAL", interval)
    X, y = make_frames(9)
    params = {**SMALL, "max_epochs": 2, "early_stopping": early_stopping}
    with pytest.MonkeyPatch.context() as patch:
        batches = []
        infer = UtteranceNet.infer
        patch.setattr(UtteranceNet, "infer", lambda *a, **k: batches.append(0) or infer(*a, **k))
        whole = SpeechSentimentRegressor(**params, validation_fraction=0.25).fit(X, y)
    net = clone(whole).set_params(resume=tmp_path)
    for moment in range(1, len(batches) + 1, step):
        patch = die(moment, after=bool(moment % 2))
        with pytest.raises(Killed):
            clone(net).fit(X, y)
        patch.undo()
        assert_equal_fits(clone(net).fit(X, y), whole, X)
        (file,) = tmp_path.iterdir()
        file.unlink()


@pytest.mark.parametrize("after", [False, True])
def test_between_the_end_and_the_result(make_frames, tmp_path, die, after):
    X, y = examples(SpeakerVerifier, make_frames)
    cls, params = CONFIGURATIONS["speakers"]
    for owner, name in ((FitProgress, "finish"), (cls, "_normalise_voices")):
        net = cls(**{**SMALL, **params, "max_epochs": 1, "random_state": None})
        net.set_params(resume=tmp_path)
        patch = die(1, owner, name, after=after)
        with pytest.raises(Killed):
            clone(net).fit(X, y)
        patch.undo()
        assert len(list(tmp_path.iterdir())) == 1
        patch = die(1, name="train_step_single")
        resumed = net.fit(X, y)
        patch.undo()
        assert np.isfinite(resumed.threshold_)
        assert not list(tmp_path.iterdir())


def test_without_a_seed_the_draws_are_saved_until_the_fit_is_finished(make_frames, tmp_path, die):
    X, y = make_frames()
    params = {**SMALL, "random_state": None, "early_stopping": True, "validation_fraction": 0.25}
    net = SpeechSentimentRegressor(**params, resume=tmp_path)
    first, deaths = complete(net, X, y, die, 9)
    assert deaths >= 1 and not list(tmp_path.iterdir())
    die(9)
    with pytest.raises(Killed):
        clone(net).fit(X, y)
    (file,) = tmp_path.iterdir()
    seed = torch.load(_payload(file), weights_only=True)["seed"]
    second, _ = complete(net, X, y, die, 100)
    expected = clone(net).set_params(resume=None, random_state=np.random.RandomState(seed))
    assert_equal_fits(second, expected.fit(X, y), X)
    assert first.history[:, "train_loss"] != second.history[:, "train_loss"]


def _payload(file):
    import io

    content = file.read_bytes()
    return io.BytesIO(content[content.index(b"PK") :])


def test_the_users_generator_ends_in_the_state_after_training(make_frames, tmp_path, die):
    X, y = make_frames()
    rng = np.random.RandomState(7)
    whole = SpeechSentimentRegressor(**{**SMALL, "random_state": rng}).fit(X, y)
    expected = rng.randint(1000, size=5)
    for attempt in ("interrupted", "resumed", "read"):
        rng = np.random.RandomState(7)
        net = SpeechSentimentRegressor(**{**SMALL, "random_state": rng}, resume=tmp_path)
        patch = die({"interrupted": 5, "resumed": 100, "read": 1}[attempt])
        if attempt == "interrupted":
            with pytest.raises(Killed):
                net.fit(X, y)
        else:
            net.fit(X, y)
            np.testing.assert_array_equal(rng.randint(1000, size=5), expected)
        patch.undo()
        if attempt != "interrupted":
            np.testing.assert_array_equal(net.predict(X), whole.predict(X))


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_training_that_continues_earlier_calls(make_frames, tmp_path, die, method):
    """With the optimizer of the earlier call, also if that call was only read."""
    X, y = make_frames()
    params = {**SMALL, "max_epochs": 1, "warm_start": method == "fit"}

    def train(**kwargs):
        net = SpeechSentimentRegressor(**params, **kwargs)
        for rows in (slice(8), slice(4, 12), slice(4, 12)):
            getattr(net, method)(X[rows], y[rows])
        return net

    whole = train()
    for n_infers in (7, 5):  # each call has 4, a finished one none
        patch = die(n_infers)
        with pytest.raises(Killed):
            train(resume=tmp_path)
        patch.undo()
    assert_equal_fits(train(resume=tmp_path), whole, X)
    assert len(list(tmp_path.iterdir())) == 3


def test_ctrl_c_is_not_swallowed(make_frames, tmp_path, die):
    X, y = make_frames()
    die(5, error=KeyboardInterrupt)
    assert len(SpeechSentimentRegressor(**SMALL).fit(X, y).history) == 2  # as skorch has it
    die(5, error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        SpeechSentimentRegressor(**SMALL, resume=tmp_path).fit(X, y)


class Enough(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


def test_a_callback_may_end_training(make_frames, tmp_path):
    net = SpeechSentimentRegressor(**SMALL, callbacks=[Enough()], resume=tmp_path)
    assert len(net.fit(*make_frames()).history) == 2
    assert len(clone(net).fit(*make_frames()).history) == 2


def test_worker_processes_gather_the_same_batches(make_frames, tmp_path, die, every_batch):
    X, y = make_frames()
    params = {**SMALL, "iterator_train__num_workers": 1, "chunk_duration": 0.12}
    whole = SpeechSentimentRegressor(**params).fit(X, y)
    resumed, deaths = complete(clone(whole).set_params(resume=tmp_path), X, y, die, 5)
    assert deaths >= 2
    assert_equal_fits(resumed, whole, X)


def test_no_trace_in_parameters_and_pickles(make_frames, tmp_path):
    X, y = make_frames()
    net = SpeechSentimentRegressor(**SMALL, resume=tmp_path)
    names = set(net.get_params(deep=False))
    content = pickle.dumps(net.fit(X, y))
    assert set(net.get_params(deep=False)) == names
    assert b"FitProgress" not in content and b"ResumeFile" not in content
    assert clone(net).resume == tmp_path
    loaded = pickle.loads(content)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))


def test_kill_9_at_ten_random_moments(tmp_path):
    script = Path(__file__).with_name("interrupted_fits.py")
    run = subprocess.run(
        [sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["killed"] == 10
    assert report["in the folder"] == ["one file"]
    assert report["largest difference"] == 0
    assert report["same history"]
    assert report["next to a running fit"] == "another file"
