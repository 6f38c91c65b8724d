"""Exported graphs against the pipelines that they were made of."""

import json
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import onnx
import pytest
import soundfile
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from sklearn_speechsent import (
    IntensityVotingRegressor,
    MelFilterBank,
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SlidingCMN,
    SpeakerFeatureExtractor,
    SpeechEncoder,
    SpeechSentimentClassifier,
    VoiceActivityDetector,
    WaveformPerturbation,
    export_onnx,
    make_sentiment_pipeline,
)
from sklearn_speechsent.graphs.builder import OPSET
from sklearn_speechsent.nn import EncoderNetwork
from sklearn_speechsent.runtime import OnnxSentiment
from tests.graph_runs import load_random_encoder, session_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn_speechsent.frames.DomainWarning")

OURS = {"weights": "speechsent-seresnet"}
SMALL_NETWORK = {"max_epochs": 1, "random_state": 0, **OURS}
TEXT = {-1: "low", 0: "middle", 1: "high"}
#: Keyword arguments of make_sentiment_pipeline by the name of a test.
SYSTEMS = {
    "small": {},
    "energies": {"weights": None},
    "no detector": {"vad": "passthrough"},
    "window": {"weights": None, "vad": "passthrough", "cmn": SlidingCMN()},
    "components": {"n_components": 5},
    "intensity": {"target": "intensity"},
    "2/2": {"system": "2/2SREx-SEResNet-16 + C + R", **SMALL_NETWORK},
    "1/2": {"system": "1/2SREx-SEResNet-16 + C", "prior_correction": True, **SMALL_NETWORK},
    "scratch": {
        "system": "2/2SREx-SEResNet-16 + R",
        "weights": None,
        "max_epochs": 1,
        "random_state": 0,
    },
    "embedding": {"system": "2/2SREx-SEResNet-16 + SpE + C", **SMALL_NETWORK},
    "finetuned": {"system": "finetuned", **SMALL_NETWORK, "vad": VoiceActivityDetector()},
}


@pytest.fixture(scope="module")
def fitted(speech):
    """Function that fits a pipeline by its name once."""
    made = {}

    def get(name):
        if name not in made:
            pipeline = make_sentiment_pipeline(**SYSTEMS[name])
            made[name] = pipeline.fit(speech.data[:8], speech.target[:8])
        return made[name]

    return get


@pytest.fixture(scope="module")
def exported(fitted, tmp_path_factory):
    """Function that gives the session of a pipeline by its name, and exports it once."""
    made, folder = {}, tmp_path_factory.mktemp("graphs")

    def get(name):
        if name not in made:
            made[name] = session_of(export_onnx(fitted(name), folder / "model.onnx"))
        return made[name]

    return get


@pytest.fixture(scope="module")
def sounds(speech):
    """Voices of several durations, with digital silence in places."""
    voices = [soundfile.read(file, dtype="float32")[0] for file in speech.data[:6]]
    whole = np.concatenate(voices)
    cut = np.zeros(16000, np.float32)
    return {
        "whole": voices[1],
        "half a second": voices[2][4000:12000],
        "ten seconds": whole[:160_000],
        "silence inside": np.concatenate([cut[:777], voices[3], cut, voices[4], cut[:4321]]),
        "quiet": 1e-3 * voices[5],
    }


def outputs_of(session, samples):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"samples": samples}), strict=True))


@pytest.mark.parametrize("name", SYSTEMS)
def test_parity(fitted, exported, sounds, name):
    pipeline, session = fitted(name), exported(name)
    for sound, samples in sounds.items():
        found = outputs_of(session, samples)
        X = [(16000, samples)]
        if not hasattr(pipeline, "predict_proba"):
            assert list(found) == ["expected"]
            np.testing.assert_allclose(found["expected"], pipeline.predict(X), atol=1e-4)
            continue
        proba = pipeline.predict_proba(X)[0]
        np.testing.assert_allclose(found["probabilities"], proba, atol=2e-5, err_msg=sound)
        np.testing.assert_allclose(found["expected"], proba @ pipeline[-1].levels_, atol=1e-4)
        if np.isfinite(proba).all():
            median = (np.cumsum(proba)[:-1] < 0.5).sum()
            assert found["level"] == pipeline[-1].levels_[median]
        if sound == "whole":
            assert found["level"] == pipeline.predict(X)


