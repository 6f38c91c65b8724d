"""Keys of entries, the parameter ``memory``, and maintenance of the folder."""

import os
import pickle
import shutil
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from store_corpus import (
    a_step_cache,
    assert_same_frames,
    assert_stored,
    misses,
    put,
    uncached,
)

from sklearn_speechsent import (
    FeatureStore,
    MelFilterBank,
    SlidingCMN,
    UtteranceFrames,
    VoiceActivityDetector,
    make_sentiment_pipeline,
)
from sklearn_speechsent.store import check_store, shard, step_cache, utterance_keys
from sklearn_speechsent.store.feature_store import NullStore
from sklearn_speechsent.store.keys import settings_digest

# --- keys: contents and settings, not names


def test_rows_are_found_whatever_their_names_order_and_number(recordings, store, decoded):
    bank = MelFilterBank(memory=store)
    expected = MelFilterBank().fit_transform(recordings)
    decoded.clear()
    bank.fit_transform(recordings[:5])
    bank.fit_transform(recordings[3:9])  # some are there, in another file
    assert decoded == [0, 1, 2, 3, 4, 2, 3, 4, 5]
    decoded.clear()
    rows = [7, 0, 3, 3, 8, 0]
    found = bank.fit_transform([recordings[row] for row in rows])
    assert_same_frames(found, expected[rows])
    assert (found.starts[[1, 2]] == found.starts[[5, 3]]).all()  # one entry each
    copy = shutil.copy(recordings[2], os.path.dirname(recordings[2]) + "/another name.wav")
    assert_same_frames(bank.fit_transform([copy, os.path.relpath(copy)]), expected[[2, 2]])
    assert not decoded
    assert_same_frames(bank.fit_transform(recordings), expected)
    assert decoded == [9, 10, 11]
    # Of band limits, of files by name, of frames.
    assert store.summary()["utterances"].tolist() == [12, 13, 12]


def test_one_recording_many_times_is_computed_once(recordings, store, decoded):
    frames = MelFilterBank(memory=store, n_jobs=2).fit_transform([recordings[0]] * 9)
    assert decoded == [0] and len(frames) == 9 and len(frames.base) == frames.lengths[0]


def test_segments_and_perturbed_copies_are_entries_of_their_own(recordings, store, decoded):
    plain = {"file": recordings[0], "start": None, "end": None}
    table = pd.DataFrame(
        [
            plain,
            plain | {"start": 0.05},
            plain | {"start": 0.05, "end": 0.12},
            plain | {"speed": 1.1},
            plain | {"gain_db": 6.0},
            plain | {"snr_db": 15.0, "seed": 1},
            plain | {"snr_db": 15.0, "seed": 2},
            plain | {"start": 0.0},
            plain | {"speed": 1.0, "gain_db": 0.0},  # the plain one again
        ]
    )
    expected = MelFilterBank().fit_transform(table)
    decoded.clear()
    bank = MelFilterBank(memory=store)
    assert_same_frames(bank.fit_transform(table), expected)
    assert decoded == list(range(8))
    assert_same_frames(bank.fit_transform(table[::-1].reset_index(drop=True)), expected[::-1])
    assert len(decoded) == 8


def test_keys_of_babble_go_by_the_content_of_its_voices(recordings, store, decoded, tmp_path):
    own, *voices = [str(path) for path in recordings[:4]]
    moved = [str(tmp_path / f"{number}.wav") for number in range(3)]
    for voice, path in zip(voices, moved, strict=True):
        shutil.copyfile(voice, path)

    def extracted(babble):
        table = pd.DataFrame({"file": [own], "snr_db": 5.0, "noise": "babble", "babble": [babble]})
        decoded.clear()
        return MelFilterBank(memory=store).fit_transform(table), bool(decoded)

    first, computed = extracted(voices)
    assert computed
    again, computed = extracted(moved)
    assert not computed
    assert_same_frames(first, again)
    assert extracted(moved[:2])[1]
    shutil.copyfile(own, moved[0])
    other, computed = extracted(moved)
    assert computed and not np.allclose(other[0], first[0])


def test_files_change_their_keys_with_their_contents(recordings, store, decoded):
    bank = MelFilterBank(memory=store)
    before = bank.fit_transform(recordings[:2])
    shutil.copyfile(recordings[1], recordings[0])
    after = bank.fit_transform(recordings[:2])
    assert decoded == [0, 1]
    assert_same_frames(after, before[[1, 1]])


