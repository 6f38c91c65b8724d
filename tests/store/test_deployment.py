"""Models that are put to use: copies of fitted steps have no store, and no store is no obstacle."""

import copy
import pickle
import threading
import warnings
from functools import partial
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from store_corpus import short_recordings

from sklearn_speechsent import (
    FeatureStore,
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    VoiceActivityDetector,
    WaveformPerturbation,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.store import StoreError, feature_store

pytestmark = pytest.mark.usefixtures("somebody_speaks")  # in noise

LABELS = np.arange(6) % 2


def all_steps(memory):
    """Every step with a store."""
    return Pipeline(
        [
            ("mfb", MelFilterBank(memory=memory)),
            ("vad", VoiceActivityDetector(min_duration=0.05, memory=memory)),
            ("cmn", SlidingCMN(None, memory=memory)),
            ("spe", SpeakerEmbeddingFusion(SpeakerEmbedder(memory=memory))),
            ("srext", SpeakerFeatureExtractor(n_blocks=1, memory=memory)),
            ("net", RidgeClassifier()),
        ]
    )


def two_steps(memory):
    return make_pipeline(
        MelFilterBank(memory=memory),
        SlidingCMN(0.1, memory=memory),
        FrameStatistics(),
        RidgeClassifier(),
    )


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def paths(tmp_path):
    return short_recordings(tmp_path / "recordings", 6)


@pytest.fixture
def new_paths(tmp_path):
    return short_recordings(tmp_path / "new", 3, seed=1)


@pytest.fixture
def go_elsewhere(tmp_path, monkeypatch):
    return partial(monkeypatch.chdir, tmp_path / "elsewhere")


@pytest.fixture
def no_store(monkeypatch):
    """Any use of a store is an error."""

    def use():
        def refuse(*args, **kwargs):
            raise AssertionError("a store is used")

        for name in ("compute", "step_cache", "prepare", "room"):
            monkeypatch.setattr(FeatureStore, name, refuse)

    return use


def files(folder):
    """Files and folders with their times of change."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*")}


def by_joblib(model):
    joblib.dump(model, "model.joblib")
    loaded = joblib.load("model.joblib")
    Path("model.joblib").unlink()
    return loaded


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "pickle of a pickle": lambda model: pickle.loads(
        pickle.dumps(pickle.loads(pickle.dumps(model)))
    ),
    "joblib": by_joblib,
    "cloudpickle": lambda model: cloudpickle.loads(cloudpickle.dumps(model)),
    "deepcopy": copy.deepcopy,
}


# --- copies of fitted estimators


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_fitted_pipeline_leaves_no_trace(
    copied, paths, new_paths, tmp_path, go_elsewhere, no_store
):
    model = all_steps("features").fit(paths, LABELS)
    expected = model.decision_function(paths)
    loaded = copied(model)
    before = files(tmp_path)
    go_elsewhere()
    no_store()
    np.testing.assert_array_equal(loaded.decision_function(paths), expected)
    loaded.predict(new_paths)
    loaded[1].speech_segments(paths)
    loaded[1].transform(paths)
    assert files(tmp_path) == before
    for name in ("mfb", "vad", "cmn", "srext"):
        assert loaded[name].get_params()["memory"] == "features"
        assert "memory='features'" in repr(loaded[name])


def test_a_clone_of_a_copy_uses_the_store_again(paths, decoded):
    model = two_steps("features").fit(paths, LABELS)
    loaded = pickle.loads(pickle.dumps(model))
    decoded.clear()
    for again in (clone(loaded), loaded):
        again.fit(paths, LABELS).predict(paths)
    assert not decoded
    loaded[:2].fit_transform(paths)
    assert not decoded


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.set_params(melfilterbank__memory="features"),
        lambda model: setattr(model[0], "memory", FeatureStore("features")),
    ],
)
def test_a_store_that_is_asked_for_is_used(ask, paths, decoded, go_elsewhere, tmp_path):
    model = pickle.loads(pickle.dumps(two_steps("features").fit(paths, LABELS)))
    ask(model)
    go_elsewhere()
    decoded.clear()
    model.predict(paths)
    assert not decoded
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_store_that_is_taken_away_is_not_used(paths, new_paths, no_store):
    """Also by the front end of a detector, which is a part of it."""
    model = all_steps("features").fit(paths, LABELS)
    model["spe"].embedder_.set_params(memory=None)
    model.set_params(**{f"{name}__memory": None for name in ("mfb", "vad", "cmn", "srext")})
    no_store()
    model.predict(new_paths)
    model["vad"].speech_segments(new_paths)


def frozen(memory, paths):
    bank = FrozenEstimator(MelFilterBank(memory=memory).fit(paths))
    return make_pipeline(bank, FrameStatistics(), RidgeClassifier()).fit(paths, LABELS)


def test_a_frozen_step_is_asked_by_itself(paths, decoded):
    model = pickle.loads(pickle.dumps(frozen("features", paths)))
    clone(model).fit(paths, LABELS)  # which a frozen step does not take part in
    assert len(decoded) == 2 * len(paths)
    model[0].estimator.set_params(memory="features")
    decoded.clear()
    clone(model).fit(paths, LABELS).predict(paths)
    assert not decoded


def union(memory, paths):
    branches = [(str(n), two_steps(memory)[:-1]) for n in range(2)]
    return make_pipeline(FeatureUnion(branches), RidgeClassifier()).fit(paths, LABELS)


def perturbed(memory, paths):
    return WaveformPerturbation(two_steps(memory), conditions=(), predict_speeds=(1,))


def voting(memory, paths):
    return VotingClassifier([("one", two_steps(memory)), ("two", two_steps(memory))])


def search(memory, paths):
    return GridSearchCV(two_steps(memory), {"slidingcmn__window": [0.1, None]}, cv=2)


def validated(memory, paths):
    scores = cross_validate(two_steps(memory), paths, LABELS, cv=2, return_estimator=True)
    return scores["estimator"][0]


@pytest.mark.parametrize("build", [frozen, union, perturbed, voting, search, validated])
def test_so_do_fitted_parts_of_other_estimators(
    build, paths, new_paths, tmp_path, go_elsewhere, no_store
):
    model = build("features", paths)
    if build in (perturbed, voting, search):
        model.fit(paths, LABELS)
    expected = model.predict(new_paths)
    content = pickle.dumps(model)
    before = files(tmp_path)
    go_elsewhere()
    no_store()
    np.testing.assert_array_equal(pickle.loads(content).predict(new_paths), expected)
    assert files(tmp_path) == before


def test_the_front_end_of_a_verifier(paths, no_store):
    frontend = make_pipeline(MelFilterBank(memory="features"), SlidingCMN(None, memory="features"))
    verifier = SpeakerVerifier(
        frontend=frontend,
        validation_fraction=0,
        max_epochs=1,
        module__widths=(4,),
        module__depths=(1,),
        random_state=0,
    ).fit(paths, LABELS)
    expected = verifier.transform(paths)
    loaded = pickle.loads(pickle.dumps(verifier))
    no_store()
    np.testing.assert_array_equal(loaded.transform(paths), expected)


# --- folders


def test_a_relative_folder_stays_where_fit_found_it(paths, new_paths, tmp_path, go_elsewhere):
    model = two_steps("features").fit(paths, LABELS)
    go_elsewhere()
    model.predict(new_paths)
    assert not list((tmp_path / "elsewhere").iterdir())
    table = FeatureStore(tmp_path / "here" / "features").summary()
    assert set(table["utterances"]) == {9}
    assert model[0].memory == "features"
    clone(model).fit(paths, LABELS)  # is fitted here
    assert (tmp_path / "elsewhere" / "features").is_dir()


def test_a_pickled_store_names_the_same_folder(tmp_path, go_elsewhere):
    content = pickle.dumps(MelFilterBank(memory=FeatureStore("features")))
    go_elsewhere()
    assert pickle.loads(content).memory.folder == tmp_path / "here" / "features"


def test_a_folder_at_home(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    two_steps("~/features").fit(paths, LABELS)
    assert set(FeatureStore(tmp_path / "features").summary()["utterances"]) == {6}
    assert not list((tmp_path / "here").iterdir())


def test_a_relative_joblib_memory(paths, new_paths, tmp_path, go_elsewhere):
    memory = joblib.Memory("cache", verbose=0)
    model = two_steps(memory).fit(paths, LABELS)
    content = pickle.dumps(model)
    go_elsewhere()
    model.predict(new_paths)
    table = FeatureStore(tmp_path / "here" / "cache" / "speechsent").summary()
    assert set(table["utterances"]) == {9}
    pickle.loads(content).predict(new_paths)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("kind", [str, Path])
def test_joblibs_memory_is_cleared(paths, kind):
    """Of a path joblib takes the folder as it is, of a string a sub-folder."""
    memory = joblib.Memory(kind("cache"), verbose=0)
    MelFilterBank(memory=memory).fit_transform(paths)
    memory.clear(warn=False)
    assert FeatureStore("cache/speechsent").summary().empty == (kind is Path)


# --- folders that cannot be written to


def put_a_file_in_its_place(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    folder.write_text("something else")


def messages(act, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = act(*args)
    return [str(warning.message) for warning in caught], result


@pytest.mark.parametrize("method", ["predict", "decision_function"])
def test_prediction_without_its_store_warns_once(paths, new_paths, tmp_path, method):
    model = all_steps("features").fit(paths, LABELS)
    expected = getattr(model, method)(new_paths)
    put_a_file_in_its_place(tmp_path / "here" / "features")
    for _ in range(2):
        found, result = messages(getattr(model, method), new_paths)
        assert len(found) == 1
        for part in ("without a store", str(tmp_path / "here" / "features"), "memory="):
            assert part in found[0]
        np.testing.assert_array_equal(result, expected)
    (tmp_path / "here" / "features").unlink()
    found, result = messages(getattr(model, method), new_paths)
    assert not found
    assert (FeatureStore("features").summary()["utterances"] == 3).all()


def test_parts_of_a_pipeline_warn_once_each_call(paths, tmp_path):
    model = all_steps("features").fit(paths, LABELS)
    frames = MelFilterBank().fit_transform(paths)
    put_a_file_in_its_place(tmp_path / "here" / "features")
    for steps, X in ((model[:3], paths), (model[1:3], paths), (model[1:5], frames[::2])):
        found, _ = messages(steps.transform, X)
        assert len(found) == 1
    # What was computed without a store does not keep others from using theirs.
    cmn = SlidingCMN(memory=FeatureStore("other")).fit(frames)
    cmn.transform(frames)
    assert not FeatureStore("other").summary().empty


def test_a_disk_that_fills_up_after_fit(paths, new_paths, tmp_path, monkeypatch):
    model = two_steps("features").fit(paths, LABELS)
    expected = model.predict(new_paths)

    def full(self, *args):
        raise OSError("no more room")  # without a number

    monkeypatch.setattr(feature_store.StepCache, "tidy", full)
    FeatureStore("features").clear()
    found, result = messages(model.predict, new_paths)
    assert len(found) == 1 and "no more room" in found[0]
    np.testing.assert_array_equal(result, expected)


def test_threads_that_share_a_model(paths, new_paths, tmp_path):
    model = two_steps("features").fit(paths, LABELS)
    expected = model.decision_function(new_paths)
    put_a_file_in_its_place(tmp_path / "here" / "features")
    results = []

    def predict():
        results.append(model.decision_function(new_paths))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=predict) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)
    assert isinstance(model[0]._store_, FeatureStore)  # not replaced for the others


@pytest.mark.parametrize("where", ["a file", "/proc/nowhere"])
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_fit_needs_a_folder_that_can_be_written_to(paths, decoded, where, method):
    Path("a file").write_text("something else")
    frames = MelFilterBank().fit_transform(paths)
    decoded.clear()
    steps: list[tuple[BaseEstimator, object]] = [
        (MelFilterBank(memory=where), paths),
        (VoiceActivityDetector(memory=where), paths),
        (VoiceActivityDetector(memory=where), frames),
        (SlidingCMN(memory=where), frames),
        (SpeakerFeatureExtractor(memory=where), frames),
        (SpeakerEmbeddingFusion(SpeakerEmbedder(memory=where)), frames),
    ]
    for step, X in steps:
        with pytest.raises(StoreError, match=r"cannot be written to.*memory="):
            getattr(step, method)(X)
    assert not decoded
    assert Path("a file").read_text() == "something else"


def test_a_trial_leaves_nothing_behind(paths):
    MelFilterBank(memory="features").fit(paths)
    assert not list(Path("features").iterdir())
