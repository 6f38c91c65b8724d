"""The container between the steps: indexing, sharing, pickling, and the input check of steps."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold, train_test_split
from sklearn.utils import _safe_indexing

from sklearn_speechsent import SlidingCMN, UtteranceFrames
from sklearn_speechsent.frames.validation import as_utterance_frames, check_frames

LENGTHS = [3, 5, 2, 7, 4, 6]


@pytest.fixture
def matrices(rng):
    return [rng.normal(size=(n, 4)).astype(np.float32) for n in LENGTHS]


@pytest.fixture
def frames(matrices):
    return UtteranceFrames.from_arrays(matrices, frame_settings={"sample_rate": 16000})


def assert_same(frames, matrices):
    assert isinstance(frames, UtteranceFrames) and len(frames) == len(matrices)
    for ours, theirs in zip(frames, matrices, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_looks_one_dimensional(frames, matrices):
    assert frames.shape == (6,) and len(frames) == 6
    assert frames.lengths.tolist() == LENGTHS
    assert frames.frame_shape == (4,) and frames.dtype == np.float32
    assert not hasattr(frames, "__array__")
    assert_same(frames, matrices)


@pytest.mark.parametrize("key", [0, 5, -1, -6, np.int64(2)])
def test_an_integer_gives_an_utterance(frames, matrices, key):
    np.testing.assert_array_equal(frames[key], matrices[key])
    np.testing.assert_array_equal(frames[key, ...], matrices[key])
    assert np.shares_memory(frames[key], frames.base)


@pytest.mark.parametrize(
    "key",
    [
        slice(1, 4),
        slice(None, None, -2),
        slice(9, 20),
        [4, 0, 0],
        [],
        np.array([5, -1, 3]),
        np.array([True, False, True, False, False, True]),
        [False, True, True, False, False, False],
        pd.Series([1, 2], index=[5, 6]),
    ],
    ids=str,
)
def test_anything_else_gives_a_subset_over_the_same_base(frames, matrices, key):
    as_list = key if isinstance(key, slice) else np.asarray(key).tolist()
    picked = np.arange(6)[as_list] if as_list != [] else []
    for subset in (frames[key], frames[key, ...]):
        assert_same(subset, [matrices[i] for i in picked])
        assert subset.base is frames.base and subset.frame_settings == frames.frame_settings


def test_subsets_of_subsets(frames, matrices):
    assert_same(frames[[5, 3, 1]][[True, False, True]][::-1], [matrices[1], matrices[5]])


@pytest.mark.parametrize("key", [6, -7, [0, 6], np.array([-7])])
def test_past_the_end(frames, key):
    with pytest.raises(IndexError):
        frames[key]


@pytest.mark.parametrize("key", [(0, 1), (slice(2), slice(2)), (0, ..., 1), [0.5], "a", [True]])
def test_there_is_only_one_axis(frames, key):
    with pytest.raises(IndexError):
        frames[key]


def test_iteration_by_index_ends(frames):
    """Python's old protocol, which some code still uses, relies on IndexError."""
    assert len(list(map(frames.__getitem__, range(len(frames))))) == 6
    assert next(reversed(frames)).shape == (6, 4)


def test_changing_the_record_of_a_subset_leaves_the_whole_alone(frames):
    subset = frames[:2]
    subset.frame_settings["vad"] = "energy"
    assert frames.frame_settings == {"sample_rate": 16000}
    assert np.shares_memory(subset.base, frames.base)


def test_compact_keeps_order_and_repetitions(frames, matrices):
    compact = frames[[4, 1, 4]].compact()
    assert_same(compact, [matrices[4], matrices[1], matrices[4]])
    assert len(compact.base) == 13 and compact.frame_settings == frames.frame_settings
    assert len(frames[[]].compact()) == 0


# --- pickling


@pytest.mark.parametrize("key", [slice(None), [0, 3, 5], [3, 3, 1, 0, 2], [2]])
def test_pickles_read_back_equal(frames, matrices, key):
    subset = frames[key]
    assert_same(pickle.loads(pickle.dumps(subset)), list(subset))
    assert pickle.loads(pickle.dumps(subset)).frame_settings == frames.frame_settings


