"""Perturbed recordings: speed, gain and noise when they are read."""

import dataclasses
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from tones import RATE, peak, tone

from sklearn_speechsent import MelFilterBank
from sklearn_speechsent.audio import Recording, RecordingError, as_recordings, probe, read, samples


def level(samples):
    """In dB below full scale."""
    return 10 * np.log10(np.mean(np.square(samples, dtype=float)))


def frame(path, **columns):
    return pd.DataFrame({"file": [str(path)], **{k: [v] for k, v in columns.items()}})


def read_only(X, rate=RATE):
    (recording,) = as_recordings(X)
    return read(recording, rate)


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    return path


# -- speed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.25, 0.9, 1.1, 2.0])
@pytest.mark.parametrize("rate", [RATE, 48000])
def test_faster_is_higher_and_shorter(tmp_path, rate, speed):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate=rate), rate, subtype="FLOAT")
    samples = read_only(frame(path, speed=speed))
    assert len(samples) == pytest.approx(RATE / speed, abs=1)
    assert peak(samples) == (pytest.approx(440 * speed, abs=0.3), pytest.approx(0.5, rel=2e-3))


def test_speed_that_undoes_the_rate_leaves_samples_alone():
    samples = tone().astype(np.float32)
    np.testing.assert_array_equal(read(Recording(0, samples, rate=8000, speed=2.0), RATE), samples)


def test_faster_does_not_alias(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(7500), RATE, subtype="FLOAT")
    assert np.abs(read_only(frame(path, speed=1.2))[1600:-1600]).max() < 1e-3


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1, 3.0])
def test_probe_gives_the_duration_at_that_speed(wav, speed):
    for recording in (Recording(0, str(wav), speed=speed), Recording(0, tone(), speed=speed)):
        assert probe(recording, RATE, 0.025) == pytest.approx(1 / speed, abs=1 / RATE)
        assert len(read(recording, RATE)) == pytest.approx(RATE / speed, abs=1)


def test_too_short_for_its_speed(wav):
    X = frame(wav, end=0.026, speed=1.1)
    with pytest.raises(RecordingError, match=r"row 0 .*tone.wav, 0 to 0.026 s\): .*at speed 1.1"):
        MelFilterBank().fit(X)
    assert len(MelFilterBank().fit_transform(X.assign(speed=0.9))[0]) == 1
    # 440 samples at 1.1 are 400, one frame, whatever floats make of it
    short = Recording(0, tone()[:440], speed=1.1)
    assert MelFilterBank().fit_transform([short])[0].shape == (1, 80)


def test_segment_is_cut_before_it_is_played_faster(tmp_path):
    path = tmp_path / "two.wav"
    samples = np.concatenate([tone(300), tone(600)])
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    fast = read_only(frame(path, start=1.0, end=2.0, speed=1.1))
    assert len(fast) == pytest.approx(RATE / 1.1, abs=1)
    assert peak(fast)[0] == pytest.approx(660, abs=0.3)
    in_memory = read(Recording(0, samples[RATE:], speed=1.1), RATE)
    np.testing.assert_allclose(fast, in_memory, atol=1e-6)


# -- noise and gain --------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [-5.0, 0.0, 15.0, 40.0])
@pytest.mark.parametrize("loudness", [0.01, 0.5])
def test_noise_lies_as_many_db_below_the_recording(snr, loudness):
    clean = tone(level=loudness).astype(np.float32)
    noise = read(Recording(0, clean, snr_db=snr, seed=3), RATE) - clean
    assert level(clean) - level(noise) == pytest.approx(snr, abs=0.3)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    quarters = [part.mean() for part in np.array_split(spectrum[1:], 4)]
    assert max(quarters) / min(quarters) < 1.15  # white


def test_noise_depends_on_the_seed_alone(wav):
    def noise(row=0, seed=0, source=str(wav), **changes):
        recording = Recording(row, source, snr_db=10.0, seed=seed, **changes)
        clean = read(dataclasses.replace(recording, snr_db=None), RATE)
        return read(recording, RATE) - clean

    numpy_state = np.random.get_state
    before = numpy_state()[1].copy()
    np.testing.assert_array_equal(noise(), noise(row=7))
    np.testing.assert_array_equal(numpy_state()[1], before)
    first, other = noise(seed=1), noise(seed=2)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
    louder = noise(seed=1, source=tone(880, level=0.25))
    np.testing.assert_allclose(louder, 0.5 * first, atol=1e-4)