def test_settings_are_told_apart_by_value(store):
    settings = {"a": 1, "b": [1.0, None, "x"]}
    assert settings_digest(settings) == settings_digest(dict(reversed(settings.items())))
    folders = {
        store.step_cache("cmn", changed).folder
        for changed in (settings, {**settings, "a": 2}, {**settings, "b": None}, {"a": 1})
    }
    folders.add(store.step_cache("vad", settings).folder)
    folders.add(FeatureStore(store.folder, dtype="float16").step_cache("cmn", settings).folder)
    assert len(folders) == 6
    half = FeatureStore(store.folder, dtype="float16")
    assert store.step_cache("srext", {}, frames=False).folder == (
        half.step_cache("srext", {}, frames=False).folder
    )


def test_frames_of_a_store_go_by_their_origin_and_others_by_content(recordings, store):
    frames = MelFilterBank(memory=store).fit_transform(recordings)
    keys = utterance_keys(frames)
    assert keys.shape == (12, 16) and len(np.unique(keys, axis=0)) == 12
    np.testing.assert_array_equal(utterance_keys(frames[[3, 1]]), keys[[3, 1]])
    np.testing.assert_array_equal(utterance_keys(frames.with_embeddings(np.ones((12, 2)))), keys)
    other = MelFilterBank(scale=1.0, memory=store).fit_transform(recordings)
    assert not (utterance_keys(other) == keys).all(axis=1).any()

    plain = UtteranceFrames.from_arrays([np.ones((4, 3)), np.ones((3, 4)), np.ones((4, 3))[:0]][:1])
    kinds = [plain, plain.with_frames([np.ones((4, 3), np.float32)])]
    kinds += [UtteranceFrames.from_arrays([np.ones((2, 6))]), plain.with_frames([np.zeros((4, 3))])]
    assert len({utterance_keys(kind).tobytes() for kind in kinds}) == 4
    shifted = UtteranceFrames(np.ones((9, 3)), [5], [9])
    np.testing.assert_array_equal(utterance_keys(shifted), utterance_keys(plain))


def test_steps_after_another_front_end_find_nothing_of_it(recordings, store):
    """Entries of a step go by where its input came from."""
    pipeline = make_pipeline(MelFilterBank(memory=store), SlidingCMN(memory=store))
    plain = pipeline.fit_transform(recordings)
    for params in ({"melfilterbank__window": "povey"}, {"melfilterbank__scale": 1.0}):
        other = clone(pipeline).set_params(**params)
        frames, new = misses(store, lambda other=other: other.fit_transform(recordings))
        assert new["cmn"] == len(recordings)
        assert_same_frames(frames, uncached(other).fit_transform(recordings))
        assert not np.array_equal(frames[0], plain[0])


# --- the care of the folder


def test_statistics_tell_what_is_there_and_what_was_found(tmp_path):
    store = FeatureStore(tmp_path / "store")
    assert store.summary().empty and store.check().empty and store.reduce_size(0) == 0
    assert not store.folder.exists()
    cache = store.step_cache("cmn", {"width": 3})
    put(cache, [1, 2, 3, 2])
    put(cache, [3, 4])
    (row,) = store.summary().to_dict("records")
    assert row["step"] == "cmn" and row["settings"] == {"width": 3}
    assert (row["utterances"], row["files"]) == (4, 2)
    assert (row["hits"], row["misses"]) == (1, 4)
    paths = shard.shard_paths(cache.folder)
    assert row["bytes"] == sum(path.stat().st_size for path in paths)
    assert row["folder"] == str(cache.folder)
    store.clear()
    assert store.summary().empty and not cache.folder.exists()


def test_the_least_recently_used_go_first(tmp_path):
    store = FeatureStore(tmp_path)
    place = a_step_cache(tmp_path)
    paths = []
    for number in range(4):
        put(place, [5 * number])
        (new,) = set(shard.shard_paths(place.folder)) - set(paths)
        paths.append(new)
        age = 86400 * (4 - number)  # days since it was made
        moment = new.stat().st_mtime - age
        os.utime(new, (moment, moment))
    size = paths[0].stat().st_size
    assert store.reduce_size(10**9) == 4 * size
    reader = a_step_cache(tmp_path)
    assert put(reader, [0]) == []
    assert_stored(reader, [0])  # the oldest is used again
    assert store.reduce_size(2 * size + 1) == 2 * size
    assert shard.shard_paths(place.folder) == sorted([paths[0], paths[3]])
    assert put(a_step_cache(tmp_path), [0, 5, 10, 15]) == [5, 10]
    assert store.reduce_size(0) == 0


