"""Tables that are made of frames: the index of X, and the names of columns."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from estimators import VERIFIER
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils._set_output import ADAPTERS_MANAGER

from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    UtteranceFrames,
    VoiceActivityDetector,
    make_sentiment_pipeline,
)
from sklearn_speechsent.features import FrameStatistics

INDEX = ["d", "b", "b", "a", "c"]
#: Steps behind the frames that make a table.
TABLES = {
    "statistics": [FrameStatistics()],
    "maps": [SlidingCMN(None), SpeakerFeatureExtractor(n_blocks=1, n_bands=5)],
    "embeddings": [SlidingCMN(None), SpeakerEmbedder()],
    "fusion": [
        SlidingCMN(None),
        SpeakerEmbeddingFusion(SpeakerEmbedder()),
        SpeakerFeatureExtractor(n_blocks=1, n_bands=5),
    ],
    "speech": [VoiceActivityDetector("energy"), FrameStatistics()],
}


@pytest.fixture
def table(speech):
    return pd.DataFrame({"file": speech.data[:5], "age": [10, 20, 30, 40, 50]}, index=INDEX)


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """Store of the features of the speaker networks, which take longest."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(params=TABLES.values(), ids=TABLES)
def pipeline(request, memory):
    pipeline = make_pipeline(MelFilterBank(), *map(clone, request.param))
    names = [name for name in pipeline.get_params() if "speakerem" in name and "memory" in name]
    return pipeline.set_params(**dict.fromkeys(names, memory))


# --- the index of X


@pytest.mark.parametrize(
    "of", [lambda t: t[["file"]], lambda t: t["file"]], ids=["table", "series"]
)
def test_a_data_frame_has_the_index_of_x(pipeline, table, of):
    X = of(table)
    expected = pipeline.fit_transform(X)
    assert isinstance(expected, np.ndarray)
    pipeline.set_output(transform="pandas")
    for found in (pipeline.fit_transform(X), pipeline.transform(X)):
        pd.testing.assert_index_equal(found.index, X.index)
        assert found.columns.tolist() == pipeline.get_feature_names_out().tolist()
        np.testing.assert_array_equal(found, expected)
    assert pipeline.transform(X[::-2]).index.tolist() == INDEX[::-2]
    with sklearn.config_context(transform_output="pandas"):
        found = clone(pipeline).fit_transform(X)
    pd.testing.assert_index_equal(found.index, X.index)
    assert isinstance(pipeline.set_output(transform="default").transform(X), np.ndarray)


def test_from_a_store(table, tmp_path):
    pipeline = make_sentiment_pipeline(memory=tmp_path)[:-1].set_output(transform="pandas")
    for _ in range(2):
        assert clone(pipeline).fit_transform(table[["file"]]).index.tolist() == INDEX


def test_part_of_the_frames(table):
    frames = MelFilterBank().fit_transform(table["file"])
    step = FrameStatistics().set_output(transform="pandas").fit(frames)
    for rows in (slice(1, 4), [4, 0], np.arange(5) > 2):
        assert step.transform(frames[rows]).index.tolist() == table.index[rows].tolist()
    assert step.transform(frames[[0]].compact()).index.tolist() == ["d"]


def test_rows_that_were_left_out(table):
    bank = MelFilterBank(on_error="skip")
    table.iloc[1, 0] = "nowhere.wav"
    with pytest.warns(UserWarning, match="left out"):
        frames = bank.fit_transform(table[["file"]])
    found = FrameStatistics().set_output(transform="pandas").fit_transform(frames)
    assert found.index.tolist() == ["d", "b", "a", "c"]


@pytest.mark.parametrize("x", ["list", "frames", "arrays"])
def test_rows_without_labels_are_numbered(table, x):
    frames = MelFilterBank().fit_transform(table["file"].tolist())
    plain = UtteranceFrames(frames.base, frames.starts, frames.stops)
    X = {"list": frames, "frames": plain, "arrays": list(frames)}[x]
    found = FrameStatistics().set_output(transform="pandas").fit_transform(X)
    assert found.index.tolist() == list(range(5))


def test_embeddings_of_a_verifier(table):
    verifier = SpeakerVerifier(**VERIFIER).fit(table["file"], list("xyxyx"))
    verifier.set_output(transform="pandas")
    frames = MelFilterBank().fit_transform(table["file"])
    for X in (table["file"], table[["file"]], SlidingCMN(None).fit_transform(frames)):
        found = verifier.transform(X)
        assert found.index.tolist() == INDEX
        assert found.columns.tolist() == verifier.get_feature_names_out().tolist()


