"""The network over layers of an encoder, in both estimators."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_speechsent import SpeechSentimentClassifier, SpeechSentimentRegressor, UtteranceFrames
from sklearn_speechsent.metrics import get_scorer
from sklearn_speechsent.nn import EncoderNetwork, SpecAugment
from sklearn_speechsent.training.net import UtteranceNet

SMALL = dict(module__hidden_size=8, module__attention_size=4, batch_size=8, n_jobs=1)


def make_layers(n=24, seed=0):
    """Positions of three layers, of which the middle one shows the level -1, 0 or 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3 - 1
    direction = np.random.default_rng(9).normal(size=6)
    arrays = []
    for level in y:
        x = rng.normal(size=(rng.integers(5, 20), 3, 6)) * [[1], [1], [100]]
        x[:, 1] += 2 * level * direction
        arrays.append(x.astype(np.float16))
    return UtteranceFrames.from_arrays(arrays, frame_settings={"frame_shift": 0.02}), y


@pytest.fixture(scope="module")
def layers():
    return make_layers()


@pytest.fixture(params=[SpeechSentimentRegressor, SpeechSentimentClassifier])
def net(request):
    return request.param(EncoderNetwork, max_epochs=2, random_state=0, **SMALL)


def outputs(net, X):
    return net.predict_proba(X) if hasattr(net, "predict_proba") else net.predict(X)


def test_it_learns_which_layer_counts(layers, net):
    net.set_params(max_epochs=20, lr=2e-2, two_headed=True, module__dropout=0.1).fit(*layers)
    X, y = make_layers(seed=1)
    assert np.abs(net.predict(X) - y).mean() < 0.35  # always 0 is off by .67
    assert net.module_.layer_weights.argmax() == 1
    levels = net if hasattr(net, "predict_proba") else net.as_classifier()
    numbers = net.as_regressor() if levels is net else net
    assert np.mean(levels.predict(X) == y) > 0.8
    assert np.corrcoef(numbers.predict(X), y)[0, 1] > 0.8
    assert (net.module_.in_channels, net.module_.in_frequencies) == (3, 6)


def test_rows_are_the_same_alone_and_in_any_order(layers, net):
    X, y = layers
    expected = outputs(net.fit(X, y), X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(outputs(net, X[order]), expected[order], atol=1e-5)
    alone = np.concatenate([outputs(net, X[[row]]) for row in range(5)])
    np.testing.assert_allclose(alone, expected[:5], atol=1e-5)
    np.testing.assert_allclose(outputs(pickle.loads(pickle.dumps(net)), X), expected, atol=1e-6)
    np.testing.assert_allclose(outputs(clone(net).fit(X, y), X), expected, atol=1e-6)


def test_early_stopping_sampling_and_more_epochs(layers, net):
    X, y = layers
    groups = np.arange(24) // 6
    net.set_params(
        early_stopping=True,
        validation_fraction=0.25,
        sampling_exponent=1.0,
        prior_correction=True,
        precision="bfloat16",
    )
    net.fit(X, y, groups=groups, sample_weight=np.linspace(0.5, 1.5, 24))
    net.partial_fit(X, y, groups=groups)
    assert len(net.history) == 4 and np.isfinite(net.history[:, "valid_loss"]).all()
    assert np.isfinite(outputs(net, X)).all()


def test_an_interrupted_fit_resumes(layers, net, tmp_path, monkeypatch):
    expected = outputs(clone(net).fit(*layers), layers[0])
    net.set_params(resume=str(tmp_path))
    step, calls = UtteranceNet.train_step, []

    def dying(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(UtteranceNet, "train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        clone(net).fit(*layers)
    resumed = clone(net).fit(*layers)
    assert len(calls) == 5 + 3  # of two epochs of three batches, the first was saved
    np.testing.assert_array_equal(outputs(resumed, layers[0]), expected)


def test_a_search_over_dropout(layers, net):
    scoring = get_scorer("neg_mean_absolute_error")
    search = GridSearchCV(net, {"module__dropout": [0.0, 0.5]}, cv=2, scoring=scoring)
    search.fit(*layers)
    assert search.best_estimator_.module_.dropout.p == search.best_params_["module__dropout"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_rows_of_nan(layers, net):
    X, y = layers
    arrays = [array.copy() for array in X]
    arrays[4][:] = np.nan
    X = UtteranceFrames.from_arrays(arrays, frame_settings=X.frame_settings)
    with pytest.raises(ValueError, match="row 4"):
        net.fit(X, y)
    with pytest.warns(UserWarning, match="1 of 24 rows hold NaN"):
        net.set_params(on_error="nan").fit(X, y)
    missing = np.isnan(net.predict(X).astype(float))
    assert missing.tolist() == [row == 4 for row in range(24)]


class RecordingNetwork(EncoderNetwork):
    """Records what training sees."""

    seen: list = []

    def forward(self, x, lengths):
        if self.training:
            self.seen.append((x, lengths))
        return super().forward(x, lengths)


def test_chunks_are_in_seconds_and_masks_in_positions(layers, net):
    X, y = layers
    RecordingNetwork.seen = seen = []
    params = dict(module=RecordingNetwork, chunk_duration=0.2, max_epochs=1)
    net.set_params(**params, spec_augment=True).fit(X, y)
    assert max(int(lengths.max()) for _, lengths in seen) == 10  # of 0.02 s
    assert not any((x == 0).flatten(2).all(2)[lengths == x.shape[1]].any() for x, lengths in seen)
    seen.clear()
    net.set_params(spec_augment=SpecAugment(n_frequency_masks=0, max_time_width=4)).fit(X, y)
    assert any((x == 0).flatten(2).all(2)[lengths == x.shape[1]].any() for x, lengths in seen)
    with pytest.raises(ValueError, match="n_frequency_masks=0"):
        net.set_params(spec_augment=SpecAugment()).fit(X, y)


@pytest.mark.parametrize(
    "params",
    [
        {"module__n_tuned_blocks": 1},
        {"module__n_frozen_blocks": 1},
        {"weights": "speechsent-seresnet"},
        {"weights": "speechsent-seresnet", "module__n_tuned_blocks": 1},
    ],
)
def test_there_are_no_speaker_blocks(net, data, params):
    with pytest.raises(ValueError, match="EncoderNetwork has no speaker blocks"):
        net.set_params(**params).initialize_module()


def test_speaker_embeddings_join(layers, net):
    X, y = layers
    speakers = np.random.default_rng(0).normal(size=(24, 5))
    net.set_params(module__spe_size=4).fit(X.with_embeddings(speakers), y)
    assert net.module_.spe.weight.shape == (4, 5)
    expected = outputs(net, X.with_embeddings(speakers))
    other = outputs(net, X.with_embeddings(speakers[::-1]))
    assert np.abs(other - expected).max() > 1e-4
    with pytest.raises(ValueError, match="expecting 5"):
        net.predict(X)