@pytest.mark.parametrize("gain", [-20.0, -6.0, 6.0, 12.0])
@pytest.mark.parametrize("snr", [np.nan, 10.0])
def test_gain_is_exact_and_comes_last(wav, gain, snr):
    plain = read_only(frame(wav, snr_db=snr, seed=1))
    loud = read_only(frame(wav, snr_db=snr, seed=1, gain_db=gain))
    np.testing.assert_allclose(loud, plain * 10 ** (gain / 20), rtol=1e-6, atol=1e-7)


def test_samples_in_memory_are_not_written_to():
    samples = tone().astype(np.float32)
    before = samples.copy()
    for recording in (
        Recording(0, samples, snr_db=5.0),
        Recording(0, samples, gain_db=6.0),
        Recording(0, samples, speed=1.1, gain_db=6.0, snr_db=5.0),
    ):
        read(recording, RATE)
        np.testing.assert_array_equal(samples, before)


def test_pairs_and_channels_are_perturbed_like_files(tmp_path):
    path = tmp_path / "stereo.wav"
    samples = (np.stack([tone(rate=44100), 0.5 * tone(rate=44100)], axis=1) * 32767).astype("int16")
    soundfile.write(path, samples, 44100)
    how = {"speed": 1.1, "gain_db": 3.0, "snr_db": 20.0, "seed": 5}
    pair = as_recordings([(44100, samples)])[0]
    in_memory = read(dataclasses.replace(pair, **how), RATE)
    np.testing.assert_allclose(in_memory, read_only(frame(path, **how)), atol=1e-6)


# -- columns ---------------------------------------------------------------------------------------


def test_missing_values_leave_a_row_as_it_is(wav):
    X = pd.DataFrame(
        {
            "file": [wav] * 4,
            "end": [np.nan, 0.5, np.nan, np.nan],
            "speed": [np.nan, 1.1, None, np.nan],
            "gain_db": [None, np.nan, 6.0, np.nan],
            "snr_db": [np.nan, np.nan, np.nan, 20.0],
            "seed": [np.nan, np.nan, np.nan, 9.0],
        },
        index=[5, 5, 7, 0],
    )
    plain, fast, loud, noisy = as_recordings(X)
    path = str(wav)
    assert plain == Recording(0, path)
    assert fast == Recording(1, path, stop=0.5, speed=1.1)
    assert loud == Recording(2, path, gain_db=6.0)
    assert noisy == Recording(3, path, snr_db=20.0, seed=9)
    assert type(noisy.seed) is int
    frames = MelFilterBank().fit_transform(X)
    expected = MelFilterBank().fit_transform([wav])[0]
    np.testing.assert_array_equal(frames[0], expected)
    assert not np.allclose(frames[2], expected) and not np.allclose(frames[3], expected)
    assert len(frames[1]) == 43


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("speed", 0, "speed=0 is not between 0.25 and 4"),
        ("speed", -1.0, "speed=-1 is not"),
        ("speed", 10, "speed=10 is not"),
        ("speed", np.inf, "speed=inf is not"),
        ("gain_db", 1000, "gain_db=1000 is not between -100 and 100"),
        ("gain_db", -np.inf, "gain_db=-inf is not"),
        ("snr_db", np.inf, "snr_db=inf is not"),
        ("snr_db", -np.inf, "snr_db=-inf is not"),
        ("seed", -1, "seed=-1 is not a whole number"),
        ("seed", 1.5, "seed=1.5 is not a whole number"),
        ("seed", np.inf, "seed=inf is not a whole number"),
        ("rt60", 0, "rt60=0 is not between 0.05 and 10"),
        ("band_limit", 4.0, "band_limit=4 is not between 100 and 100000"),
        ("silence_before", -1, "silence_before=-1 is not between 0 and 60"),
        ("silence_after", 61, "silence_after=61 is not between 0 and 60"),
        ("clip", 0.5, "clip=0.5 is not a whole number"),
        ("clip", 2, "clip=2 is neither 0 nor 1"),
        ("codec", "gsm", "codec='gsm' is not one of telephone, mp3, ogg"),
    ],
)
def test_values_out_of_range_name_the_row(wav, column, value, says):
    X = pd.DataFrame({"file": [wav, wav], column: [np.nan, value]}, index=[8, 9])
    with pytest.raises(RecordingError, match=f"row 1 .*tone.wav.*: {says}.*Correct it"):
        MelFilterBank().fit(X)
    with pytest.raises(RecordingError, match=f"row 1 .*tone.wav.*: {says}"):
        as_recordings([wav, Recording(0, str(wav), **{column: value})])


