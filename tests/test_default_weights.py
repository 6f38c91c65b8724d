"""The speaker network that each system takes by default, and what happens where it is missing."""

import pickle
import re

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sklearn_speechsent import (
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    UtteranceFrames,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.pipeline import SYSTEMS
from sklearn_speechsent.pretrained import get_weights, weights_path

SHIPPED = "speechsent-seresnet"
WESPEAKER = "wespeaker-voxceleb-resnet34"
#: Systems with random speaker blocks, made small: what is shipped is their speaker embedding.
FROM_SCRATCH = {
    "module__widths": (4, 8, 8, 8),
    "module__depths": (1, 1, 1, 1),
}


def named(pipeline):
    """Names of speaker networks among the parameters of a pipeline."""
    params = pipeline.get_params()
    names = {value for key, value in params.items() if key.endswith("weights")}
    return names - {None, "speechsent-unet-vad"}


# -- what each system takes ------------------------------------------------------------------------


def test_small_takes_the_shipped_network(home):
    pipeline = make_sentiment_pipeline()
    assert repr(pipeline) == repr(make_sentiment_pipeline("small", weights=SHIPPED))
    assert named(pipeline) == {SHIPPED} and pipeline["srext"].weights == SHIPPED
    assert not list(home.iterdir())


@pytest.mark.parametrize("system", ["medium", "finetuned", *SYSTEMS])
def test_the_others_take_the_network_of_wespeaker(wespeaker, system):
    pipeline = make_sentiment_pipeline(system)
    assert named(pipeline) == {WESPEAKER}
    assert repr(pipeline) == repr(make_sentiment_pipeline(system, weights=WESPEAKER))


def test_files_on_the_disk_decide_nothing(wespeaker):
    assert named(make_sentiment_pipeline()) == {SHIPPED}


@pytest.mark.parametrize("system", ["small", "medium"])
@pytest.mark.parametrize("weights", ["default", WESPEAKER, SHIPPED, None])
def test_pooled_statistics_are_of_speech(wespeaker, system, weights):
    """The detector belongs to the system, whatever the weights."""
    pipeline = make_sentiment_pipeline(system, weights=weights)
    assert pipeline["vad"].method == "unet"
    assert make_sentiment_pipeline(system, weights=weights, vad=None)["vad"] is None
    assert named(make_sentiment_pipeline(system, weights=None)) == set()


@pytest.mark.parametrize("system", ["finetuned", *SYSTEMS])
def test_networks_take_all_frames(wespeaker, system):
    assert make_sentiment_pipeline(system)["vad"] == "passthrough"


def test_mean_normalisation_is_that_of_the_weights(wespeaker):
    assert make_sentiment_pipeline()["cmn"].window is None
    assert make_sentiment_pipeline("medium")["cmn"].window is None
    assert make_sentiment_pipeline(SYSTEMS[0], weights=None)["cmn"].window == 3.0
    # The means over time of mel frames are what is pooled.
    assert make_sentiment_pipeline(weights=None)["cmn"] == "passthrough"


def test_a_verifier_as_weights(fitted_verifier, home):
    weights = FrozenEstimator(fitted_verifier)
    pipeline = make_sentiment_pipeline(weights=weights)
    assert pipeline["srext"].weights is weights and pipeline["cmn"].window == 3.0
    net = make_sentiment_pipeline("1/2SREx-SEResNet-16 + R", weights=weights)["net"]
    assert net.weights is weights


@pytest.fixture(scope="module")
def fitted_verifier():
    """A verifier of frames after mean normalisation over 3 s."""
    rng = np.random.default_rng(0)
    settings = {"sample_rate": 16000, "n_mels": 80, "cmn": 3.0}
    frames = UtteranceFrames.from_arrays(
        [rng.normal(size=(20, 80)).astype(np.float32) for _ in range(4)], frame_settings=settings
    )
    params = dict(module__widths=(4, 8), module__depths=(1, 1), module__embedding_size=6)
    verifier = SpeakerVerifier(
        max_epochs=1, validation_fraction=0, n_jobs=1, random_state=0, **params
    )
    return verifier.fit(frames, [0, 0, 1, 1])


def test_auto_and_light_are_unknown(home, rng):
    frames = UtteranceFrames.from_arrays([rng.normal(size=(20, 80))])
    with pytest.raises(ValueError, match=f"no pre-trained weights named 'auto'.*{SHIPPED}"):
        make_sentiment_pipeline(weights="auto")
    for system in ("light", "auto", None):
        with pytest.raises(ValueError, match=f"no system '{system}'; known: 'small', 'medium'"):
            make_sentiment_pipeline(system)
    with pytest.raises(ValueError, match="perturb= is neither a step"):
        make_sentiment_pipeline(perturb=True)
    for cls in (SpeakerFeatureExtractor, SpeakerEmbedder):
        assert cls().weights == SHIPPED
        for word in ("auto", "default"):
            with pytest.raises(ValueError, match=f"no pre-trained weights named '{word}'"):
                cls(word).fit(frames)


# -- weights that are not there --------------------------------------------------------------------


FETCH = re.escape(f"fetch_weights({WESPEAKER!r})")


@pytest.mark.parametrize("system", ["medium", "finetuned", *SYSTEMS])
def test_missing_weights_are_an_error_of_the_maker(home, system):
    with pytest.raises(FileNotFoundError, match=FETCH) as caught:
        make_sentiment_pipeline(system)
    assert str(weights_path(get_weights(WESPEAKER))) in str(caught.value)
    with pytest.raises(FileNotFoundError, match=FETCH):
        make_sentiment_pipeline("small", weights=WESPEAKER)
    assert not list(home.iterdir())


def test_missing_files_are_an_error_of_the_maker(home, tmp_path):
    for system in ("small", "finetuned", *SYSTEMS):
        with pytest.raises(FileNotFoundError, match=r"gone\.safetensors does not exist"):
            make_sentiment_pipeline(system, weights=tmp_path / "gone.safetensors")


@pytest.mark.parametrize("system", ["medium", "finetuned", *SYSTEMS])
def test_pipelines_travel_to_where_the_weights_are_missing(wespeaker, speech, system):
    """Neither clone, set_params nor a pickle opens the file; fit does, and says what to do."""
    pipeline = make_sentiment_pipeline(system)
    pickled = pickle.dumps(pipeline)
    wespeaker.unlink()
    for again in (clone(pipeline), pickle.loads(pickled), clone(WaveformPerturbation(pipeline))):
        assert named(again) == {WESPEAKER} and WESPEAKER in repr(again)
        with pytest.raises(FileNotFoundError, match=FETCH):
            again.fit(speech.data[:4], [-1, -1, 1, 1])


def test_steps_with_missing_weights_are_made_and_changed(home, rng):
    frames = UtteranceFrames.from_arrays([rng.normal(size=(20, 80)) for _ in range(4)])
    nets = (SpeechSentimentClassifier, SpeechSentimentRegressor)
    for cls in (SpeakerFeatureExtractor, SpeakerEmbedder, *nets):
        blocks = {"module__n_frozen_blocks": 1} if cls in nets else {}
        estimator = clone(cls(**blocks).set_params(weights=WESPEAKER))
        estimator = pickle.loads(pickle.dumps(estimator))
        with pytest.raises(FileNotFoundError, match=FETCH):
            estimator.fit(frames, [-1, -1, 1, 1])
    pipeline = make_sentiment_pipeline().set_params(srext__weights=WESPEAKER)
    assert named(pipeline) == {WESPEAKER}


def test_a_fitted_pipeline_needs_no_file(home, speech, tmp_path):
    """Its tensors are its own: a copy of the shipped file may go once it is fitted."""
    path = tmp_path / "copy.safetensors"
    path.write_bytes(weights_path(get_weights(SHIPPED)).read_bytes())
    pipeline = make_sentiment_pipeline(weights=path, n_jobs=1)
    pipeline.fit(speech.data[::4], speech.target[::4])
    expected = pipeline.predict_proba(speech.data[:3])
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    path.unlink()
    again = joblib.load(tmp_path / "pipeline.joblib")
    np.testing.assert_array_equal(again.predict_proba(speech.data[:3]), expected)
    with pytest.raises(FileNotFoundError, match=r"copy\.safetensors does not exist"):
        clone(again).fit(speech.data[::4], speech.target[::4])


# -- networks on the shipped blocks ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "params"),
    [
        *((system, {}) for system in ("finetuned", *SYSTEMS)),
        ("finetuned", {"target": "intensity"}),
        ("2/2SREx-SEResNet-16 + SpE + R", {}),
        ("0/2SREx-SEResNet-16 + C", FROM_SCRATCH),
        ("0/2SREx-SEResNet-16 + SpE + C", FROM_SCRATCH),
    ],
)
def test_networks_on_the_shipped_blocks(home, speech, system, params):
    """Their depths are those of the file, not the defaults of the modules."""
    pipeline = make_sentiment_pipeline(
        system,
        weights=SHIPPED,
        max_epochs=1,
        chunk_duration=0.3,
        batch_size=4,
        n_jobs=1,
        random_state=0,
        **params,
    )
    rows = slice(None, None, 4)
    X, y = list(speech.data[rows]), speech.target[rows]
    pipeline.fit(X, y)
    assert np.isfinite(pipeline.predict(X)).all()
    if isinstance(pipeline["net"], SpeechSentimentClassifier):
        assert pipeline.predict_proba(X).shape == (len(X), len(np.unique(y)))
    blocks = pipeline["net"].module_.srext
    if system[0] in "2f":
        blocks = pipeline["srext"].network_
    if system[0] != "0":
        assert [len(blocks.layer1), len(blocks.layer2)] == [1, 3]
        assert hasattr(blocks.layer1[0], "se")
    if "SpE" in system:
        assert pipeline["net"].module_.embedding_size == 256
    assert not list(home.iterdir())


