import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from experiments.table1.rivals import ICCNAudio, MulTAudio, TFNAcoustic
from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
)

RIVALS = [TFNAcoustic, MulTAudio, ICCNAudio]
LENGTHS = torch.tensor([23, 1, 40, 8])

pytestmark = pytest.mark.parametrize("rival", RIVALS)


@pytest.fixture(autouse=True)
def scoped_generator(global_generators_untouched):
    """Initialising a module draws from torch's global generator: seed it, and only here."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def normalised(rival, **kwargs):
    """A network in eval mode whose batch normalisation has random statistics."""
    net = rival(**kwargs)
    for module in net.modules():
        if hasattr(module, "running_var"):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def make_toy(n=48, bins=8):
    """Utterances of unequal length whose level is in the mean of the upper bins."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3 - 1
    arrays = [rng.normal(size=(rng.integers(12, 40), bins)).astype(np.float32) for _ in y]
    for utterance, level in zip(arrays, y, strict=True):
        utterance[:, bins // 2 :] += level
    return UtteranceFrames.from_arrays(arrays), y.astype(float)


@pytest.mark.parametrize("shape", [(20,), (3, 7)])
@pytest.mark.parametrize("grad", [False, True])
def test_padding_batch_and_order_change_nothing(rival, shape, grad):
    net = normalised(
        rival,
        in_channels=1 if len(shape) == 1 else shape[0],
        in_frequencies=shape[-1],
        n_levels=5,
        heads=("regression", "ordinal"),
    )
    x = torch.randn(4, 40, *shape)
    with torch.set_grad_enabled(grad):
        batch = net(x, LENGTHS)
        assert batch["regression"].shape == (4,)
        assert batch["ordinal"].shape == (4, 4)
        assert batch["regression"].std() > 1e-3
        padded = torch.full((4, 53, *shape), torch.nan)
        for i, length in enumerate(LENGTHS.tolist()):
            padded[i, :length] = x[i, :length]
            alone = net(x[i : i + 1, :length], LENGTHS[i : i + 1])
            for name in batch:
                torch.testing.assert_close(alone[name][0], batch[name][i], atol=1e-5, rtol=1e-5)
        order = torch.tensor([2, 0, 3, 1])
        shuffled, longer = net(x[order], LENGTHS[order]), net(padded, LENGTHS)
        for name in batch:
            torch.testing.assert_close(shuffled[name], batch[name][order], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(longer[name], batch[name], atol=1e-5, rtol=1e-5)


def test_padding_changes_no_gradient(rival):
    x, lengths = torch.randn(4, 20, 6), torch.tensor([20, 3, 7, 12])
    gradients = []
    for n_padding in (0, 9):
        torch.manual_seed(1)
        net = rival(in_frequencies=6)
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # would draw other units for another number of steps
            if isinstance(module, torch.nn.MultiheadAttention):
                module.dropout = 0.0
        padded = torch.cat([x, torch.full((4, n_padding, 6), torch.nan)], dim=1)
        net(padded, lengths)["regression"].square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for plain, padded in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, padded, atol=1e-4, rtol=1e-3)


def test_long_utterances_pass(rival):
    net = normalised(rival, in_frequencies=8)
    with torch.no_grad():
        assert net(torch.randn(1, 3000, 8), torch.tensor([3000]))["regression"].isfinite().all()


def test_learns_a_toy_target(rival):
    X, y = make_toy()
    net = SpeechSentimentRegressor(
        module=rival,
        spec_augment=False,
        max_epochs=25,
        batch_size=16,
        lr=1e-2,
        n_jobs=1,
        random_state=0,
    )
    predictions = net.fit(X, y).predict(X)
    assert np.abs(predictions - y).mean() < 0.3  # the median alone: 0.67
    alone = net.predict([X[3]])
    np.testing.assert_allclose(alone, predictions[3:4], atol=1e-5)
    again = clone(net).fit(X, y).predict(X)
    np.testing.assert_array_equal(again, predictions)


def test_serves_the_classifier_and_both_heads(rival):
    X, y = make_toy(12)
    net = SpeechSentimentClassifier(
        module=rival, two_headed=True, max_epochs=1, batch_size=4, n_jobs=1, random_state=0
    ).fit(X, y)
    assert set(net.predict(X)) <= {-1.0, 0.0, 1.0}
    assert net.as_regressor().predict(X).shape == (12,)


def test_takes_speaker_embeddings(rival):
    X, y = make_toy(12)
    speakers = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    net = SpeechSentimentRegressor(
        module=rival, max_epochs=1, batch_size=4, n_jobs=1, random_state=0
    ).fit(X.with_embeddings(speakers), y)
    assert net.module_.embedding_size == 5
    assert net.predict(X.with_embeddings(speakers)).shape == (12,)


def test_works_in_a_pipeline(rival, speech):
    net = SpeechSentimentRegressor(module=rival, max_epochs=1, n_jobs=1, random_state=0)
    pipeline = make_pipeline(MelFilterBank(n_mels=20), SlidingCMN(), net)
    predictions = pipeline.fit(speech.data, speech.target).predict(speech.data[:5])
    assert predictions.shape == (5,)
    assert np.isfinite(predictions).all()


def test_says_what_does_not_fit(rival):
    net = rival(in_frequencies=6)
    with pytest.raises(ValueError, match="built for frames of 1 x 6"):
        net(torch.rand(2, 5, 7), torch.tensor([5, 5]))
    with pytest.raises(ValueError, match="embeddings of shape None"):
        net(torch.rand(2, 5, 6), torch.tensor([5, 5]), torch.rand(2, 3))
    with pytest.raises(ValueError, match="heads must be"):
        rival(heads="regression")