def test_use_is_noted_once_an_hour(tmp_path, monkeypatch):
    place = a_step_cache(tmp_path)
    put(place, [0])
    (path,) = shard.shard_paths(place.folder)
    before = path.stat().st_mtime_ns
    assert_stored(place, [0])
    assert path.stat().st_mtime_ns == before
    monkeypatch.setattr(step_cache, "_TOUCH", -1.0)
    os.utime(path, ns=(0, 0))
    assert_stored(place, [0])
    assert path.stat().st_mtime_ns >= before


def test_entries_dropped_while_others_are_computed_are_computed_too(tmp_path):
    place = a_step_cache(tmp_path)
    put(place, [0, 1, 2])

    def made(name):
        from store_corpus import made_of

        if name == 3:
            FeatureStore(tmp_path).reduce_size(0)
        return made_of(name)

    computed = put(place, [0, 1, 2, 3], made)
    assert computed[0] == 3 and sorted(set(computed)) == [0, 1, 2, 3]
    assert_stored(place, [0, 1, 2, 3])


def test_a_store_is_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FeatureStore("here")
    assert store == FeatureStore(tmp_path / "here") == check_store("here") == check_store(store)
    assert hash(store) == hash(check_store(tmp_path / "here"))
    assert store != FeatureStore("here", dtype="float16") and store != "here"
    assert eval(repr(store)) == store == pickle.loads(pickle.dumps(store))
    assert "dtype='float16'" in repr(FeatureStore("here", dtype="float16"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FeatureStore("~/here") == store
    bank = clone(MelFilterBank(memory=store))
    assert bank.memory == store


def test_room_is_what_is_free_on_the_disk(tmp_path, monkeypatch):
    asked = []

    def disk_usage(folder):
        asked.append(folder)
        return SimpleNamespace(total=100, used=70, free=30)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    n_bytes, where, remedy = FeatureStore(tmp_path / "new" / "store").room()
    assert n_bytes == 30 and asked == [tmp_path]
    assert str(tmp_path) in where and "memory=" in remedy


# --- joblib.Memory as memory


def test_joblib_memory_stands_for_a_folder_inside_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for location in ("here", tmp_path / "here"):
        memory = joblib.Memory(location, verbose=0)
        assert check_store(memory) == FeatureStore(tmp_path / "here" / "speechsent")
        assert check_store(clone(MelFilterBank(memory=memory)).memory) == check_store(memory)
        assert check_store(pickle.loads(pickle.dumps(memory))) == check_store(memory)


def test_joblib_memory_without_a_location_is_none(recordings, decoded):
    assert type(check_store(joblib.Memory(None))) is type(check_store(None)) is NullStore
    bank = MelFilterBank(memory=joblib.Memory(None))
    for _ in range(2):
        bank.fit_transform(recordings[:2])
    assert len(decoded) == 4


@pytest.mark.parametrize("shared", [False, True])
def test_features_in_a_joblib_memory(recordings, tmp_path, decoded, shared):
    """Also of one that caches functions, or the steps of a Pipeline, at the same time."""
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    vad = VoiceActivityDetector("energy", memory=memory)  # the recordings are noise
    pipeline = make_sentiment_pipeline(memory=memory, n_jobs=1, vad=vad)[:-1]
    if shared:
        pipeline.memory = memory
    expected = uncached(pipeline).fit_transform(recordings)
    decoded.clear()
    for _ in range(2):
        np.testing.assert_array_equal(clone(pipeline).fit_transform(recordings), expected)
    assert len(decoded) == len(recordings)
    table = FeatureStore(tmp_path / "cache" / "speechsent").summary()
    assert set(table["step"]) == {"files", "band", "mfb", "vad", "cmn", "srext"}
    assert (table["utterances"] == len(recordings)).all()


class Elsewhere(joblib._store_backends.StoreBackendBase):
    """A store that is not a folder."""

    def configure(self, location, verbose=0, backend_options=None):
        self.location = location

    def _open_item(self, f, mode):
        raise NotImplementedError

    _item_exists = _move_item = clear_location = get_items = create_location = _open_item


def test_other_backends_of_joblib_memory_are_refused(monkeypatch, recordings):
    monkeypatch.setitem(joblib.memory._STORE_BACKENDS, "elsewhere", Elsewhere)
    memory = joblib.Memory("bucket", backend="elsewhere", verbose=0)
    for step in (MelFilterBank(memory=memory), SlidingCMN(memory=memory)):
        X = recordings if isinstance(step, MelFilterBank) else [np.ones((3, 2))]
        with pytest.raises(ValueError, match=r"not store in a local folder.*path of a folder"):
            step.fit_transform(X)


@pytest.mark.parametrize("memory", [1, True, ["folder"]])
def test_other_objects_are_refused(memory, recordings):
    with pytest.raises(ValueError, match="The 'memory' parameter"):
        MelFilterBank(memory=memory).fit(recordings)
