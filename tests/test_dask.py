"""A cluster of two worker processes: same results as here, features through the store.

joblib sends arrays of more than a kilobyte to one worker, from which the others get them. If that
one ends, so does the search, unless it is run under ``dask_config``. What the store computes
does not depend on single workers.
"""

import math
import os
import pickle
import signal
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import Pipeline

from sklearn_speechsent import (
    FeatureStore,
    MelFilterBank,
    OrdinalClassifier,
    SlidingCMN,
    WaveformPerturbation,
    audio,
    sentiment_timeline,
)
from sklearn_speechsent.cluster import dask_config
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.frames.mapped import FrameFiles
from sklearn_speechsent.store import StoreError, compute
from sklearn_speechsent.store.shard import read_shard, shard_paths

distributed = pytest.importorskip("distributed")

#: Seconds after which a call counts as hanging.
TIMEOUT = 240


READ = audio.read_blocks
GRID = {"cmn__window": [None, 0.2], "net__alpha": [1.0, 100.0]}
#: Every worker process that there was.
WORKERS: set[int] = set()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        local_directory=str(tmp_path_factory.mktemp("workers")),
        silence_logs="CRITICAL",
    ) as cluster:
        yield cluster
    assert WORKERS and not any(os.path.exists(f"/proc/{pid}") for pid in WORKERS)


@pytest.fixture
def client(cluster):
    """Client of a cluster that is complete, also after a test that interrupted a worker."""
    with distributed.Client(cluster) as client:
        workers(client)
        yield client
        workers(client)


def workers(client):
    """Process ids of both workers."""
    client.wait_for_workers(2, timeout=TIMEOUT)
    pids = set(client.run(os.getpid).values())
    WORKERS.update(pids)
    return pids


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def dask():
    return joblib.parallel_config(backend="dask")


def on_cluster(function, *args, config=dask, **kwargs):
    """Call on a thread: what hangs is then a failure rather than the end of all tests."""
    results = []

    def call():
        try:
            with config():
                results.append((function(*args, **kwargs), None))
        except Exception as exception:
            results.append((None, exception))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert results, "it hangs"
    result, exception = results[0]
    if exception is not None:
        raise exception
    return result


def pipeline(store, *more):
    """Small pipeline that stores its features and computes them on two threads."""
    return Pipeline(
        [
            ("mfb", MelFilterBank(memory=store, n_jobs=2)),
            ("cmn", SlidingCMN(0.2, memory=store, n_jobs=2)),
            *more,
            ("pool", FrameStatistics()),
            ("net", RidgeClassifier()),
        ]
    )


def local(estimator):
    """Copy that stores nothing."""
    twin = clone(estimator)
    names = [name for name in twin.get_params() if name.endswith("__memory")]
    return twin.set_params(**dict.fromkeys(names))


def assert_same_frames(frames, expected):
    assert len(frames) == len(expected)
    for utterance, right in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(utterance, right)


def assert_tidy(store):
    """No file is damaged, and no temporary file is left."""
    assert store.check().empty
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json"}


def assert_same_scores(search, expected):
    for name in [name for name in expected.cv_results_ if name.endswith("_test_score")]:
        np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])


class DiesOnce(TransformerMixin, BaseEstimator):
    """Passes frames on; the first process that does so dies."""

    def __init__(self, flag=None):
        self.flag = flag

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        die_once(self.flag)
        return X


def die_once(flag):
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def before_row(row, act):
    """Have a worker do something before it decodes a row."""

    def read(recording, *given, **options):
        if recording.row == row:
            act(recording)
        return READ(recording, *given, **options)

    audio.read_blocks = read


def die_at_row(row, flag):
    before_row(row, lambda recording: die_once(flag))


def fail_at_row(row):
    def fail(recording):
        raise recording.error("it is worn out.")

    before_row(row, fail)


def log_decodings(path):
    """Have a worker write down which files it decodes."""

    def read(recording, *given, **options):
        with open(path, "a") as file:
            file.write(f"{recording.source}\n")
        return READ(recording, *given, **options)

    audio.read_blocks = read


def as_before():
    audio.read_blocks = READ


def wait_without_limit():
    """Have a worker wait for the leases of others for ever, so that a deadlock is one."""
    compute._PATIENCE = math.inf


def entries(store, step):
    """Bytes of every entry of a step."""
    (folder,) = store.folder.glob(f"{step}-*")
    found = {}
    for path in shard_paths(folder):
        shard = read_shard(path)
        utterances = np.split(np.load(path), shard.stops[:-1])
        found |= {
            key.tobytes(): utterance.tobytes()
            for key, utterance in zip(shard.keys, utterances, strict=True)
        }
    return found


def test_extraction(client, speech, store):
    bank, cmn = MelFilterBank(memory=store), SlidingCMN(memory=store)
    frames = on_cluster(lambda: cmn.fit_transform(bank.fit_transform(speech.data)))
    expected = SlidingCMN().fit_transform(MelFilterBank().fit_transform(speech.data))
    assert_same_frames(frames, expected)
    # What came back is names of files and rows; the workers wrote the frames.
    assert isinstance(frames.base, FrameFiles) and not bank.transform(speech.data).base._maps
    assert store.summary().groupby("step")["utterances"].sum().to_dict() == dict.fromkeys(
        ("files", "mfb", "band", "cmn"), 24
    )
    assert_tidy(store)
    here = FeatureStore(store.folder.parent / "here")
    MelFilterBank(memory=here).fit_transform(speech.data)
    assert entries(here, "mfb") == entries(store, "mfb")


