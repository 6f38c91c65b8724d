"""Systems by name, and scikit-learn around the whole Pipeline."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_html_repr

from sklearn_speechsent import (
    OrdinalClassifier,
    SlidingCMN,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    VoiceActivityDetector,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.audio import RecordingError
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.metrics import get_scorer
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold
from sklearn_speechsent.pipeline import SYSTEMS
from sklearn_speechsent.pretrained import has_weights

WITHOUT_SPE = [name for name in SYSTEMS if "SpE" not in name]
STEPS = ["mfb", "vad", "cmn", "spe", "srext", "net"]
SHIPPED = "speechsent-seresnet"
WESPEAKER = "wespeaker-voxceleb-resnet34"


def quick(system="small", **params):
    """Pipeline without pre-trained weights, of all frames, with a net that trains in a moment."""
    params = {"vad": "passthrough", **params}
    if system != "small":
        params = {"max_epochs": 1, "chunk_duration": 0.3, "batch_size": 12, **params}
    return make_sentiment_pipeline(system, weights=None, n_jobs=1, random_state=0, **params)


# -- fit and predict -------------------------------------------------------------------------------


def test_small_learns_from_paths(speech):
    pipeline = quick().fit(speech.data, speech.target)
    assert pipeline.score(speech.data, speech.target) > 0.9
    assert pipeline.predict_proba(speech.data).shape == (24, 3)


@pytest.mark.parametrize("system", WITHOUT_SPE)
def test_named_systems_fit(speech, system):
    pipeline = quick(system).fit(speech.data, speech.target)
    predicted = pipeline.predict(speech.data)
    assert predicted.shape == (24,) and np.isfinite(predicted).all()
    net = pipeline["net"]
    assert isinstance(net, SpeechSentimentRegressor) == system.endswith("16 + R")
    assert net.two_headed == system.endswith("C + R")
    if net.two_headed:
        frames = pipeline[:-1].transform(speech.data)
        assert net.as_regressor().predict(frames).dtype == np.float32


def parts(pipeline):
    """What a system is made of, read from its steps."""
    net, params = pipeline["net"], pipeline["net"].get_params()
    srext = pipeline["srext"]
    before = 0 if srext == "passthrough" else srext.n_blocks
    heads = "CR" if net.two_headed else "R" if isinstance(net, SpeechSentimentRegressor) else "C"
    return (
        before + params.get("module__n_frozen_blocks", 0),
        params.get("module__n_tuned_blocks", 0),
        params["module__stext"],
        isinstance(pipeline["spe"], SpeakerEmbeddingFusion),
        heads,
        params["weights"],
    )


NAMED = {
    "2/2SREx-SEResNet-16 + C + R": (2, 0, 16, False, "CR", None),
    "1/2SREx-SEResNet-16 + C + R": (1, 1, 16, False, "CR", SHIPPED),
    "1/2SREx-SEResNet-16 + R": (1, 1, 16, False, "R", SHIPPED),
    "1/2SREx-SEResNet-16 + C": (1, 1, 16, False, "C", SHIPPED),
    "1/2SREx-SEResNet-34 + SpE + C": (1, 1, 34, True, "C", SHIPPED),
}


@pytest.mark.parametrize("system", NAMED)
def test_the_systems_of_the_paper(system):
    assert tuple(NAMED) == SYSTEMS
    first, _, rest = system.partition(" + ")
    for spelling in (system, f"{first} {rest}", system.replace(" ", ""), system.upper()):
        assert parts(make_sentiment_pipeline(spelling, weights=SHIPPED)) == NAMED[system]


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("2/2SREx-SEResNet-16 + SpE + C + R", (2, 0, 16, True, "CR", None)),
        ("1/2SREx-SEResNet-34 + SpE + R", (1, 1, 34, True, "R", SHIPPED)),
        ("2/2SREx-SEResNet-34 + C", (2, 0, 34, False, "C", None)),
        ("0/2SREx-SEResNet-16 + C + R", (0, 2, 16, False, "CR", None)),
        ("0/2SREx-SEResNet-34 + SpE + C", (0, 2, 34, True, "C", None)),
    ],
)
def test_other_combinations(system, expected):
    pipeline = make_sentiment_pipeline(system, weights=SHIPPED)
    assert parts(pipeline) == expected and list(pipeline.named_steps) == STEPS
    if expected[3]:
        assert pipeline["spe"].embedder.weights == SHIPPED


def test_speaker_blocks_from_scratch_learn(speech):
    params = {"module__widths": (4, 8, 8, 8), "module__depths": (1, 1, 1, 1)}
    pipeline = quick("0/2SREx-SEResNet-16 + C", **params).fit(speech.data, speech.target)
    assert pipeline["net"].module_.srext.n_frozen_blocks == 0
    assert all(p.requires_grad for p in pipeline["net"].module_.srext.parameters())
    assert pipeline.predict(speech.data).shape == (24,)


@pytest.mark.parametrize(
    "system",
    [
        "heavy",
        "3/2SREx-SEResNet-16 + C",
        "1/2SREx-SEResNet-18 + C",
        "1/2SREx-SEResNet-16",
        "1/2SREx-SEResNet-16 + C + SpE",
        "1/2SREx-SEResNet-16 + SpE",
    ],
)
def test_unknown_systems(system):
    known = "'small', 'medium', 'large', 'finetuned', '2/2SREx"
    says = re.escape(f"no system {system!r}; known: {known}")
    with pytest.raises(ValueError, match=says):
        make_sentiment_pipeline(system)


def test_speaker_embeddings_need_weights():
    with pytest.raises(ValueError, match=r"SpE \+ C.*speaker embedding.*needs weights"):
        make_sentiment_pipeline("1/2SREx-SEResNet-34 + SpE + C", weights=None)


# -- overriding parts ------------------------------------------------------------------------------


def test_overrides():
    pipeline = make_sentiment_pipeline(
        "1/2SREx-SEResNet-16 + C",
        weights=SHIPPED,
        vad=VoiceActivityDetector(),
        cmn=SlidingCMN(window=2.0),
        cmn__window=1.0,
        mfb__n_mels=64,
        max_epochs=3,
        module__stext=34,
        levels=[-1, 0, 1],
    )
    assert isinstance(pipeline["vad"], VoiceActivityDetector)
    assert pipeline["cmn"].window == 1.0 and pipeline["mfb"].n_mels == 64
    assert pipeline["net"].max_epochs == 3 and pipeline["net"].levels == [-1, 0, 1]
    assert pipeline["net"].get_params()["module__stext"] == 34
    small = make_sentiment_pipeline(net=OrdinalClassifier(LogisticRegression()), estimator__C=0.1)
    assert small["net"].estimator.C == 0.1


@pytest.mark.parametrize("system", ["small", "medium", "large", *NAMED])
def test_a_device_goes_to_every_step_that_has_one(system, wespeaker, whisper):
    if system in NAMED:
        pipeline = make_sentiment_pipeline(system, weights=SHIPPED, device="cuda")
    else:
        pipeline = make_sentiment_pipeline(system, device="cuda")
    places = {k: v for k, v in pipeline.get_params().items() if k.split("__")[-1] == "device"}
    n_expected = {"small": 1, "medium": 1, "large": 2, "1/2SREx-SEResNet-34 + SpE + C": 2}
    n_expected["2/2SREx-SEResNet-16 + C + R"] = 2
    assert len(places) == n_expected.get(system, 1) and set(places.values()) == {"cuda"}
    only = make_sentiment_pipeline("small", device="cuda", srext__device="cpu")
    assert only["srext"].device == "cpu"


@pytest.mark.parametrize("system", ["small", "1/2SREx-SEResNet-16 + C"])
@pytest.mark.parametrize("params", [{"max_epoch": 3}, {"mfb__bins": 3}, {"vda": None}])
def test_unknown_parameters(system, params):
    (name,) = params
    with pytest.raises(ValueError, match=rf"{name}.*mfb, vad, cmn, spe, srext, net"):
        make_sentiment_pipeline(system, weights=SHIPPED, **params)


# -- an ordinary Pipeline --------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["small", *WITHOUT_SPE])
def test_clone_and_parameters(system):
    pipeline = make_sentiment_pipeline(system, weights=SHIPPED, random_state=3)
    assert isinstance(pipeline, Pipeline)
    again = clone(pipeline)
    assert list(again.named_steps) == STEPS
    assert repr(again) == repr(pipeline)
    again.set_params(mfb__n_mels=40, srext="passthrough")
    assert again.get_params()["mfb__n_mels"] == 40 and pipeline["mfb"].n_mels == 80


def test_html_shows_the_steps(speech):
    pipeline = quick("1/2SREx-SEResNet-16 + R").fit(speech.data, speech.target)
    html = estimator_html_repr(pipeline)
    for step in ("MelFilterBank", "passthrough", "SlidingCMN", "SpeechSentimentRegressor"):
        assert step in html


def test_pandas_output_of_pooled_statistics(speech):
    pipeline = quick().set_output(transform="pandas").fit(speech.data, speech.target)
    table = pipeline[:-1].transform(speech.data)
    assert isinstance(table, pd.DataFrame) and table.shape == (24, 160)
    assert list(pipeline["net"].feature_names_in_[[0, -1]]) == ["mean_b0", "std_b79"]


# -- search and validation -------------------------------------------------------------------------


def test_grid_search_over_a_step(speech, tmp_path):
    search = GridSearchCV(
        quick(memory=str(tmp_path)),
        {"vad": ["passthrough", VoiceActivityDetector()], "cmn": ["passthrough", SlidingCMN()]},
        scoring=get_scorer("quadratic_weighted_kappa", levels=[-1, 0, 1]),
        cv=StratifiedSpeakerKFold(2),
    )
    search.fit(speech.data, speech.target, groups=speech.groups)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_validation_with_several_scorers(speech, tmp_path):
    scoring = {
        name: get_scorer(name, levels=[-1, 0, 1])
        for name in (
            "neg_mean_absolute_error",
            "concordance_correlation",
            "threshold_accuracy",
            "neg_ranked_probability_error",
        )
    }
    result = cross_validate(
        quick(memory=str(tmp_path), levels=[-1, 0, 1]),
        speech.data,
        speech.target,
        groups=speech.groups,
        cv=StratifiedSpeakerKFold(2),
        scoring=scoring,
    )
    for name in scoring:
        assert np.isfinite(result[f"test_{name}"]).all()


def test_groups_reach_splitter_and_net(speech, monkeypatch):
    fits = []
    original = SpeechSentimentClassifier.fit

    def fit(self, X, y, *, groups=None, sample_weight=None, X_val=None, y_val=None):
        fits.append(None if groups is None else set(groups))
        return original(self, X, y, groups=groups, sample_weight=sample_weight)

    monkeypatch.setattr(SpeechSentimentClassifier, "fit", fit)
    with config_context(enable_metadata_routing=True):
        pipeline = quick("1/2SREx-SEResNet-16 + C", early_stopping=True, validation_fraction=0.5)
        pipeline["net"].set_fit_request(groups=True)
        result = cross_validate(
            pipeline,
            speech.data,
            speech.target,
            params={"groups": speech.groups},
            cv=StratifiedSpeakerKFold(2),
            scoring=get_scorer("concordance_correlation"),
        )
    assert np.isfinite(result["test_score"]).all()
    assert sorted(map(len, fits)) == [2, 2] and not fits[0] & fits[1]


# -- with pre-trained weights ----------------------------------------------------------------------


@pytest.fixture
def ravdess(data_home):
    """A few real recordings of two actors."""
    if not has_weights(WESPEAKER):
        pytest.skip("no pre-trained weights in the data home")
    bunch = load_ravdess()
    y, groups = np.asarray(bunch.target), np.asarray(bunch.groups)
    rows = [
        row
        for actor in np.unique(groups)[:2]
        for level in np.unique(y)
        for row in np.flatnonzero((groups == actor) & (y == level))[:2]
    ]
    return [bunch.data[row] for row in rows], y[rows], groups[rows]


@pytest.mark.data
@pytest.mark.parametrize(
    "system",
    [
        "medium",
        "large",
        "finetuned",
        "2/2SREx-SEResNet-16 + C + R",
        "1/2SREx-SEResNet-16 + C",
        "1/2SREx-SEResNet-34 + SpE + C",
    ],
)
def test_systems_with_weights_on_real_speech(ravdess, system):
    paths, y, _ = ravdess
    params = {} if system in ("medium", "large") else {"max_epochs": 1, "chunk_duration": 0.5}
    pipeline = make_sentiment_pipeline(system, n_jobs=1, random_state=0, **params)
    pipeline.fit(paths[:8], y[:8])
    proba = pipeline.predict_proba(paths[:4])
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)


def test_large_is_a_vote_of_two_pipelines(wespeaker, whisper):
    pipeline = make_sentiment_pipeline(
        "large",
        on_error="nan",
        levels=[-1, 0, 1],
        vad="passthrough",
        mfb__n_mels=64,
        encoder__layers=(4,),
        speech__net__C=3.0,
    )
    vote = pipeline["net"]
    assert list(pipeline.named_steps) == ["net"] and vote.levels == [-1, 0, 1]
    members = vote.named_estimators
    assert list(members.speaker.named_steps) == ["mfb", "vad", "cmn", "spe", "srext", "net"]
    assert list(members.speech.named_steps) == ["encoder", "net"]
    assert members.speaker["vad"] == "passthrough" and members.speaker["mfb"].n_mels == 64
    assert members.speech["encoder"].layers == (4,) and members.speech["net"].C == 3.0
    assert {step.on_error for step in (vote, *(m[-1] for m in members.values()))} == {"nan"}
    assert members.speech["encoder"].on_error == members.speaker["mfb"].on_error == "nan"
    assert repr(clone(pipeline)) == repr(pipeline)
    with pytest.raises(ValueError, match=r"foo= is neither a step \(mfb.*encoder, net\)"):
        make_sentiment_pipeline("large", foo=1)


def test_large_says_which_weights_are_missing(wespeaker):
    with pytest.raises(FileNotFoundError, match=r"fetch_weights\('whisper-base'\).*small"):
        make_sentiment_pipeline("large")
    # Another encoder does not need them.
    pipeline = make_sentiment_pipeline("large", encoder__model="mine.pt")
    assert pipeline.get_params()["net__speech__encoder__model"] == "mine.pt"


@pytest.mark.data
def test_other_bins_than_the_weights_expect(ravdess):
    paths, y, _ = ravdess
    pipeline = make_sentiment_pipeline("medium", n_jobs=1, mfb__n_mels=64)
    assert isinstance(pipeline["srext"], SpeakerFeatureExtractor)
    with pytest.raises(ValueError, match="80 mel bins"):
        pipeline.fit(paths[:4], y[:4])


# -- recordings that cannot be used ----------------------------------------------------------------


@pytest.fixture
def with_a_bad_one(rng):
    """Nine recordings, the fifth of which cannot be used, and their labels."""
    recordings = [0.1 * rng.normal(size=8000) for _ in range(9)]
    recordings[4] = np.full(8000, np.nan)
    return recordings, [-1, 0, 1] * 3


@pytest.mark.parametrize("system", ["small", "2/2SREx-SEResNet-16 + C"])
@pytest.mark.filterwarnings("ignore:1 of 9")
def test_bad_recordings_are_an_error_or_nan_to_the_end(with_a_bad_one, system):
    X, y = with_a_bad_one
    params = {} if system == "small" else {"max_epochs": 1, "batch_size": 4, "random_state": 0}
    params["vad"] = "passthrough"  # noise stands for speech
    make = partial(make_sentiment_pipeline, system, weights=None, n_jobs=1, **params)
    with pytest.raises(RecordingError, match=r"row 4 .*nan"):
        make().fit(X, y)
    pipeline = make(on_error="nan").fit(X, y)
    predicted, proba = pipeline.predict(X), pipeline.predict_proba(X)
    assert np.flatnonzero(np.isnan(predicted)).tolist() == [4]
    assert np.isnan(proba[4]).all() and np.isfinite(np.delete(proba, 4, axis=0)).all()
    without = make().fit(X[:4] + X[5:], y[:4] + y[5:])
    np.testing.assert_array_equal(np.delete(predicted, 4), without.predict(X[:4] + X[5:]))


@pytest.mark.filterwarnings("ignore:1 of 9 recordings", "ignore:. of .. rows")
def test_averages_over_speeds_are_nan_for_bad_recordings(with_a_bad_one):
    X, y = with_a_bad_one
    pipeline = quick(on_error="nan")
    model = WaveformPerturbation(pipeline, snr_db=(15,), conditions=()).fit(X, y)
    assert np.flatnonzero(np.isnan(model.predict(X))).tolist() == [4]
    assert np.isnan(model.predict_proba(X)[4]).all()


def test_on_error_is_validated():
    with pytest.raises(ValueError, match="on_error='skip' must be 'raise' or 'nan'"):
        make_sentiment_pipeline(on_error="skip")