@pytest.mark.parametrize("name", ["small", "energies", "no detector", "embedding"])
@pytest.mark.parametrize("kind", ["zeros", "offset", "noise", "one frame", "zeros but one"])
def test_nothing_to_say(fitted, exported, name, kind):
    """A recording that the pipeline gives NaN for has NaN, and any other its numbers."""
    pipeline = fitted(name)
    samples = np.zeros(24000, np.float32)
    if kind == "offset":
        samples += 0.25
    elif kind != "zeros":
        samples += np.random.default_rng(0).normal(scale=0.05, size=24000).astype(np.float32)
    if kind == "one frame":
        samples = samples[:401]
    if kind == "zeros but one":
        samples[1:] = 0.0
    found = outputs_of(exported(name), samples)["probabilities"]
    pipeline.set_params(mfb__on_error="nan")
    with pytest.warns() if np.isnan(found).any() else nullcontext():
        expected = pipeline.predict_proba([(16000, samples)])[0]
    pipeline.set_params(mfb__on_error="raise")
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_frames_instead_of_samples(fitted, sounds, tmp_path):
    pipeline = fitted("small")
    session = session_of(export_onnx(pipeline, tmp_path / "model.onnx", kind="frames"))
    for samples in sounds.values():
        frames = pipeline["mfb"].transform([(16000, samples)])[0]
        found = session.run(["probabilities"], {"frames": frames})[0]
        np.testing.assert_allclose(found, pipeline.predict_proba([(16000, samples)])[0], atol=2e-5)


def test_levels_of_text(speech, sounds, tmp_path):
    """Probabilities are in ordinal order, which for text is not that of the columns."""
    y = [TEXT[level] for level in speech.target]
    pipeline = make_sentiment_pipeline(weights=None, levels=list(TEXT.values()))
    pipeline.fit(speech.data[:8], y[:8])
    path = export_onnx(pipeline, tmp_path / "model.onnx")
    found = outputs_of(session_of(path), sounds["whole"])
    X = [(16000, sounds["whole"])]
    columns = dict(zip(pipeline.classes_, pipeline.predict_proba(X)[0], strict=True))
    expected = [columns[level] for level in TEXT.values()]
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    np.testing.assert_allclose(found["expected"], expected @ np.arange(3.0), atol=1e-6)
    assert [*TEXT.values()][int(found["level"][0])] == pipeline.predict(X)[0]
    assert json.loads(metadata(path)["levels"]) == ["low", "middle", "high"]


def test_votes_searches_and_both_faces_of_a_network(fitted, speech, sounds, tmp_path):
    members = [("small", fitted("small")), ("mel", fitted("energies"))]
    data = speech.data[:8], speech.target[:8]
    vote = OrdinalVotingClassifier(members, weights=[1, 2]).fit(*data)
    search = GridSearchCV(fitted("energies"), {"net__C": [1.0, 3.0]}, cv=2).fit(*data)
    with pytest.raises(ValueError, match=r"GridSearchCV\(refit=False\) has no fitted pipeline"):
        export_onnx(clone(search).set_params(refit=False).fit(*data), tmp_path / "a.onnx")
    X = [(16000, sounds["whole"])]
    for model in (vote, search):
        found = outputs_of(session_of(export_onnx(model, tmp_path / "a.onnx")), sounds["whole"])
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(X)[0], atol=2e-5)
    two = fitted("2/2")
    face = Pipeline([*two.steps[:-1], ("net", two[-1].as_regressor())])
    members = [("number", fitted("intensity")), ("left out", "drop"), ("face", fitted("scratch"))]
    mean = IntensityVotingRegressor(members, weights=[3, 5, 1]).fit(*data)
    for model in (face, mean):
        found = outputs_of(session_of(export_onnx(model, tmp_path / "a.onnx")), sounds["whole"])
        np.testing.assert_allclose(found["expected"], model.predict(X), atol=1e-4)


def test_the_file_says_what_it_is_and_has_the_same_bytes_again(fitted, tmp_path):
    path = export_onnx(fitted("small"), tmp_path / "model.onnx")
    content = path.read_bytes()
    assert export_onnx(fitted("small"), path).read_bytes() == content
    model = onnx.load_from_string(content)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    assert 18 <= OPSET <= 20
    found = metadata(path)
    assert json.loads(found["levels"]) == [-1, 0, 1]
    assert (found["sample_rate"], found["shortest"], found["kind"]) == ("16000", "400", "waveform")
    assert json.loads(found["speeds"]) == [1.0]
    assert json.loads(found["weights"]) == ["speechsent-seresnet", "speechsent-unet-vad"]
    assert set(json.loads(found["versions"])) == {"sklearn_speechsent", "onnx"}
    assert len(list(tmp_path.iterdir())) == 1


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def pipeline_of(**changes):
    return make_sentiment_pipeline(weights=None, **changes)