@pytest.mark.parametrize(
    "column",
    ["start", "end", "speed", "gain_db", "snr_db", "seed", "rt60", "silence_before", "clip"],
)
@pytest.mark.parametrize("value", ["fast", "NaN", [1.0, 2.0], 1j])
def test_values_that_are_not_numbers_name_the_row(wav, column, value):
    X = pd.DataFrame({"file": [wav, wav], column: pd.Series([None, value], dtype=object)})
    unit = "seconds" if column in ("start", "end", "rt60", "silence_before") else "numbers"
    says = f"{column}.*must hold {unit}: row 1 .*tone.wav.* has {re.escape(repr(value))}. Correct"
    with pytest.raises(ValueError, match=says):
        MelFilterBank().fit(X)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"noise": "pink"}, "noise='pink' has no snr_db. Say how loud it is"),
        ({"noise": "brown", "snr_db": 10.0}, "noise='brown' is not one of white, pink, babble"),
        ({"noise": 3, "snr_db": 10.0}, "noise=3 is not one of white, pink, babble"),
        ({"codec": np.ones(2)}, r"codec=array\(\[1., 1.\]\) is not one of"),
        ({"noise": "babble", "snr_db": 10.0}, "noise='babble' and 0 recordings as its 'babble'"),
        ({"noise": "babble", "snr_db": 10.0, "babble": []}, "'babble' and 0 recordings"),
        ({"snr_db": 10.0, "babble": ["b.wav"]}, "noise='white' and 1 recordings"),
        ({"babble": "b.wav"}, r"has 'b.wav'. Pass \['b.wav'\], or leave it empty"),
        ({"noise": "babble", "snr_db": 1.0, "babble": ["b.wav"]}, "made of row 1 .*no such file"),
        ({"noise": "babble", "snr_db": 1.0, "babble": [{}]}, "Row 1 of X is dict"),
    ],
)
def test_values_that_do_not_fit_together_name_the_row(wav, columns, says):
    rows = {name: pd.Series([None, value], dtype=object) for name, value in columns.items()}
    X = pd.DataFrame({"file": [wav, wav], **rows})
    with pytest.raises((ValueError, TypeError), match=f"row 1 .*{says}"):
        MelFilterBank().fit(X)


def test_babble_is_not_made_of_babble():
    inner = Recording(0, tone(), snr_db=3.0, noise="babble", babble=(Recording(0, tone()),))
    with pytest.raises(RecordingError, match=r"^row 0 .*has babble itself"):
        as_recordings([Recording(0, tone(), snr_db=3.0, noise="babble", babble=(inner,))])


def test_effects_are_columns(wav):
    X = pd.DataFrame(
        {
            "file": [wav] * 4,
            "noise": ["pink", None, "babble", pd.NA],
            "snr_db": [10, np.nan, 5, 20],
            "babble": [None, np.nan, [str(wav), (8000, tone())], pd.NaT],
            "rt60": pd.to_timedelta([0.5, None, None, None], unit="s"),
            "clip": [True, False, None, np.nan],
            "band_limit": [np.nan, 4000, None, np.nan],
            "codec": pd.Categorical(["mp3", None, "telephone", None]),
            "silence_before": [None, 1.5, np.nan, 0],
        },
        index=[5, 5, 7, 0],
    )
    first, second, third, fourth = as_recordings(X)
    path = str(wav)
    how = {"noise": "pink", "snr_db": 10.0, "rt60": 0.5, "clip": True, "codec": "mp3"}
    assert first == Recording(0, path, **how)
    assert second == Recording(1, path, band_limit=4000.0, silence_before=1.5)
    assert (third.noise, third.snr_db, third.codec) == ("babble", 5.0, "telephone")
    voices = third.babble
    assert voices[0] == Recording(2, path) and voices[1].rate == 8000
    assert fourth == Recording(3, path, snr_db=20.0)
    assert type(first.clip) is type(second.clip) is bool
    frames = MelFilterBank().fit_transform(X)
    assert frames.lengths.tolist() == [98, 248, 98, 98]
    assert [probe(r, RATE, 0.0) for r in (first, second)] == [1.0, 2.5]


