"""The speaker network that is taken where none is named."""

import joblib
import numpy as np
import pytest

from sklearn_speechsent import (
    SpeakerEmbedder,
    SpeakerFeatureExtractor,
    SpeechSentimentClassifier,
    UtteranceFrames,
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


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty data home."""
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path))
    return tmp_path


def named(pipeline):
    """Names of speaker networks among the parameters of a pipeline."""
    params = pipeline.get_params()
    names = {value for key, value in params.items() if key.endswith("weights")}
    return names - {None, "speechsent-unet-vad"}


@pytest.mark.parametrize("system", [None, "light", *SYSTEMS])
def test_auto_is_the_best_network_at_hand(home, tmp_path, system):
    before = make_sentiment_pipeline(system)
    assert named(before) == {SHIPPED}
    path = weights_path(get_weights(WESPEAKER))
    path.parent.mkdir()
    path.touch()
    after = make_sentiment_pipeline(system)
    assert named(after) == named(make_sentiment_pipeline(system, weights="auto")) == {WESPEAKER}
    assert WESPEAKER in repr(after)
    joblib.dump((before, after), tmp_path / "pair.joblib")
    path.unlink()
    assert [named(again) for again in joblib.load(tmp_path / "pair.joblib")] == [
        {SHIPPED},
        {WESPEAKER},
    ]


def test_the_shipped_network_comes_with_a_detector(home):
    """The recommended pipeline alone, and only where it helps (docs/shipped.md)."""
    assert make_sentiment_pipeline()["vad"].method == "unet"
    assert make_sentiment_pipeline(vad="passthrough")["vad"] == "passthrough"
    for system, weights in [
        (None, WESPEAKER),
        (None, None),
        ("light", SHIPPED),
        (SYSTEMS[0], "auto"),
    ]:
        assert make_sentiment_pipeline(system, weights=weights)["vad"] == "passthrough"


def test_auto_reaches_wrapped_pipelines(home):
    assert named(make_sentiment_pipeline(perturb=True)) == {SHIPPED}
    assert not named(make_sentiment_pipeline(weights=None))


def test_only_the_pipeline_knows_auto(rng):
    frames = UtteranceFrames.from_arrays([rng.normal(size=(20, 80))])
    for cls in (SpeakerFeatureExtractor, SpeakerEmbedder):
        assert cls().weights == SHIPPED
        with pytest.raises(ValueError, match=f"no pre-trained weights named 'auto'.*{SHIPPED}"):
            cls("auto").fit(frames)


@pytest.mark.parametrize(
    ("system", "params"),
    [
        *((system, {}) for system in SYSTEMS),
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
    if system[0] == "2":
        blocks = pipeline["srext"].network_
    if system[0] != "0":
        assert [len(blocks.layer1), len(blocks.layer2)] == [2, 2]
        assert hasattr(blocks.layer1[0], "se")
    if "SpE" in system:
        assert pipeline["net"].module_.embedding_size == 256
    assert not list(home.iterdir())
