"""Input that WaveformPerturbation takes and refuses."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from perturbation_spies import PATHS, RATE, Through, Y, perturbations, quick, spied, with_copies
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import Ridge

from sklearn_speechsent.audio import RecordingError
from sklearn_speechsent.audio.inputs import as_recordings

# -- what comes in as X ----------------------------------------------------------------------------


def test_every_kind_of_input_gives_the_same_model(tmp_path, rng):
    waves = (0.1 * rng.normal(size=(6, 4000)) * 32767).astype(np.int16)
    paths = [str(tmp_path / f"{row}.wav") for row in range(6)]
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, np.tile(wave, 2), RATE)
    segments = pd.DataFrame({"file": paths, "start": 0.0, "end": 0.25}, index=[3] * 6)
    pairs = [(RATE, wave) for wave in waves]
    table = np.empty((6, 2), dtype=object)
    for row, pair in enumerate(pairs):
        table[row] = pair
    y = [0, 1, 0, 1, 0, 1]
    model = with_copies(quick(), snr_db=(), gain_db=(3,), predict_speeds=(0.9, 1.0))
    expected = model.fit(segments, y).predict_proba(segments)
    for X in (waves, list(waves), pairs, table, waves / 2.0**15, as_recordings(pairs)):
        np.testing.assert_allclose(clone(model).fit(X, y).predict_proba(X), expected, atol=1e-3)
    for X in (paths, np.array(paths), pd.DataFrame({"file": paths})):
        assert model.fit(X, y).predict(X).shape == (6,)


def test_recordings_that_are_perturbed_already():
    X = pd.DataFrame({"file": PATHS[:2], "speed": [2.0, np.nan], "snr_db": [5.0, 20.0]})
    model = with_copies(spied(), speeds=(0.5,), snr_db=(10,), gain_db=(1,))
    spy = model.fit(X, [0, 1]).estimator_["net"]
    assert perturbations(spy.X_) == [
        ("a.wav", 2.0, 0.0, 5.0),
        ("b.wav", 1.0, 0.0, 20.0),
        ("a.wav", 1.0, 0.0, 5.0),
        ("b.wav", 0.5, 0.0, 20.0),
        ("a.wav", 2.0, 1.0, 5.0),
        ("b.wav", 1.0, 1.0, 20.0),
        ("a.wav", 2.0, 0.0, 5.0),
        ("b.wav", 1.0, 0.0, 10.0),
    ]
    model.set_params(predict_speeds=(0.5,)).predict(X)
    assert [r.speed for r in model.estimator_["net"].asked_] == [1.0, 0.5]


# -- errors ----------------------------------------------------------------------------------------


def test_bad_recordings_are_listed_once_with_their_rows(speech, tmp_path, decoded):
    empty = tmp_path / "empty.wav"
    empty.touch()
    paths = list(speech.data[:6])
    paths[2], paths[5] = "gone.wav", str(empty)
    model = with_copies(quick(), predict_speeds=(0.9, 1.0, 1.1))
    y = [0, 1] * 3
    good = clone(model).fit(speech.data[:6], y)
    decoded.clear()
    for call in (lambda: model.fit(paths, y), lambda: good.predict(paths)):
        with pytest.raises(RecordingError) as caught:
            call()
        lines = str(caught.value).splitlines()
        assert lines[0].startswith("2 recordings cannot be used. ") and len(lines) == 3
        assert "check_recordings" in lines[0]
        assert lines[1] == "  row 2 (gone.wav): there is no such file."
        assert lines[2] == f"  row 5 ({empty}): the file is empty (0 bytes)."
    with pytest.raises(FileNotFoundError, match=r"^row 2 \(gone.wav\)"):
        model.fit(paths[:5], y[:5])
    assert not decoded
    assert not hasattr(model, "estimator_")


def test_too_short_copies_name_the_recording_and_the_speed(rng):
    """Stands for check_fit2d_1feature: one sample is too short, in any copy."""
    X = [rng.normal(size=size) for size in (500, 420, 500)]
    with pytest.raises(RecordingError, match=r"^row 1 \(samples in memory\): .*at speed 1.1"):
        with_copies(quick()).fit(X, Y)
    with pytest.raises(RecordingError, match="3 recordings cannot be used"):
        with_copies(quick()).fit(rng.normal(size=(3, 1)), Y)


def test_errors_of_decoding_name_the_row(tmp_path, speech):
    bad = tmp_path / "bad.wav"
    soundfile.write(bad, np.full(RATE, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(RecordingError, match=r"^row 1 \(.*bad.wav\): sample 0 is nan"):
        with_copies(quick()).fit([speech.data[0], bad], [0, 1])


@pytest.mark.parametrize(
    ("y", "says"),
    [
        ([1, 2], "inconsistent numbers of samples"),
        ([1.0, 2.0, np.nan], "row 2"),
        ([1.0, np.inf, 2.0], "row 1"),
        ([2, 2, 2], "only one class"),
        (-np.ones((3, 2)), "negative number: -1.0 in row 0"),
    ],
)
def test_labels_are_checked_before_the_files(y, says):
    with pytest.raises(ValueError, match=says):
        with_copies(quick()).fit(PATHS, y)


def test_a_column_of_labels_is_flattened_with_a_warning():
    with pytest.warns(DataConversionWarning):
        model = with_copies(spied()).fit(PATHS, np.reshape(Y, (3, 1)))
    assert model.estimator_["net"].y_.shape == (12,)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"speeds": (0.9, 0)}, "speeds: 0 is not a number from 0.25 to 4"),
        ({"speeds": (-1.0,)}, "speeds: -1.0 is no"),
        ({"speeds": ("fast",)}, "speeds: 'fast' is no"),
        ({"speeds": (np.nan,)}, "speeds: nan is no"),
        ({"predict_speeds": (10,)}, "predict_speeds: 10 is no"),
        ({"predict_speeds": ()}, "predict_speeds is empty"),
        ({"snr_db": (np.inf,)}, "snr_db: inf is not a number from -100 to 100"),
        ({"gain_db": [None]}, "gain_db: None is no"),
        ({"speeds": 1.1}, "The 'speeds' parameter"),
        ({"snr_db": None}, "The 'snr_db' parameter"),
        ({"random_state": "seed"}, "The 'random_state' parameter"),
        ({"estimator": Through()}, "The 'estimator' parameter"),
    ],
)
def test_parameters_out_of_range(params, says):
    model = with_copies(spied(), speeds=(), snr_db=()).fit(PATHS, Y)
    with pytest.raises(ValueError, match=says):
        model.set_params(**params).fit(PATHS, Y)
    if "predict_speeds" in params:
        with pytest.raises(ValueError, match=says):
            model.predict(PATHS)


def test_speeds_that_multiply_out_of_range_name_the_row(speech):
    X = pd.DataFrame({"file": speech.data[:3], "speed": [1, 3, 1]})
    with pytest.raises(RecordingError, match=r"^row 1 .*speed=6 is not between 0.25 and 4"):
        with_copies(quick(), speeds=(2,)).fit(X, Y)


def test_empty_input_is_an_error():
    for X in ([], pd.DataFrame({"file": []})):
        with pytest.raises(ValueError, match="0 sample"):
            with_copies(quick()).fit(X, [])


def test_other_wrappers_still_fit_inside(speech):
    inside = TransformedTargetRegressor(quick(Ridge()), func=np.negative, inverse_func=np.negative)
    model = with_copies(inside, speeds=(), snr_db=(), predict_speeds=(1,))
    model.fit(speech.data, speech.target)
    plain = quick(Ridge()).fit(speech.data, speech.target)
    np.testing.assert_allclose(model.predict(speech.data), plain.predict(speech.data), atol=1e-6)