def test_unknown_columns_error_names_all_columns(wav):
    with pytest.raises(ValueError) as caught:
        as_recordings(frame(wav, snr=3.0, speed=1.0))
    for name in ("file", "start", "end", "speed", "gain_db", "snr_db", "seed", "snr"):
        assert f"'{name}'" in str(caught.value)


# -- identity --------------------------------------------------------------------------------------


def test_identity_of_what_is_not_perturbed_has_not_changed(wav):
    status = wav.stat()
    plain = (str(wav.resolve()), status.st_size, status.st_mtime_ns, None, None)
    assert Recording(4, str(wav)).identity() == plain
    assert Recording(4, str(wav), speed=1, gain_db=0, seed=7, origin=2).identity() == plain
    assert as_recordings(frame(wav, speed=np.nan, seed=3))[0].identity() == plain
    samples = tone()
    rate, source, *variant = Recording(0, samples, rate=8000).identity()
    assert rate == 8000 and source is samples and variant == [None, None]


def test_identity_differs_between_perturbations(wav):
    perturbations = [
        {},
        {"speed": 1.1},
        {"speed": 0.9},
        {"gain_db": 1.1},
        {"snr_db": 1.1},
        {"snr_db": 0.0},
        {"snr_db": 1.1, "seed": 1},
        {"snr_db": 1.1, "speed": 1.1},
        {"snr_db": 1.1, "noise": "pink"},
        {"snr_db": 1.1, "noise": "pink", "seed": 1},
        {"snr_db": 1.1, "noise": "babble", "babble": (Recording(0, str(wav)),)},
        {"snr_db": 1.1, "noise": "babble", "babble": (Recording(0, str(wav)),) * 2},
        {"snr_db": 1.1, "noise": "babble", "babble": (Recording(0, str(wav), start=0.1),)},
        {"rt60": 0.5},
        {"rt60": 0.5, "seed": 1},
        {"clip": True},
        {"band_limit": 1.1},
        *({"codec": codec} for codec in ("telephone", "mp3", "ogg")),
        {"silence_before": 1.1},
        {"silence_after": 1.1},
    ]
    identities = {Recording(0, str(wav), **how).identity() for how in perturbations}
    assert len(identities) == len(perturbations)
    # Of samples in memory the first two entries are the rate and the samples themselves.
    in_memory = {Recording(0, tone(), **how).identity()[2:] for how in perturbations}
    assert len(in_memory) == len(perturbations)
    one, other = Recording(0, str(wav), speed=1.1), Recording(3, str(wav), speed=1.1, seed=4)
    assert one.identity() == other.identity()  # without noise there is nothing to seed
    whole = Recording(0, str(wav), gain_db=np.float64(3), snr_db=15).identity()
    assert repr(whole[-2:]) == "(3.0, (15.0, 0))"


def test_keys_of_the_first_perturbations_stay_as_they_are():
    how = {"speed": 1.1, "gain_db": 3, "snr_db": 15, "seed": 4}
    old = (None, 2.0, "channel 1", 1.1, 3.0, (15.0, 4))
    assert Recording(0, "a.wav", stop=2, channel=1, **how).variant() == old
    unchanged = {"noise": "white", "clip": False, "silence_before": 0, "silence_after": 0.0}
    assert Recording(0, "a.wav", stop=2, channel=1, **how, **unchanged).variant() == old
    new = Recording(0, "a.wav", stop=2, channel=1, **how, rt60=1).variant()
    assert new == (*old, ("effects", 1), ("rt60", (1.0, 4)))


def test_the_cache_distinguishes_perturbed_copies(wav, tmp_path, monkeypatch):
    rows = []
    resampled = samples._resampled
    monkeypatch.setattr(
        samples, "_resampled", lambda r, *more: rows.append(r.row) or resampled(r, *more)
    )
    X = pd.DataFrame(
        {
            "file": wav,
            "speed": [1.0, 1.1, 1.0, 1.0, 1.1],
            "snr_db": [np.nan, np.nan, 10, 10, np.nan],
            "seed": [0, 0, 0, 1, 5],
        }
    )
    bank = MelFilterBank(memory=tmp_path / "cache")
    first = bank.fit_transform(X)
    assert rows == [0, 1, 2, 3]  # the last is the second again
    again = bank.fit_transform(X.iloc[::-1])
    assert rows == [0, 1, 2, 3]
    for row in range(5):
        np.testing.assert_array_equal(first[row], again[4 - row])
    assert not np.allclose(first[2], first[3])