def test_whole_keeps_its_base_and_small_subsets_leave_it(frames):
    assert frames.__getstate__()["base"] is frames.base
    assert frames[[0, 3, 5]].__getstate__()["base"] is frames.base  # 16 of 27 rows
    assert len(frames[[0, 2]].__getstate__()["base"]) == 5
    whole = UtteranceFrames.from_arrays([np.zeros((1000, 80))] * 20)
    assert len(pickle.dumps(whole[:1])) < len(pickle.dumps(whole)) / 15


def test_memory_maps_pickle_as_path_and_rows(frames, matrices, tmp_path):
    path = tmp_path / "base.npy"
    np.save(path, frames.base)
    mapped = UtteranceFrames(np.load(path, mmap_mode="r"), frames.starts, frames.stops)
    for subset, expected in [(mapped, matrices), (mapped[[4, 2]], [matrices[4], matrices[2]])]:
        content = pickle.dumps(subset)
        assert str(path).encode() in content and matrices[4].tobytes() not in content
        copy = pickle.loads(content)
        assert isinstance(copy.base, np.memmap)
        assert_same(copy, expected)
        assert_same(pickle.loads(pickle.dumps(copy)), expected)


def test_views_of_memory_maps_pickle_as_data(frames, matrices, tmp_path):
    """A view that starts inside the file still carries the file's offset: do not trust it."""
    path = tmp_path / "base.npy"
    np.save(path, frames.base)
    view = np.load(path, mmap_mode="r")[3:]
    part = UtteranceFrames(view, frames.starts[1:] - 3, frames.stops[1:] - 3)
    assert_same(pickle.loads(pickle.dumps(part)), matrices[1:])
    assert_same(pickle.loads(pickle.dumps(part[[3]])), [matrices[4]])
    columns = UtteranceFrames(np.load(path, mmap_mode="r")[:, ::2], frames.starts, frames.stops)
    assert_same(pickle.loads(pickle.dumps(columns)), [m[:, ::2] for m in matrices])


def test_private_memory_maps_pickle_what_was_changed(frames, tmp_path):
    np.save(tmp_path / "base.npy", frames.base)
    base = np.load(tmp_path / "base.npy", mmap_mode="c")
    base[0] = 7
    changed = UtteranceFrames(base, frames.starts, frames.stops)
    assert (pickle.loads(pickle.dumps(changed))[0][0] == 7).all()


def test_fortran_ordered_memory_map(frames, matrices, tmp_path):
    np.save(tmp_path / "base.npy", np.asfortranarray(frames.base))
    mapped = UtteranceFrames(
        np.load(tmp_path / "base.npy", mmap_mode="r"), frames.starts, frames.stops
    )
    assert_same(pickle.loads(pickle.dumps(mapped)), matrices)


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_dump_and_load(frames, matrices, tmp_path, mmap_mode):
    joblib.dump(frames, tmp_path / "frames.joblib")
    loaded = joblib.load(tmp_path / "frames.joblib", mmap_mode=mmap_mode)
    assert isinstance(loaded.base, np.memmap) == (mmap_mode == "r")
    assert_same(loaded, matrices)
    assert_same(pickle.loads(pickle.dumps(loaded[[1, 5]])), [matrices[1], matrices[5]])


# --- scikit-learn's handling


def test_scikit_learn_splits_and_indexes_it(frames, matrices):
    mask = np.array([False, True] * 3)
    assert_same(_safe_indexing(frames, [1, 3]), [matrices[1], matrices[3]])
    assert_same(_safe_indexing(frames, mask), matrices[1::2])
    train, test, ids, _ = train_test_split(frames, np.arange(6), test_size=2, random_state=0)
    assert len(train) == 4 and len(test) == 2 and train.base is frames.base
    assert_same(train, [matrices[i] for i in ids])
    for rows, _ in KFold(3).split(frames):
        assert_same(_safe_indexing(frames, rows), [matrices[i] for i in rows])


# --- from_arrays and the constructor