def test_grid_search(client, speech, store):
    """Steps with threads of their own, inside tasks of a cluster, do not block each other.

    They would if the tasks of the search submitted their work to the cluster.
    """
    client.run(wait_without_limit)
    estimator = pipeline(store)
    search = GridSearchCV(estimator, GRID, cv=3, error_score="raise")
    expected = GridSearchCV(local(estimator), GRID, cv=3).fit(speech.data, speech.target)
    on_cluster(search.fit, speech.data, speech.target)
    assert_same_scores(search, expected)
    np.testing.assert_array_equal(search.predict(speech.data), expected.predict(speech.data))
    utterances = store.summary().groupby("step")["utterances"].sum()
    assert utterances.to_dict() == {"files": 24, "mfb": 24, "band": 24, "cmn": 48}
    assert_tidy(store)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_search_decodes_each_recording_once(client, speech, store, tmp_path, fitted):
    """Estimators travel as pickles, and clones of them find the store again."""
    estimator = pipeline(store)
    if fitted:
        estimator = pickle.loads(pickle.dumps(local(estimator).fit(speech.data, speech.target)))
        estimator.set_params(mfb__memory=store, cmn__memory=store)
    client.run(log_decodings, str(tmp_path / "log"))
    try:
        search = GridSearchCV(estimator, GRID, cv=3, error_score="raise")
        on_cluster(search.fit, speech.data, speech.target)
    finally:
        client.run(as_before)
    assert sorted((tmp_path / "log").read_text().split()) == sorted(map(str, speech.data))


def test_grid_search_on_threads_of_one_worker(speech, store, tmp_path, monkeypatch):
    monkeypatch.setattr(compute, "_PATIENCE", math.inf)
    estimator = pipeline(store)
    expected = GridSearchCV(local(estimator), GRID, cv=3).fit(speech.data, speech.target)
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path / "worker"),
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster),
    ):
        search = GridSearchCV(estimator, GRID, cv=3, error_score="raise")
        on_cluster(search.fit, speech.data, speech.target)
    assert_same_scores(search, expected)
    assert_tidy(store)


@pytest.mark.parametrize("perturb", [False, True])
def test_cross_validation_with_groups(client, speech, store, perturb):
    estimator = pipeline(store)
    if perturb:
        estimator = WaveformPerturbation(
            estimator, speeds=(0.9,), conditions=(), predict_speeds=(1.0,), random_state=0
        )
    options = dict(groups=speech.groups, cv=GroupKFold(4), return_estimator=True)
    data, target = speech.data, speech.target
    expected = cross_validate(local(estimator), data, target, **options)
    found = on_cluster(cross_validate, estimator, data, target, error_score="raise", **options)
    np.testing.assert_array_equal(found["test_score"], expected["test_score"])
    for one, other in zip(found["estimator"], expected["estimator"], strict=True):
        np.testing.assert_array_equal(one.predict(data), other.predict(data))
    assert_tidy(store)


def test_time_line(client, speech, store):
    model = (
        pipeline(None)
        .set_params(net=OrdinalClassifier(RidgeClassifier()))
        .fit(speech.data, speech.target)
    )
    expected = sentiment_timeline(model, speech.data)
    found = on_cluster(sentiment_timeline, model, speech.data, memory=store, n_jobs=-1)
    pd.testing.assert_frame_equal(found, expected)
    assert_tidy(store)


def test_errors_on_a_worker_are_raised_here(client, speech, store):
    paths = [*speech.data[:5], str(store.folder / "nowhere.wav")]
    with pytest.raises(audio.RecordingError, match=r"nowhere\.wav"):
        on_cluster(MelFilterBank(memory=store).fit_transform, paths)
    with pytest.raises(StoreError, match="choose another folder"):
        on_cluster(MelFilterBank(memory=speech.data[0]).fit_transform, speech.data)
    client.run(fail_at_row, 3)
    try:
        with pytest.raises(audio.RecordingError, match=r"row 3 .*worn out"):
            on_cluster(MelFilterBank(memory=store).fit_transform, speech.data)
    finally:
        client.run(as_before)
    found = on_cluster(MelFilterBank(memory=store).fit_transform, speech.data)
    assert_same_frames(found, MelFilterBank().fit_transform(speech.data))
    assert_tidy(store)


def test_a_worker_interrupted_during_the_extraction(client, speech, store, tmp_path):
    before = workers(client)
    client.run(die_at_row, 9, str(tmp_path / "dead"))
    frames = on_cluster(MelFilterBank(memory=store).fit_transform, speech.data)
    assert (tmp_path / "dead").exists()
    assert_same_frames(frames, MelFilterBank().fit_transform(speech.data))
    assert_tidy(store)
    assert len(workers(client) & before) == 1
    client.run(as_before)


def test_a_worker_interrupted_during_a_search(client, speech, store, tmp_path):
    # As arrays, whose fold indices have more than a kilobyte.
    data, target = np.tile(speech.data, 10), np.tile(speech.target, 10)
    estimator = pipeline(store, ("dies", DiesOnce(str(tmp_path / "dead"))))
    before = workers(client)
    search = GridSearchCV(estimator, GRID, cv=3, error_score="raise", refit=False)
    on_cluster(search.fit, data, target, config=lambda: dask_config(client))
    assert (tmp_path / "dead").exists() and len(workers(client) & before) == 1
    here = FeatureStore(tmp_path / "here")  # as a recording is there ten times
    estimator.set_params(mfb__memory=here, cmn__memory=here)
    assert_same_scores(search, GridSearchCV(estimator, GRID, cv=3, refit=False).fit(data, target))
    assert_tidy(store)
