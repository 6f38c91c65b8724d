"""Training on another device, as far as the processor can stand for it."""

import pickle
import threading

import numpy as np
import pytest
import torch
from skorch.exceptions import DeviceWarning

from sklearn_speechsent import SpeechSentimentClassifier, SpeechSentimentRegressor
from sklearn_speechsent.training import resume as resume_module
from sklearn_speechsent.training.data import GatheredAhead, scoped_seed
from sklearn_speechsent.training.net import UtteranceNet

PARAMS = dict(max_epochs=3, batch_size=4, n_jobs=1, random_state=0, chunk_duration=0.12)


@pytest.fixture
def ahead(monkeypatch):
    """Batches of training and validation are gathered ahead, as for CUDA."""
    original = UtteranceNet.get_iterator
    monkeypatch.setattr(
        UtteranceNet, "get_iterator", lambda self, *a, **kw: GatheredAhead(original(self, *a, **kw))
    )


def test_batches_come_in_order_and_one_ahead():
    gathered = []

    def gather():
        for number in range(4):
            gathered.append((number, threading.current_thread()))
            yield number

    batches = GatheredAhead(gather())
    for number, batch in enumerate(batches):
        assert batch == number and len(gathered) <= number + 2
    assert number == 3 and threading.current_thread() not in dict(gathered).values()


def test_an_error_of_gathering_is_raised():
    def gather():
        yield 1
        raise OSError("file is gone")

    with pytest.raises(OSError, match="file is gone"):
        list(GatheredAhead(gather()))


def test_it_ends_when_the_loop_is_left():
    before = threading.active_count()
    batches = iter(GatheredAhead(iter(range(10))))
    assert next(batches) == 0
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("params", [{}, {"early_stopping": True, "validation_fraction": 0.3}])
def test_the_same_network_as_without_the_thread(params, data, request):
    X, y = data
    net = SpeechSentimentRegressor(**PARAMS, **params)
    expected = net.fit(X, y).predict(X)
    request.getfixturevalue("ahead")
    np.testing.assert_array_equal(net.fit(X, y).predict(X), expected)


def test_a_fit_that_gathers_ahead_resumes(data, tmp_path, ahead, monkeypatch):
    """At the beginning of the interrupted pass: within it the draws are ahead of the network."""
    monkeypatch.setattr(resume_module, "SAVE_INTERVAL", 0.0)
    X, y = data
    expected = SpeechSentimentRegressor(**PARAMS).fit(X, y).predict(X)
    net = SpeechSentimentRegressor(**PARAMS, resume=tmp_path)
    for n in (2, 5, 8):
        calls, original = [], UtteranceNet.infer

        def infer(self, *args, n=n, calls=calls, original=original, **kwargs):
            calls.append(None)
            if len(calls) == n:
                raise MemoryError
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(UtteranceNet, "infer", infer)
            with pytest.raises(MemoryError):
                net.fit(X, y)
    np.testing.assert_array_equal(net.fit(X, y).predict(X), expected)


def test_only_the_generators_in_use_are_seeded(monkeypatch):
    """A fit on the processor leaves those of all devices as they are."""
    monkeypatch.setattr(torch, "manual_seed", None)
    draws = []
    for _ in range(2):
        with scoped_seed(3, "cpu"):
            draws.append(torch.rand(4))
    assert torch.equal(*draws)


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "gpu"])
def test_a_device_that_is_not_there(name, data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    X, y = data
    net = SpeechSentimentClassifier(**PARAMS, device=name)
    with pytest.raises(ValueError, match=rf"device='{name}' cannot be used.*device='cpu'"):
        net.fit(X, y)
    net.set_params(device="cpu").fit(X, y)
    state = net.__getstate__() | {"device": name}
    loaded = SpeechSentimentClassifier.__new__(SpeechSentimentClassifier)
    with pytest.warns(DeviceWarning, match="processor is used instead"):
        loaded.__setstate__(pickle.loads(pickle.dumps(state)))
    assert loaded.device == "cpu"
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