def test_from_arrays_names_the_utterance():
    with pytest.raises(ValueError, match=r"Utterance 2 has shape \(3, 5\), expected"):
        UtteranceFrames.from_arrays([np.zeros((3, 4)), np.zeros((0, 4)), np.zeros((3, 5))])
    with pytest.raises(ValueError, match="Utterance 1 has shape"):
        UtteranceFrames.from_arrays([np.zeros((3, 4)), np.zeros(4)])
    with pytest.raises(ValueError, match="Utterance 0 has shape"):
        UtteranceFrames.from_arrays([np.float64(3), np.float64(4)])
    with pytest.raises(ValueError, match="At least one utterance"):
        UtteranceFrames.from_arrays([])


@pytest.mark.parametrize(
    ("starts", "stops", "says"),
    [
        ([0, 2], [2, 11], "Utterance 1 has rows 2:11"),
        ([0, -1], [2, 3], "Utterance 1 has rows -1:3"),
        ([5], [4], "Utterance 0 has rows 5:4"),
        ([0, 1], [2], "of one length"),
        ([[0]], [[1]], "must be 1-D"),
    ],
)
def test_rows_outside_of_the_base(starts, stops, says):
    with pytest.raises(ValueError, match=says):
        UtteranceFrames(np.zeros((10, 2)), starts, stops)


def test_float16_base(matrices):
    frames = UtteranceFrames.from_arrays(matrices, dtype="float16")
    assert frames.dtype == np.float16
    assert pickle.loads(pickle.dumps(frames[:1])).dtype == np.float16
    normalised = SlidingCMN(window=None).fit_transform(frames)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised[3].mean(axis=0), 0, atol=1e-6)


# --- embeddings


def test_embeddings_belong_to_rows(frames, matrices, tmp_path):
    embeddings = np.arange(12.0).reshape(6, 2)
    embedded = frames.with_embeddings(embeddings.tolist())
    assert embedded.base is frames.base and embedded.frame_settings == frames.frame_settings
    assert frames.embeddings is None and embedded.with_embeddings(None).embeddings is None
    np.testing.assert_array_equal(embedded[[4, 0, 4]].embeddings, embeddings[[4, 0, 4]])
    np.testing.assert_array_equal(embedded[[4, 0]].compact().embeddings, embeddings[[4, 0]])
    assert len(embedded[[]].embeddings) == 0
    other = embedded.with_frames([m[:1] for m in matrices], vad="energy")
    np.testing.assert_array_equal(other.embeddings, embeddings)
    np.save(tmp_path / "base.npy", frames.base)
    mapped = np.load(tmp_path / "base.npy", mmap_mode="r")
    on_disk = UtteranceFrames(mapped, frames.starts, frames.stops, embeddings=embeddings)
    for whole in (embedded, on_disk):
        copy = pickle.loads(pickle.dumps(whole[[5, 1]]))
        np.testing.assert_array_equal(copy.embeddings, embeddings[[5, 1]])
        assert_same(copy, [matrices[5], matrices[1]])


@pytest.mark.parametrize("shape", [(5, 2), (7, 2), (6,), (6, 2, 2)], ids=str)
def test_one_embedding_per_utterance(frames, matrices, shape):
    says = r"embeddings must have shape \(6, n_values\).*got \("
    for make in (
        frames.with_embeddings,
        lambda wrong: UtteranceFrames.from_arrays(matrices, embeddings=wrong),
    ):
        with pytest.raises(ValueError, match=says):
            make(np.zeros(shape))


# --- the input check of every step


def test_doors_take_containers_lists_and_object_arrays(frames, matrices):
    objects = np.empty(6, dtype=object)
    objects[:] = matrices
    expected = SlidingCMN().fit_transform(frames)
    for X in (matrices, tuple(matrices), objects, pd.Series(matrices, index=range(6, 0, -1))):
        assert_same(SlidingCMN().fit_transform(X), list(expected))
    assert_same(
        SlidingCMN().fit_transform([m.tolist() for m in matrices]),
        list(SlidingCMN().fit_transform([m.astype(float) for m in matrices])),
    )


