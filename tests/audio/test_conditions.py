"""Conditions of WaveformPerturbation: what is drawn for each copy, and what babble is made of."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from perturbation_spies import PATHS, Plain, Spy, Y, quick, spied
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_validate

from sklearn_speechsent import MelFilterBank, WaveformPerturbation
from sklearn_speechsent.audio import Recording, RecordingError, as_recordings, read
from sklearn_speechsent.audio.conditions import CONDITIONS, Voices, draw_copy

RATE = 16000


def copies(conditions, X=PATHS, y=None, random_state=0, **fit):
    """Copies under conditions, those of each in a list."""
    model = WaveformPerturbation(
        spied(), speeds=(), snr_db=(), conditions=conditions, random_state=random_state
    )
    y = np.arange(len(X)) if y is None else y
    fitted = model.fit(X, y, **fit).estimator_["net"].X_
    assert len(fitted) == len(X) * (1 + len(conditions))
    return [fitted[k * len(X) : (k + 1) * len(X)] for k in range(1, 1 + len(conditions))]


@pytest.fixture
def waves():
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(4000 + 100 * k).astype(np.float32) for k in range(12)]


# -- copies ----------------------------------------------------------------------------------------


def test_copies_follow_those_of_speeds_and_noise():
    model = WaveformPerturbation(
        spied(), speeds=(0.9,), snr_db=(), conditions=("telephone", {"noise": "pink", "snr_db": 10})
    )
    spy = model.fit(PATHS, Y).estimator_["net"]
    assert [(r.source, r.speed, r.codec, r.noise, r.snr_db) for r in spy.X_] == [
        (path, *how)
        for how in (
            (1.0, None, "white", None),
            (0.9, None, "white", None),
            (1.0, "telephone", "white", None),
            (1.0, None, "pink", 10),
        )
        for path in PATHS
    ]
    np.testing.assert_array_equal(spy.y_, Y * 4)
    np.testing.assert_array_equal(spy.groups_, [0, 1, 2] * 4)
    model.predict(PATHS)
    assert {(r.codec, r.snr_db) for r in model.estimator_["net"].asked_} == {(None, None)}


@pytest.mark.parametrize("name", CONDITIONS)
def test_named_conditions(waves, name):
    (made,) = copies([name], waves)
    voices = Voices(as_recordings(waves))
    for recording, copy in zip(as_recordings(waves), made, strict=True):
        assert copy != recording
        for setting, value in CONDITIONS[name].items():
            low, high = value if isinstance(value, tuple) else (value, value)
            assert low <= getattr(copy, setting) <= high
        assert len(copy.babble) == (4 if name == "babble" else 0)
        read(copy, RATE)
    again = draw_copy(as_recordings(waves)[0], name, 5, voices)
    assert as_recordings([again])[0].variant() == again.variant()  # nothing is out of range
    drawn = {copy.variant() for copy in made}
    fixed = all(not isinstance(value, tuple) for value in CONDITIONS[name].values())
    assert len(drawn) == (1 if fixed else len(waves))


def test_ranges_are_drawn_evenly():
    recordings = [Recording(row, f"{row}.wav") for row in range(2000)]
    drawn = [draw_copy(r, {"snr_db": (5, 15), "gain_db": (-3, 3)}, 0) for r in recordings]
    snr, gain = ([getattr(r, name) for r in drawn] for name in ("snr_db", "gain_db"))
    counts, _ = np.histogram(snr, 10, (5, 15))
    assert counts.min() > 150 and counts.max() < 250
    assert abs(np.corrcoef(snr, gain)[0, 1]) < 0.06


def test_one_of_several_is_drawn_for_each_recording():
    files = [f"{row}.wav" for row in range(600)]
    mix = ["telephone", {"codec": "mp3", "rt60": 0.3}, "clipped"]
    first, second = copies([mix, tuple(mix)], files)
    for made in (first, second):
        kinds = Counter((r.codec, r.rt60, r.clip) for r in made)
        assert kinds.keys() == {
            ("telephone", None, False),
            ("mp3", 0.3, False),
            (None, None, True),
        }
        assert min(kinds.values()) > 150
    assert 100 < sum(a.codec == b.codec for a, b in zip(first, second, strict=True)) < 300


def test_what_is_drawn_depends_on_the_recording_alone():
    conditions = ["room", "pink noise", ["telephone", "mp3", "silence"], {"snr_db": (1, 2)}]
    drawn = copies(conditions)
    backwards = copies(conditions, PATHS[::-1])
    for made, other in zip(drawn, backwards, strict=True):
        assert made == [replace(r, row=k, origin=k) for k, r in enumerate(other[::-1])]
    assert len({r.seed for made in drawn for r in made if r.snr_db}) == 6
    assert copies(conditions) == drawn
    assert copies(conditions, random_state=1) != drawn
    other_order = copies([{"gain_db": (0, 9), "snr_db": (1, 9)}])
    assert other_order == copies([{"snr_db": (1, 9), "gain_db": (0, 9)}])


def test_conditions_leave_the_noise_of_other_copies_as_it_was():
    def noisy(**params):
        model = WaveformPerturbation(spied(), speeds=(), snr_db=(15,), **params)
        return model.fit(PATHS, Y).estimator_["net"].X_[3:6]

    assert noisy(conditions=()) == noisy(conditions=["white noise", "room"])


def test_parameters_are_cloned_and_set():
    conditions = ["telephone", {"rt60": (0.2, 0.4)}]
    model = WaveformPerturbation(quick(), conditions=conditions)
    assert clone(model).conditions == conditions
    assert model.set_params(conditions=()).conditions == ()


def test_features_are_the_same_in_every_order_and_from_a_cache(speech, tmp_path):
    rows = np.random.default_rng(0).permutation(24)
    found = []
    for memory, order in ((None, np.arange(24)), (tmp_path / "a", rows), (tmp_path / "a", rows)):
        pipeline = quick(Spy(), memory=memory).set_params(scale="passthrough")
        model = WaveformPerturbation(pipeline, conditions=list(CONDITIONS), predict_speeds=(1,))
        model.fit(speech.data[order], speech.target[order], groups=speech.groups[order])
        features = model.estimator_["net"].X_.reshape(2 + len(CONDITIONS), 24, -1)
        found.append(features[:, np.argsort(order)])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[1], found[2])
    assert len(np.unique(found[0][:, 0], axis=0)) == 2 + len(CONDITIONS)


# -- babble ----------------------------------------------------------------------------------------


def voices_of(made):
    return {r.source: [voice.source for voice in r.babble] for r in made}


def test_babble_is_made_of_four_other_files(tmp_path, speech):
    (made,) = copies(["babble"], speech.data)
    for path, voices in voices_of(made).items():
        assert len(set(voices)) == 4 and path not in voices
    taken = Counter(voice for voices in voices_of(made).values() for voice in voices)
    assert len(taken) > 12  # of 24
    other = copies(["babble", "babble"], speech.data)
    assert voices_of(other[0]) == voices_of(made) != voices_of(other[1])
    assert voices_of(copies(["babble"], speech.data, random_state=1)[0]) != voices_of(made)


@pytest.mark.parametrize("prefix", ["", "net__"])
def test_babble_is_made_of_other_groups(speech, prefix):
    groups = dict(zip(speech.data, speech.groups, strict=True))
    (made,) = copies(["babble"], speech.data, **{f"{prefix}groups": list(speech.groups)})
    for path, voices in voices_of(made).items():
        assert groups[path] not in {groups[voice] for voice in voices}


@pytest.mark.parametrize("routing", [False, True])
def test_groups_serve_the_babble_where_the_estimator_takes_none(speech, routing):
    groups = dict(zip(speech.data, speech.groups, strict=True))
    model = WaveformPerturbation(spied(Plain()), speeds=(), snr_db=(), conditions=["babble"])
    with config_context(enable_metadata_routing=routing):
        net = model.fit(speech.data, speech.target, groups=speech.groups).estimator_["net"]
    assert net.groups_ is None
    for path, voices in voices_of(net.X_[24:]).items():
        assert groups[path] not in {groups[voice] for voice in voices}


def test_segments_of_the_same_file_are_not_other_voices(speech):
    X = pd.DataFrame(
        {"file": np.repeat(speech.data[:3], 8), "start": np.tile(np.arange(8) / 50, 3)}
    )
    (made,) = copies(["babble"], X)
    for recording in made:
        assert recording.source not in {voice.source for voice in recording.babble}
        assert len({(voice.source, voice.start) for voice in recording.babble}) == 4


@pytest.mark.parametrize("source", ["files", "samples"])
def test_babble_does_not_depend_on_the_order_of_rows(speech, waves, source):
    X = list(speech.data) if source == "files" else waves

    def names(rows):
        (made,) = copies(["babble"], [X[row] for row in rows])
        return {r.name(): [v.name() for v in r.babble] for r in made}

    assert names(range(len(X))) == names(np.random.default_rng(0).permutation(len(X)))


def test_files_of_the_same_name_in_several_folders_are_all_heard(waves, tmp_path):
    paths = []
    for speaker in range(12):
        (tmp_path / f"speaker {speaker}").mkdir()
        for number in range(2):
            paths.append(str(tmp_path / f"speaker {speaker}" / f"{number}.wav"))
            soundfile.write(paths[-1], waves[speaker], RATE)
    (made,) = copies(["babble"], paths)
    taken = Counter(voice for voices in voices_of(made).values() for voice in voices)
    assert len(taken) > 12
    (again,) = copies(["babble"], paths[::-1])
    assert voices_of(again) == voices_of(made)


def test_most_babble_is_the_same_without_a_few_speakers(tmp_path):
    """So that cached copies are found again in other folds."""
    recordings = [Recording(row, np.full(3, row, np.float32)) for row in range(240)]
    groups = np.arange(240) // 10
    whole = Voices(recordings, groups)
    rows = np.flatnonzero(groups >= 3)
    some = Voices([recordings[row] for row in rows], groups[rows])
    same = [whole.of(recordings[row], 5) == some.of(recordings[row], 5) for row in rows]
    assert np.mean(same) == pytest.approx((21 / 24) ** 4, abs=0.1)


def test_babble_never_takes_test_rows(speech):
    model = WaveformPerturbation(spied(), speeds=(), snr_db=(), conditions=["babble", ["babble"]])
    result = cross_validate(
        model,
        list(speech.data),
        speech.target,
        groups=speech.groups,
        cv=GroupKFold(3),
        return_estimator=True,
        return_indices=True,
    )
    for fitted, rows in zip(result["estimator"], result["indices"]["train"], strict=True):
        train = {speech.data[row] for row in rows}
        made = fitted.estimator_["net"].X_[len(rows) :]
        assert {voice.source for r in made for voice in r.babble} <= train
        assert len(made) == 2 * len(rows)


def test_voices_have_no_perturbations_of_their_own(speech):
    X = pd.DataFrame({"file": speech.data[:5], "speed": 1.1, "codec": "mp3", "end": 0.2})
    (made,) = copies(["babble"], X)
    assert all(r.speed == 1.1 and r.codec == "mp3" for r in made)
    voices = {voice for r in made for voice in r.babble}
    assert {(v.speed, v.codec, v.stop) for v in voices} == {(1.0, None, 0.2)}


def test_unusable_recordings_are_no_voices(speech):
    paths = [*speech.data[:5], "gone.wav"]
    (made,) = copies(["babble"], paths)
    assert "gone.wav" not in {voice.source for r in made for voice in r.babble}
    model = WaveformPerturbation(quick(), speeds=(), snr_db=(), conditions=["babble"])
    with pytest.raises(RecordingError, match=r"^row 5 \(gone.wav\): there is no such file"):
        model.fit(paths, [0, 1] * 3)
    model.set_params(estimator__mfb__on_error="nan", estimator__net=Spy())
    with pytest.warns(UserWarning, match=r"1 of 6 recordings were kept as NaN"):
        X = model.fit(paths, [0, 1] * 3).estimator_["net"].X_
    assert np.flatnonzero(np.isnan(X).any(axis=1)).tolist() == [5, 11]


@pytest.mark.parametrize(
    ("rows", "groups", "says"),
    [
        ([0, 0], None, r"^row 0 \(.*\): its babble is made of recordings of other files, and"),
        ([0, 1], [7, 7], r"^row 0 .* of other groups \(speakers\), and there are none. Fit on"),
        ([0, None], None, r"^row 1 \(gone.wav\): there is no such file"),
    ],
)
def test_babble_needs_others(speech, rows, groups, says):
    X = ["gone.wav" if row is None else speech.data[row] for row in rows]
    with pytest.raises(RecordingError, match=says):
        copies(["babble"], X, groups=groups)


def test_fewer_than_four_others_will_do(speech):
    (made,) = copies(["babble"], speech.data[:3])
    assert [len(r.babble) for r in made] == [2, 2, 2]
    assert MelFilterBank().fit_transform(made).shape == (3,)


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ("telephone", r"one per copy: pass \['telephone'\]"),
        ({"rt60": 0.5}, r"one per copy: pass \[\{'rt60': 0.5\}\]"),
        (["telephone", "radio"], r"conditions\[1\]: 'radio' is not one of 'telephone', 'mp3'"),
        ([3], r"conditions\[0\]: 3 is not one of"),
        ([[]], r"conditions\[0\] is empty"),
        ([["mp3", "cd"]], r"conditions\[0\]: 'cd' is not one of"),
        ([{"rt60": 50}], r"rt60=50 is not a number from 0.05 to 10, or two of them"),
        ([{"rt60": (0.5, 0.2)}], r"rt60=\(0.5, 0.2\) is not a number"),
        ([{"rt60": (0.1, 0.2, 0.3)}], "rt60="),
        ([{"rt60": np.nan}], "rt60=nan"),
        ([{"rt60": "long"}], "rt60='long'"),
        ([{"rt60": None}], "rt60=None"),
        ([{"codec": "gsm"}], "codec='gsm' is not one of 'telephone', 'mp3', 'ogg'"),
        ([{"clip": 2}], "clip=2 is neither True nor False"),
        ([{"babble": ["a.wav"]}], "'babble' is not a perturbation: speed, rt60"),
        ([{"seed": 3}], "'seed' is not a perturbation"),
        ([{"noise": "pink"}], "noise='pink' has no snr_db"),
        (None, "'conditions' parameter"),
        (5, "'conditions' parameter"),
    ],
)
def test_conditions_that_are_none(conditions, says):
    model = WaveformPerturbation(spied(), conditions=conditions)
    with pytest.raises(ValueError, match=says):
        model.fit(PATHS, Y)


def test_the_default_copies_meet_what_recordings_meet(speech):
    X, y = speech.data[:8], speech.target[:8]
    made, n = WaveformPerturbation(spied()).fit(X, y).estimator_["net"].X_, 8
    assert len(made) == 6 * n and {r.speed for r in made[n : 2 * n]} == {0.9}
    telephone, pink, babble, room = (made[k * n : (k + 1) * n] for k in range(2, 6))
    assert {r.codec for r in telephone} == {"telephone"} and {r.noise for r in pink} == {"pink"}
    assert {r.noise for r in babble} == {"babble"} and all(0.2 <= r.rt60 <= 0.8 for r in room)
    gains = np.array([r.gain_db for r in made[2 * n :]])
    assert (-20 <= gains).all() and (gains <= 10).all() and len(set(gains)) == len(gains)
    assert all(r.clip for r in made[2 * n :])