def test_joins_take_the_right_rows(table):
    """Of a union, and next to other columns of X."""
    table.index = list("dbeac")
    one = make_pipeline(MelFilterBank(), FrameStatistics())
    two = make_pipeline(MelFilterBank(), SlidingCMN(None), SpeakerEmbedder())
    names = make_pipeline("passthrough")
    columns = ColumnTransformer(
        [("one", one, ["file"]), ("two", two, "file"), ("a", names, ["age"])]
    )
    columns.set_output(transform="pandas")
    found = columns.fit_transform(table)
    union = FeatureUnion([("one", one), ("two", two)]).set_output(transform="pandas")
    joined = union.fit_transform(table[["file"]])
    for output in (found, joined, columns.transform(table), union.transform(table[["file"]])):
        assert output.index.tolist() == list("dbeac") and not output.isna().any(axis=None)
        np.testing.assert_array_equal(output.filter(like="one__"), one.transform(table["file"]))
        np.testing.assert_array_equal(output.filter(like="two__"), two.transform(table["file"]))
    assert found["a__age"].to_dict() == table["age"].to_dict()
    assert joined.columns.tolist() == union.get_feature_names_out().tolist()


def test_a_container_without_an_index(table, monkeypatch):
    """As polars is: rows come in the order of X, and nothing else is asked of it."""

    class Columns(dict):
        @property
        def shape(self):
            return len(next(iter(self.values()))), len(self)

    class Adapter:
        container_lib = "columns"

        def create_container(self, X_output, X_original, columns, inplace=True):
            if isinstance(X_output, Columns):
                return X_output
            return Columns(zip(columns(), X_output.T, strict=True))

    monkeypatch.setitem(ADAPTERS_MANAGER.adapters, "columns", Adapter())
    frames = MelFilterBank().fit_transform(table["file"])
    step = FrameStatistics().fit(frames)
    expected = step.transform(frames)
    step._sklearn_output_config = {"transform": "columns"}
    found = step.transform(frames)
    assert list(found) == step.get_feature_names_out().tolist()
    np.testing.assert_array_equal(np.array(list(found.values())).T, expected)


def test_a_whole_pipeline_under_a_global_setting(table):
    y = [0, 1, 0, 1, 0]
    pipeline = make_pipeline(MelFilterBank(), SlidingCMN(), FrameStatistics(), RidgeClassifier())
    expected = pipeline.fit(table["file"], y).predict(table["file"])
    with sklearn.config_context(transform_output="pandas"):
        again = clone(pipeline).fit(table["file"], y)
        np.testing.assert_array_equal(again.predict(table["file"]), expected)
    assert again[-1].feature_names_in_.tolist() == again[:-1].get_feature_names_out().tolist()


# --- names


def test_names_of_the_columns_of_a_pipeline_of_paths(pipeline, table):
    columns = pipeline.fit_transform(table["file"]).shape[1]
    names = pipeline.get_feature_names_out()
    assert names.shape == (columns,) and names.dtype == object
    assert len(set(names)) == columns
    np.testing.assert_array_equal(pipeline.get_feature_names_out(["file"]), names)


@pytest.mark.parametrize("weights", ["default", None])
def test_names_of_the_systems(speech, weights):
    pipeline = make_sentiment_pipeline(weights=weights).fit(speech.data[:6], speech.target[:6])
    names = pipeline[:-1].get_feature_names_out()
    assert len(names) == pipeline[-1].n_features_in_
    assert names[0] == ("mean_b0" if weights is None else "block3_mean_c000_b0")
    for last in (1, 2, 3, 4):
        bins = pipeline[:last].get_feature_names_out()
        assert bins.tolist() == [f"mel{number:02d}" for number in range(80)]


def test_names_of_frames_pass_through(rng):
    """scikit-learn's check of names asks for columns of the output, which frames have not."""
    frames = [rng.normal(size=(30, 3)) for _ in range(4)]
    names = np.array(["pitch", "energy", "tilt"], dtype=object)
    steps = (
        SlidingCMN(),
        VoiceActivityDetector("energy"),
        SpeakerEmbeddingFusion(FrameStatistics()),
    )
    for step in steps:
        with pytest.raises(sklearn.exceptions.NotFittedError):
            clone(step).get_feature_names_out(names)
        step.fit(frames)
        np.testing.assert_array_equal(step.get_feature_names_out(names), names)
        assert step.get_feature_names_out().tolist() == ["mel00", "mel01", "mel02"]
        assert step.transform(frames).frame_shape == (3,)
    for step in (SlidingCMN(), steps[2]):
        with pytest.raises(ValueError, match="input_features should have length equal"):
            step.fit(frames).get_feature_names_out(names[:2])


def test_many_bins_have_names_of_one_length(table):
    bank = MelFilterBank(101).fit(table["file"])
    names = bank.get_feature_names_out()
    assert names[0] == "mel000" and names[-1] == "mel100" and sorted(names) == names.tolist()


def test_a_detector_that_takes_recordings(table):
    detector = VoiceActivityDetector("energy").fit(table[["file"]])
    assert len(detector.get_feature_names_out(["file"])) == 80
