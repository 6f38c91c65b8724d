"""Exported graphs on real recordings, with WeSpeaker's and Whisper's networks."""

import numpy as np
import pytest
import soundfile

from sklearn_speechsent import export_onnx, load_model, make_sentiment_pipeline
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.runtime import OnnxSentiment
from tests.deploy.test_onnx import outputs_of
from tests.graph_runs import session_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn_speechsent.frames.DomainWarning")


@pytest.mark.parametrize(
    ("system", "params"),
    [
        ("medium", {}),
        ("large", {}),
        ("2/2SREx-SEResNet-16 + C + R", {"max_epochs": 1, "random_state": 0}),
    ],
)
def test_parity(data_home, tmp_path, system, params):
    """In utterances of 1 and 4 s, and one of 33 s, of which Whisper sees two pieces."""
    corpus = load_ravdess()
    chosen = slice(None, None, 240)
    pipeline = make_sentiment_pipeline(system, **params)
    pipeline.fit(corpus.data[chosen], corpus.target[chosen])
    voices = [soundfile.read(file, dtype="float32")[0] for file in corpus.data[100:109]]
    sounds = [voices[0][8000:24000], voices[1], np.concatenate(voices)[: 33 * 16000]]
    path = export_onnx(pipeline, tmp_path / "model.onnx")
    session = session_of(path)
    for samples in sounds:
        found = outputs_of(session, samples)
        proba = pipeline.predict_proba([(16000, samples)])[0]
        assert np.isfinite(proba).all()
        np.testing.assert_allclose(found["probabilities"], proba, atol=1e-4)
        assert found["level"] == pipeline.predict([(16000, samples)])


def test_files_of_another_rate_and_two_channels(data_home, tmp_path):
    corpus = load_ravdess()
    pipeline = make_sentiment_pipeline().fit(corpus.data[::180], corpus.target[::180])
    scorer = OnnxSentiment(export_onnx(pipeline, tmp_path / "model.onnx"))
    files = sorted((data_home / "ravdess_48k").rglob("*.wav"))
    files = [file for file in files if soundfile.info(file).channels == 2][:2] + files[:2]
    np.testing.assert_allclose(
        scorer.predict_proba(files), pipeline.predict_proba(files), atol=2e-5
    )
    np.testing.assert_array_equal(scorer.predict(files), pipeline.predict(files))


def test_the_ready_model_is_exported_from_its_bundle(data_home, tmp_path):
    corpus = load_ravdess()
    model = load_model("valence-acted")
    scorer = OnnxSentiment(export_onnx(model, tmp_path / "model.onnx"))
    files = corpus.data[-3:]
    np.testing.assert_allclose(scorer.predict_proba(files), model.predict_proba(files), atol=1e-4)
    np.testing.assert_array_equal(scorer.predict(files), model.predict(files))