# -- perturbing on top -----------------------------------------------------------------------------


def test_perturbations_add_up(wav):
    recording = Recording(2, str(wav), start=0.1, speed=2.0, gain_db=3.0, snr_db=10.0, seed=4)
    copy = recording.perturbed(speed=0.5, gain_db=-1.0)
    assert copy == dataclasses.replace(recording, speed=1.0, gain_db=2.0)
    assert recording.perturbed(snr_db=20.0).snr_db == 10.0  # never cleaner than it was
    assert recording.perturbed(snr_db=5.0).snr_db == 5.0
    assert recording.perturbed() == recording


def test_effects_go_on_top():
    voices = (Recording(0, "b.wav"),)
    own = Recording(
        2,
        "a.wav",
        **{"snr_db": 10.0, "noise": "babble", "babble": voices, "rt60": 0.5, "codec": "mp3"},
        **{"band_limit": 4000.0, "silence_after": 1.0},
    )
    more = {"band_limit": 5000.0, "rt60": 0.4, "silence_after": 0.5, "clip": True}
    copy = own.perturbed(noise="pink", snr_db=20.0, codec="telephone", **more)
    assert (copy.noise, copy.snr_db, copy.babble) == ("babble", 10.0, voices)  # which is louder
    assert (copy.band_limit, copy.rt60, copy.silence_after) == (4000.0, 0.5, 1.5)
    assert (copy.codec, copy.clip) == ("telephone", True)
    louder = own.perturbed(noise="pink", snr_db=5.0)
    assert (louder.noise, louder.snr_db, louder.babble) == ("pink", 5.0, ())
    white = own.perturbed(snr_db=5.0)
    assert (white.noise, white.babble) == ("white", ())
    assert own.perturbed(speed=1.1).codec == "mp3"
    assert own.perturbed(clip=False, speed=1.0) == own


def test_seeds_differ_between_recordings_and_not_between_rows_or_folders(wav):
    def seed(source, seed=0, **where):
        return Recording(where.pop("row", 0), source, **where).perturbed(snr_db=5.0, seed=seed).seed

    assert seed("/a/one.wav") == seed("/b/one.wav", row=5, speed=1.1)
    assert len({seed("one.wav"), seed("two.wav"), seed("one.wav", start=1.0)}) == 3
    assert len({seed("one.wav", 1), seed("one.wav", 2), seed("two.wav", 1)}) == 3
    assert seed(tone()) == seed(tone(), rate=8000) != seed(tone(441))
    assert all(0 <= seed(f"{k}.wav", 2**31 - 1) < 2**31 for k in range(50))


# -- errors ----------------------------------------------------------------------------------------


def test_copies_of_a_bad_recording_are_one_problem(wav):
    good, gone, lost = Recording(0, str(wav)), Recording(1, "gone.wav"), Recording(2, "lost.wav")
    rows = [dataclasses.replace(r, origin=r.row + 10) for r in (good, gone, lost)]
    copies = rows + [r.perturbed(speed=1.1) for r in rows]
    with pytest.raises(FileNotFoundError) as caught:
        MelFilterBank().fit(copies)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("2 recordings cannot be used.")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "row 11 (gone.wav)",
        "row 12 (lost.wav)",
    ]
    with pytest.raises(FileNotFoundError, match=r"^row 11 \(gone.wav\): there is no such file.$"):
        MelFilterBank().fit(copies[::3] + copies[1::3])
    with pytest.raises(FileNotFoundError, match=r"^2 of 3 recordings"):
        MelFilterBank().fit(rows)


def test_errors_know_their_row_and_can_be_sent_to_another_process():
    error = Recording(1, "gone.wav", origin=4).error("it is gone.")
    assert error.row == 4 and str(error) == "row 4 (gone.wav): it is gone."
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.row, str(again)) == (RecordingError, 4, str(error))
    assert RecordingError("several").row is None


def test_lists_of_recordings_are_numbered_again(wav):
    chosen = as_recordings([wav] * 5)[3:]
    assert [recording.row for recording in as_recordings(chosen)] == [0, 1]
    array = np.empty(2, dtype=object)
    array[:] = chosen
    assert as_recordings(array) == as_recordings(chosen)