def test_three_dimensional_arrays_are_not_copied(rng):
    stack = rng.normal(size=(3, 5, 4))
    frames = check_frames(BaseEstimator(), stack, reset=True)
    assert_same(frames, list(stack))
    assert np.shares_memory(frames.base, stack)
    maps = check_frames(BaseEstimator(), rng.normal(size=(3, 5, 4, 2)), reset=True)
    assert maps.frame_shape == (4, 2)


@pytest.mark.parametrize("bins", [False, True])
def test_tables(bins):
    table = np.arange(6.0).reshape(2, 3)
    for X in (table, table.tolist(), pd.DataFrame(table)):
        estimator = BaseEstimator()
        frames = check_frames(estimator, X, reset=True, bins=bins)
        assert estimator.n_features_in_ == 3
        assert frames[1].tolist() == ([[3.0], [4.0], [5.0]] if bins else [[3.0, 4.0, 5.0]])


def test_feature_names_come_and_go(matrices):
    estimator = BaseEstimator()
    table = pd.DataFrame(np.zeros((2, 4)), columns=list("abcd"))
    check_frames(estimator, table, reset=True)
    assert estimator.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        check_frames(estimator, table[["b", "a", "c", "d"]], reset=False)
    check_frames(estimator, matrices, reset=True)
    assert not hasattr(estimator, "feature_names_in_") and estimator.n_features_in_ == 4


def test_sparse_tables_are_refused():
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        check_frames(BaseEstimator(), scipy.sparse.eye(3, format="csr"), reset=True)


def test_another_frame_size_than_in_fit(matrices):
    estimator = BaseEstimator()
    check_frames(estimator, matrices, reset=True)
    for X in ([m[:, :3] for m in matrices], np.zeros((2, 3)), np.zeros((2, 5, 3))):
        with pytest.raises(ValueError, match=r"X has 3 features.*expecting 4 features"):
            check_frames(estimator, X, reset=False)


@pytest.mark.parametrize(
    ("X", "says"),
    [
        ([], "0 sample|empty|Expected 2D array"),
        (np.empty(0, dtype=object), "Expected 2D array"),
        (UtteranceFrames(np.zeros((3, 4)), [], []), "0 sample"),
        ([np.zeros((3, 4)), np.zeros((0, 4))], "Utterance 1 has no frames"),
        ([np.array([["a"]]), np.array([["b"]])], "must be numbers"),
        ([np.zeros((3, 4)), np.zeros(4)], "Utterance 1 has shape"),
        (np.zeros(4), "Expected 2D array"),
        (np.full((2, 3, 4), np.nan), "NaN"),
    ],
    ids=str,
)
def test_what_is_not_frames(X, says):
    with pytest.raises(ValueError, match=says):
        check_frames(BaseEstimator(), X, reset=True)


@pytest.mark.parametrize(
    "X",
    ["a.wav", ["a.wav"], np.array(["a.wav"]), np.array(["a.wav"], object), pd.Series(["a.wav"])],
    ids=lambda X: type(X).__name__,
)
def test_paths_belong_into_mel_filter_bank(X):
    with pytest.raises(TypeError, match="MelFilterBank"):
        SlidingCMN().fit(X)
    with pytest.raises(TypeError, match="MelFilterBank"):
        as_utterance_frames(X)


def test_metadata_goes_with_its_utterances():
    frames = UtteranceFrames.from_arrays(
        [np.full((length, 2), float(length)) for length in (3, 5, 4)],
        metadata=pd.DataFrame({"duration": [0.3, 0.5, 0.4]}, index=["a", "b", "c"]),
    )
    picked = pickle.loads(pickle.dumps(frames[[2, 0]]))
    assert picked.metadata.to_dict("list") == {"duration": [0.4, 0.3]}
    assert list(picked.metadata.index) == ["c", "a"]
    assert list(frames[frames.lengths > 3].metadata.index) == ["b", "c"]
    assert list(frames[[]].metadata.columns) == ["duration"]
    extended = frames.with_metadata(speech=[1.0, 0.5, 0.0]).compact()
    assert list(extended.metadata.columns) == ["duration", "speech"]
    assert list(frames.metadata.columns) == ["duration"]
    with pytest.raises(ValueError, match="metadata must have 3 rows"):
        frames.with_metadata(extended.metadata[:2])
