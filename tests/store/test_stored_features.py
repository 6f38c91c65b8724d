"""Features from a store equal those that are computed without one."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from store_corpus import (
    assert_same_frames,
    misses,
    strays,
)

from sklearn_speechsent import (
    FeatureStore,
    MelFilterBank,
    SlidingCMN,
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
    SpeechSentimentRegressor,
    UtteranceFrames,
    VoiceActivityDetector,
    WaveformPerturbation,
    audio,
    make_sentiment_pipeline,
)
from sklearn_speechsent.frames.mapped import FrameFiles

WEIGHTS = "speechsent-seresnet"


# --- results are those without a store


STEPS = {
    "mfb": [MelFilterBank()],
    "energy": [MelFilterBank(), VoiceActivityDetector("energy", min_duration=0.05)],
    "unet": [MelFilterBank(), VoiceActivityDetector(min_duration=0.05)],
    "cmn": [MelFilterBank(), SlidingCMN(0.1)],
    "maps": [
        MelFilterBank(),
        SlidingCMN(None),
        SpeakerFeatureExtractor(WEIGHTS, n_blocks=2, pooling=None, dtype="float16"),
    ],
    "statistics": [MelFilterBank(), SlidingCMN(None), SpeakerFeatureExtractor(WEIGHTS)],
    "embedder": [MelFilterBank(), SlidingCMN(None), SpeakerEmbedder(WEIGHTS)],
    "fusion": [
        MelFilterBank(),
        SlidingCMN(None),
        SpeakerEmbeddingFusion(SpeakerEmbedder(WEIGHTS)),
        SpeakerFeatureExtractor(WEIGHTS, n_blocks=2),
    ],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_every_step_gives_the_same_from_a_store(speech, store, steps, decoded):
    paths = speech.data[:4]
    plain = make_pipeline(*steps)
    names = [name for name in plain.get_params() if name.split("__")[-1] == "memory"]
    stored = clone(plain).set_params(**dict.fromkeys([n for n in names if n != "memory"], store))
    expected = plain.fit_transform(paths)
    decoded.clear()
    for _ in range(2):
        found = clone(stored).fit_transform(paths)
        if isinstance(expected, UtteranceFrames):
            assert_same_frames(found, expected)
            assert found.frame_settings == expected.frame_settings
            assert isinstance(found.base, FrameFiles)
        else:
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
        # The second time nothing is decoded.
        assert len(decoded) == 4
    last = store.summary()
    assert (last["misses"] == 4).all() and (last["hits"] == 4).all()
    assert not strays(store.folder)
    _, new = misses(store, lambda: stored.fit_transform([*paths[2:], *speech.data[4:6]]))
    assert set(new.values()) == {2}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_one_path(speech, tmp_path, steps):
    """Neither a store nor the number of threads changes a bit of the features."""
    results = []
    for memory, n_jobs in [(None, 1), (None, 2), (tmp_path, 2)]:
        pipeline = clone(make_pipeline(*steps))
        given = {"memory": memory, "n_jobs": n_jobs}
        parameters = [name for name in pipeline.get_params() if "__" in name]
        pipeline.set_params(
            **{n: given[n.split("__")[-1]] for n in parameters if n.split("__")[-1] in given}
        )
        results.append(pipeline.fit_transform(speech.data[:3]))
        if memory is not None:
            assert (FeatureStore(memory).summary()["utterances"] == 3).all()
    for found in results[1:]:
        assert_same_frames(list(found), list(results[0]))


@pytest.mark.parametrize("perturb", [False, True])
def test_a_whole_pipeline_gives_the_same_from_a_store(speech, store, perturb, decoded):
    pipeline = make_sentiment_pipeline(weights=WEIGHTS, random_state=0)
    if perturb:
        pipeline = WaveformPerturbation(
            pipeline, snr_db=(15,), conditions=("telephone",), predict_speeds=(0.9, 1.0)
        )
    data, target = speech.data[:6], speech.target[:6]
    stored = clone(pipeline).set_params(
        **{f"{'estimator__' * perturb}{s}__memory": store for s in ("mfb", "vad", "cmn", "srext")}
    )
    expected = pipeline.fit(data, target).predict_proba(data)
    for _ in range(2):
        decoded.clear()
        np.testing.assert_array_equal(stored.fit(data, target).predict_proba(data), expected)
    assert not decoded


def test_nan_and_skipped_rows(recordings, store, tmp_path, decoded):
    import soundfile

    bad = [tmp_path / "bad.wav", tmp_path / "bad too.wav"]
    for path, n in zip(bad, (8000, 9000), strict=True):
        soundfile.write(path, np.full(n, np.nan), 16000, subtype="FLOAT")
    paths = [recordings[0], bad[0], recordings[1], bad[1]]
    steps = [MelFilterBank(on_error="nan"), SlidingCMN(0.1)]
    with pytest.warns(UserWarning, match=r"2 of 4 recordings were kept as NaN"):
        expected = make_pipeline(*steps).fit_transform(paths)
    assert np.isnan(expected[1]).all() and expected.lengths.tolist()[1::2] == [1, 1]
    stored = make_pipeline(*(clone(step).set_params(memory=store) for step in steps))
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"2 of 4 recordings were kept as NaN"):
            assert_same_frames(stored.fit_transform(paths), expected)
    skipping = MelFilterBank(on_error="skip", memory=store)
    decoded.clear()
    with pytest.warns(UserWarning, match=r"2 of 4 recordings were left out"):
        frames = skipping.fit_transform(paths)
    assert decoded == [1, 3]  # problems of recordings are not stored
    assert_same_frames(frames, MelFilterBank().fit_transform(paths[::2]))
    with pytest.raises(audio.RecordingError, match=r"2 of 4 recordings cannot be used"):
        MelFilterBank(memory=store).fit_transform(paths)
    with pytest.raises(audio.RecordingError, match="is nan"):
        skipping.fit_transform(paths[1::2])


# --- frames in files, in other objects and processes


def test_frames_are_not_read_before_they_are_needed(recordings, store):
    for _ in range(2):  # what is measured when they are computed has been read
        frames = MelFilterBank(memory=store).fit_transform(recordings)
    assert isinstance(frames.base, FrameFiles)
    assert not frames.base._maps
    part = frames[::2]
    assert part.base is frames.base
    first = frames[0]
    assert not first.flags.owndata and not first.flags.writeable


@pytest.mark.parametrize(
    "rows", [slice(None), slice(2, 5), [3, 1], np.arange(12) % 2 == 0], ids=str
)
def test_frames_through_a_pickle(recordings, store, rows):
    frames = SlidingCMN(memory=store).fit_transform(
        MelFilterBank(memory=store).fit_transform(recordings)
    )[rows]
    assert_same_frames(frames, [np.array(frame) for frame in frames])  # opens memory maps
    content = pickle.dumps(frames)
    assert len(content) < 3000
    again = pickle.loads(content)
    assert_same_frames(again, frames)
    assert again.frame_settings == frames.frame_settings
    np.testing.assert_array_equal(again.keys, frames.keys)
    assert_same_frames(pickle.loads(pickle.dumps(frames.compact())), frames)


def test_a_net_learns_from_frames_in_files(recordings, store):
    y = np.linspace(-3, 3, len(recordings))
    net = SpeechSentimentRegressor(
        module__stext=16, max_epochs=1, batch_size=4, random_state=0, module__n_tuned_blocks=0
    )
    predictions = [
        clone(net).fit(frames, y).predict(frames)
        for frames in (
            MelFilterBank(memory=store).fit_transform(recordings),
            MelFilterBank().fit_transform(recordings),
        )
    ]
    np.testing.assert_array_equal(*predictions)


def test_frames_that_were_removed_are_explained(recordings, store):
    bank = MelFilterBank(memory=store)
    for _ in range(2):
        frames = bank.fit_transform(recordings)
    store.clear()
    with pytest.raises(FileNotFoundError, match=r"removed from their store.*transform again"):
        frames[0]
    assert_same_frames(bank.fit_transform(recordings), MelFilterBank().fit_transform(recordings))


# --- float16


def test_half_precision_takes_half_the_space_and_entries_of_its_own(recordings, tmp_path):
    whole, half = (FeatureStore(tmp_path / "store", dtype=d) for d in (None, "float16"))
    expected = MelFilterBank(memory=whole).fit_transform(recordings)
    frames = MelFilterBank(memory=half).fit_transform(recordings)
    assert frames.dtype == np.float16 and expected.dtype == np.float32
    assert np.abs(frames.base[:] - expected.base[:]).max() <= 0.008
    assert_same_frames(frames, [utterance.astype(np.float16) for utterance in expected])
    table = whole.summary().query("step == 'mfb'")
    assert len(table) == 2 and (table["utterances"] == 12).all()
    small, large = sorted(table["bytes"])
    tables = 3 * 128 + 12 * (8 + 16 + 4) + 4 + 128  # of where utterances are; headers
    assert 2 * (small - tables) == large - tables
    # The means are taken in float32 and stored in float16.
    plain = SlidingCMN(0.1).fit_transform(frames)
    stored = SlidingCMN(0.1, memory=half).fit_transform(frames)
    assert plain.dtype == np.float32
    assert_same_frames(stored, [utterance.astype(np.float16) for utterance in plain])


def test_rows_of_one_vector_keep_their_type(speech, tmp_path):
    steps = [MelFilterBank(), SlidingCMN(None)]
    frames = make_pipeline(*steps).fit_transform(speech.data[:3])
    half = FeatureStore(tmp_path, dtype="float16")
    for step in (SpeakerEmbedder(WEIGHTS), SpeakerFeatureExtractor(WEIGHTS)):
        expected = step.fit_transform(frames)
        found = clone(step).set_params(memory=half).fit_transform(frames)
        np.testing.assert_array_equal(found, expected)


def test_float32_of_float64_frames(recordings, tmp_path):
    single = FeatureStore(tmp_path, dtype="float32")
    frames = MelFilterBank(dtype="float64", memory=single).fit_transform(recordings)
    assert frames.dtype == np.float32
    with pytest.raises(ValueError, match="dtype='int8' must be 'float16', 'float32' or None"):
        FeatureStore(tmp_path, dtype="int8")
