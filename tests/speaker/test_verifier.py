"""Training of a verifier: learning, threshold, draws of an epoch, contract of scikit-learn."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import normalize

from sklearn_speechsent import MelFilterBank, SpeakerVerifier, UtteranceFrames
from sklearn_speechsent.datasets import make_speech_sentiment
from sklearn_speechsent.metrics import equal_error_rate, make_trials
from sklearn_speechsent.nn import SpeakerResNet
from sklearn_speechsent.training.net import UtteranceNet


@pytest.fixture
def runs(monkeypatch):
    """The run of every training, with its data and batches."""
    seen = []
    original = UtteranceNet._prepare_run

    def spy(self, *args):
        seen.append(original(self, *args))
        return seen[-1]

    monkeypatch.setattr(UtteranceNet, "_prepare_run", spy)
    return seen


def similarities(embeddings, y):
    first, second, same = make_trials(y)
    return same, (embeddings[first] * embeddings[second]).sum(axis=1)


# -- learning --------------------------------------------------------------------------------------


def test_synthetic_speakers_are_told_apart(tmp_path):
    corpus = make_speech_sentiment(8, 6, levels=(-1, 0, 1), out_dir=tmp_path, random_state=0)
    train = np.arange(48) % 6 < 4
    verifier = SpeakerVerifier(
        frontend=MelFilterBank(32, frame_shift=0.02),
        validation_fraction=0,
        chunk_duration=0.6,
        spec_augment=False,
        lr=3e-3,
        max_epochs=12,
        batch_size=8,
        n_jobs=1,
        random_state=0,
        module__widths=(8, 16),
        module__depths=(1, 1),
        module__embedding_size=16,
    )
    verifier.fit(corpus.data[train], corpus.groups[train])
    embeddings = verifier.transform(corpus.data[~train])
    assert equal_error_rate(*similarities(embeddings, corpus.groups[~train])) < 0.25  # chance: 0.5


def test_embeddings_have_unit_length_and_names(fitted, voices):
    X, _ = voices
    embeddings = fitted.transform(X)
    assert embeddings.shape == (12, 6) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    names = fitted.get_feature_names_out()
    assert names.tolist() == [f"speaker{k:03d}" for k in range(6)]
    table = fitted.set_output(transform="pandas").transform(X)
    assert isinstance(table, pd.DataFrame) and table.columns.tolist() == names.tolist()
    np.testing.assert_array_equal(table, embeddings)
    np.testing.assert_allclose(
        fitted.score_pairs(X, X[::-1]), (embeddings * embeddings[::-1]).sum(axis=1), atol=1e-6
    )


def test_pairs_are_scored_by_their_cosine(fitted, voices):
    X, _ = voices
    mean, matrix = fitted.wccn_
    raw = (fitted._outputs(X)["speaker"].astype(np.float64) - mean) @ matrix
    scores = fitted.score_pairs(X[:5], X[7:])
    for score, a, b in zip(scores, raw[:5], raw[7:], strict=True):
        assert score == pytest.approx(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b), abs=1e-5)
    with pytest.raises(ValueError, match=r"inconsistent.*\[5, 4\]"):
        fitted.score_pairs(X[:5], X[:4])


def test_voices_vary_alike_in_all_directions_of_their_embeddings(voices, params):
    """By within-class covariance normalisation, which is also part of the weights."""
    X, y = voices
    plain = SpeakerVerifier(**params, wccn=False).fit(X, y)
    whitened = SpeakerVerifier(**params).fit(X, y)
    raw = whitened._outputs(X)["speaker"]
    np.testing.assert_array_equal(raw, plain._outputs(X)["speaker"])
    np.testing.assert_allclose(plain.transform(X), normalize(raw), atol=1e-6)
    assert not np.allclose(whitened.transform(X), normalize(raw), atol=0.1)
    folded = whitened.to_weights().state["seg_1.bias"]
    mean, matrix = whitened.wccn_
    bias = whitened.module_.embedder.seg_1.bias.detach().numpy()
    np.testing.assert_allclose(folded, (bias - mean) @ matrix, rtol=1e-3, atol=1e-3)


def test_low_precision_trains_and_embeds_in_float32(voices, params):
    X, y = voices
    verifier = SpeakerVerifier(**params, precision="bfloat16").fit(X, y)
    exact = SpeakerVerifier(**params).fit(X, y)
    embeddings = verifier.transform(X)
    assert embeddings.dtype == np.float32 and np.isfinite(embeddings).all()
    assert not np.array_equal(embeddings, exact.transform(X))  # computed in another precision
    assert {p.dtype for p in verifier.module_.parameters()} == {torch.float32}


# -- threshold and hold-out ------------------------------------------------------------------------


def test_threshold_is_that_of_the_held_out_speakers(voices, params, runs):
    X, y = voices
    verifier = SpeakerVerifier(**params).fit(X, y)
    assert len(verifier.held_out_) == 2 and set(verifier.held_out_) < set(verifier.classes_)
    held = np.isin(y, verifier.held_out_)
    assert [len(run.data) for run in runs] == [6]
    starts = {int(start) for start in runs[0].data.X.starts}
    assert starts == {int(start) for start in X.starts[~held]}
    same, scores = similarities(verifier.transform(X[held]), y[held])
    expected = equal_error_rate(same, scores, return_threshold=True)[1]
    assert verifier.threshold_ == pytest.approx(expected, abs=1e-6)
    assert verifier.module_.heads["speaker"].directions.shape == (2, 6)
    assert verifier.classes_.tolist() == sorted(set(y))


def test_without_hold_out_the_threshold_is_of_the_training_speakers(voices, params):
    X, y = voices
    verifier = SpeakerVerifier(**{**params, "validation_fraction": 0}).fit(X, y)
    assert (
        len(verifier.held_out_) == 0 and verifier.module_.heads["speaker"].directions.shape[0] == 4
    )
    same, scores = similarities(verifier.transform(X), y)
    expected = equal_error_rate(same, scores, return_threshold=True)[1]
    assert verifier.threshold_ == pytest.approx(expected, abs=1e-6)


def test_halves_stand_in_for_speakers_with_one_utterance(make_voices, params):
    X, y = make_voices(n_speakers=5, n_each=1)
    X = UtteranceFrames.from_arrays(
        [*list(X)[:4], X[4][:1]], frame_settings=X.frame_settings
    )  # a single frame
    verifier = SpeakerVerifier(**{**params, "validation_fraction": 0, "batch_size": 5}).fit(X, y)
    middles = [(len(u) + 1) // 2 for u in X]
    halves = [u[:m] for u, m in zip(X, middles, strict=True)]
    halves += [u[min(m, len(u) - 1) :] for u, m in zip(X, middles, strict=True)]
    same, scores = similarities(
        verifier.transform(UtteranceFrames.from_arrays(halves)), np.tile(y, 2)
    )
    expected = equal_error_rate(same, scores, return_threshold=True)[1]
    assert verifier.threshold_ == pytest.approx(expected, abs=1e-6)


# -- draws of an epoch -----------------------------------------------------------------------------


def test_an_epoch_is_as_long_as_the_recordings(make_voices, params, runs):
    X, y = make_voices(longest=90)
    SpeakerVerifier(**{**params, "validation_fraction": 0}).fit(X, y)
    assert runs[0].batches.n_drawn == int(sum(max(1, n / 20) for n in X.lengths))  # chunks of 0.2 s
    SpeakerVerifier(**{**params, "chunk_duration": None, "validation_fraction": 0}).fit(X, y)
    assert runs[1].batches.n_drawn == 12
    drawn = sum(len(rows) for rows in runs[0].batches)
    assert drawn == runs[0].batches.n_drawn


def test_speakers_are_drawn_equally_often(make_voices, params, runs):
    X, y = make_voices(n_speakers=2, n_each=8)
    rows = [0, 1, *range(8, 16)]  # 2 utterances of one, 8 of the other
    SpeakerVerifier(**{**params, "validation_fraction": 0}).fit(X[rows], y[rows])
    probabilities = runs[0].batches.weights
    np.testing.assert_allclose(probabilities[:2], 1 / 4)
    np.testing.assert_allclose(probabilities[2:], 1 / 16)


# -- the contract of scikit-learn and skorch -------------------------------------------------------


def test_there_is_no_predict_and_no_score(fitted):
    for name in ("predict", "predict_proba", "score"):
        assert not hasattr(fitted, name) and not hasattr(SpeakerVerifier(), name)


def test_refit_on_other_bins_and_speakers(fitted, make_voices):
    X, y = make_voices(n_speakers=6, size=24, sample_rate=8000)
    again = fitted.fit(X, y)
    assert again is fitted and fitted.module_.embedder.n_mels == 24
    assert len(fitted.classes_) == 6 and fitted.transform(X).shape == (18, 6)


def test_random_state_decides(voices, params):
    X, y = voices
    nets = [SpeakerVerifier(**{**params, "random_state": s}).fit(X, y) for s in (1, 1, 2)]
    one, same, other = (net.transform(X) for net in nets)
    np.testing.assert_array_equal(one, same)
    assert nets[0].threshold_ == nets[1].threshold_
    assert not np.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("way", ["warm_start", "partial_fit"])
@pytest.mark.parametrize("reloaded", [False, True])
def test_training_continues(voices, params, way, reloaded):
    X, y = voices
    # Without a seed, since speakers to hold out must not be drawn again in the second call.
    verifier = SpeakerVerifier(**{**params, "random_state": None, "warm_start": way[0] == "w"})
    verifier.fit(X, y)
    held, threshold = verifier.held_out_.tolist(), verifier.threshold_
    if reloaded:
        verifier = pickle.loads(pickle.dumps(verifier))
    before = [p.detach().clone() for p in verifier.module_.parameters()]
    getattr(verifier, "fit" if way == "warm_start" else way)(X, y)
    assert len(verifier.history_) == 4 and verifier.held_out_.tolist() == held
    after = [p.detach() for p in verifier.module_.parameters()]
    moved = [float((a - b).abs().max()) for a, b in zip(before, after, strict=True)]
    assert 0 < max(moved) < 0.1 and verifier.threshold_ != threshold
    with pytest.raises(ValueError, match="one side only: 'speaker d'"):
        verifier.partial_fit(X[:9], y[:9])
    assert len(verifier.set_params(warm_start=False).fit(X, y).history_) == 2


# -- architectures ---------------------------------------------------------------------------------


def test_the_larger_network(voices, params):
    wide = {**params, "module__widths": (8, 16, 32, 64), "module__depths": (1, 1, 2, 1)}
    verifier = SpeakerVerifier(**wide).fit(*voices)
    assert verifier.module_.embedder.out_channels == 64
    layout = verifier.to_weights().architecture
    assert layout["widths"] == (8, 16, 32, 64) and layout["depths"] == (1, 1, 2, 1)


def test_without_squeeze_excitation_the_keys_are_wespeakers(voices, params):
    verifier = SpeakerVerifier(**params, module__se_ratio=None).fit(*voices)
    keys = set(verifier.to_weights().state)
    with torch.random.fork_rng(devices=[]):
        plain = SpeakerResNet(6, n_mels=16, widths=(4, 8), depths=(1, 1), se_ratio=None)
    assert keys == set(plain.state_dict())
    assert {"conv1.weight", "layer2.0.shortcut.0.weight", "seg_1.weight"} <= keys
    assert not [key for key in keys if ".se." in key]
    assert [
        key for key in SpeakerVerifier(**params).fit(*voices).to_weights().state if ".se." in key
    ]


def test_callbacks_of_scikit_learn_get_epochs(voices, params):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    begun = []

    class Recorder:
        max_propagation_depth = None

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **kwargs):
            begun.append(context.task_name)

        def on_fit_task_end(self, estimator, context, **kwargs):
            pass

    SpeakerVerifier(**params).set_callbacks(Recorder()).fit(*voices)
    assert begun == ["fit", "epoch", "epoch"]