class _Subclass(MelFilterBank):
    """It may do something else."""


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (pipeline_of(vad=VoiceActivityDetector("energy")), "method='energy'.*only the U-net"),
        (pipeline_of(net=OrdinalClassifier(RandomForestClassifier(5))), "RandomForest.*default"),
        (pipeline_of(net=SVC()), "SVC as the last step.*wrap a classifier in OrdinalClassifier"),
        (pipeline_of(mfb=_Subclass()), "'mfb', _Subclass, cannot be exported.*MelFilterBank"),
        (pipeline_of(mfb__dtype="float64"), "dtype='float64'.*Fit with dtype=\"float32\""),
    ],
)
def test_what_has_no_graph_is_an_error_that_says_what_to_do(speech, tmp_path, pipeline, message):
    pipeline.fit(speech.data[:6], speech.target[:6])
    with pytest.raises(ValueError, match=message):
        export_onnx(pipeline, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_network_on_layers_of_an_encoder(speech, sounds, monkeypatch, tmp_path):
    load_random_encoder(monkeypatch)
    net = SpeechSentimentClassifier(module=EncoderNetwork, max_epochs=1, random_state=0)
    pipeline = Pipeline([("encoder", SpeechEncoder(layers=(1, 3), pooling=None)), ("net", net)])
    pipeline.fit(speech.data[:8], speech.target[:8])
    session = session_of(export_onnx(pipeline, tmp_path / "model.onnx"))
    for samples in (sounds["half a second"], sounds["silence inside"]):
        found = outputs_of(session, samples)["probabilities"]
        np.testing.assert_allclose(found, pipeline.predict_proba([samples])[0], atol=1e-4)
    with pytest.raises(ValueError, match='kind="frames" needs MelFilterBank as the first step'):
        export_onnx(pipeline, tmp_path / "model.onnx", kind="frames")


def test_a_vote_has_one_rate(fitted, speech, tmp_path):
    slow = make_sentiment_pipeline(weights=None, vad="passthrough", mfb__sample_rate=8000)
    members = [("small", fitted("energies")), ("slow", slow)]
    vote = OrdinalVotingClassifier(members).fit(speech.data[:6], speech.target[:6])
    with pytest.raises(ValueError, match=r"take recordings at \[8000, 16000\] Hz"):
        export_onnx(vote, tmp_path / "model.onnx")
    slow = vote.estimators_[1]
    path = export_onnx(slow, tmp_path / "model.onnx")
    assert (metadata(path)["sample_rate"], metadata(path)["shortest"]) == ("8000", "200")
    found = OnnxSentiment(path).predict_proba(speech.data[6:8])
    np.testing.assert_allclose(found, slow.predict_proba(speech.data[6:8]), atol=2e-5)


def test_other_errors(fitted, tmp_path):
    with pytest.raises(ValueError, match="kind='samples' must be one of"):
        export_onnx(fitted("small"), tmp_path / "model.onnx", kind="samples")
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        export_onnx(fitted("small"), tmp_path / "model")
    with pytest.raises(ValueError, match="not fitted"):
        export_onnx(make_sentiment_pipeline(), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="OrdinalClassifier does not take them"):
        export_onnx(fitted("small")[-1], tmp_path / "model.onnx")


def test_frozen_steps_and_speeds(fitted, speech, sounds, tmp_path):
    """The graph computes one speed; the metadata say over which ones predictions are averaged."""
    frozen = FrozenEstimator(fitted("small")["srext"])
    assert type(frozen.estimator) is SpeakerFeatureExtractor
    inner = make_sentiment_pipeline(srext=frozen)
    model = WaveformPerturbation(inner, speeds=(1.0,), predict_speeds=(0.9, 1.0))
    model.fit(speech.data[:8], speech.target[:8])
    path = export_onnx(model, tmp_path / "model.onnx")
    assert json.loads(metadata(path)["speeds"]) == [0.9, 1.0]
    found = outputs_of(session_of(path), sounds["whole"])["probabilities"]
    expected = model.estimator_.predict_proba([(16000, sounds["whole"])])[0]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_graph_needs_neither_this_package_nor_torch(fitted, sounds, tmp_path):
    export_onnx(fitted("small"), tmp_path / "model.onnx")
    np.save(tmp_path / "samples.npy", sounds["whole"])
    code = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
print(session.run(["probabilities"], {"samples": numpy.load("samples.npy")})[0].tolist())
assert not {"torch", "sklearn", "sklearn_speechsent"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    expected = fitted("small").predict_proba([(16000, sounds["whole"])])[0]
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=2e-5)