def test_the_tuned_block_is_the_third_of_the_weights(home, wespeaker, speech, rng):
    assert make_sentiment_pipeline("finetuned")["net"].module__stext == ((6, 128),)
    shipped = make_sentiment_pipeline("finetuned", weights=SHIPPED)["net"]
    assert shipped.module__stext == ((4, 128),) and shipped.weights == SHIPPED
    with pytest.raises(ValueError, match="'finetuned' tunes a pre-trained network"):
        make_sentiment_pipeline("finetuned", weights=None)
    shallow = {"module__widths": (4, 8), "module__depths": (1, 1), "module__embedding_size": 4}
    frames = UtteranceFrames.from_arrays([rng.normal(size=(40, 80)) for _ in range(4)])
    frames.frame_settings.update(sample_rate=16000, n_mels=80, frame_shift=0.01)
    verifier = SpeakerVerifier(max_epochs=1, validation_fraction=0, n_jobs=1, **shallow)
    verifier.fit(frames, [0, 0, 1, 1])
    with pytest.raises(ValueError, match="tunes the third block of its weights, which have 2"):
        make_sentiment_pipeline("finetuned", weights=FrozenEstimator(verifier))


def test_finetuned_is_an_ordinary_pipeline(home, speech):
    pipeline = make_sentiment_pipeline(
        "finetuned",
        weights=SHIPPED,
        levels=[-1, 0, 1],
        max_epochs=1,
        chunk_duration=0.3,
        module__hidden_size=16,
        n_jobs=1,
        random_state=0,
    )
    assert repr(clone(pipeline)) == repr(pipeline)
    grid = {"net__module__stext_init": [None, "speaker"], "net__module__decoder": ["cgd", "stats"]}
    search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=2, error_score="raise")
    best = search.fit(list(speech.data), speech.target).best_estimator_
    assert len(set(search.cv_results_["mean_test_score"].tolist())) > 1
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(
        again.predict_proba(speech.data[:3]), best.predict_proba(speech.data[:3])
    )
    perturbed = WaveformPerturbation(pipeline, conditions=["telephone"], speeds=())
    perturbed.fit(list(speech.data[::2]), speech.target[::2])
    assert perturbed.predict_proba(speech.data[:3]).shape == (3, 3)
