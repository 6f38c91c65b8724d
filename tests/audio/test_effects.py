"""Effects on recordings, measured on the samples that come out."""

import io as streams
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve, welch

from sklearn_speechsent.audio import Recording, RecordingError, effects, io, read, read_blocks

RATE = 16000


def speech(n=48000, seed=0, level=0.1):
    """Noise with syllables and pauses."""
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0, 1, n // 1600 + 1) ** 2, 1600)[:n]
    return (level * envelope * rng.standard_normal(n)).astype(np.float32)


def power_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=float)))


def band_db(samples, low, high, rate=RATE):
    """Power between two frequencies in dB."""
    frequency, power = welch(samples, rate, nperseg=rate // 4)
    return 10 * np.log10(power[(frequency >= low) & (frequency < high)].sum())


VOICES = tuple(Recording(9, speech(30000 + 7777 * k, seed=10 + k)) for k in range(4))
EVERY = {
    "pink": {"noise": "pink", "snr_db": 10.0},
    "babble": {"noise": "babble", "snr_db": 10.0, "babble": VOICES},
    "room": {"rt60": 0.5},
    "clip": {"gain_db": 20.0, "clip": True},
    "band limit": {"band_limit": 4000.0},
    "odd band limit": {"band_limit": 3333.3},
    "telephone": {"codec": "telephone"},
    "mp3": {"codec": "mp3"},
    "ogg": {"codec": "ogg"},
    "silence": {"silence_before": 0.5, "silence_after": 0.25},
    "all": {
        **{"speed": 0.9, "rt60": 0.3, "noise": "pink", "snr_db": 15.0, "gain_db": 15.0},
        **{"clip": True, "band_limit": 5000.0, "codec": "mp3", "silence_after": 0.3},
    },
}


# -- what all of them have in common ---------------------------------------------------------------


@pytest.mark.parametrize("how", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("block", [257, 5000, 70000])
def test_samples_do_not_depend_on_blocks(monkeypatch, how, block):
    recording = Recording(0, speech(100000), rate=22050, seed=5, **how)
    whole = read(recording, RATE)
    monkeypatch.setattr(io, "BLOCK", block)
    blocks = list(read_blocks(recording, RATE))
    assert all(len(b) == block for b in blocks[:-1]) and 0 < len(blocks[-1]) <= block
    assert all(b.dtype == np.float32 and b.ndim == 1 for b in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("how", EVERY.values(), ids=EVERY)
def test_threads_and_repetitions_give_the_same_bits(how):
    recordings = [Recording(0, speech(seed=k), seed=k, **how) for k in range(3)] * 2
    alone = [read(recording, RATE) for recording in recordings[:3]]
    with ThreadPoolExecutor(4) as pool:
        for k, samples in enumerate(pool.map(read, recordings, [RATE] * 6)):
            np.testing.assert_array_equal(samples, alone[k % 3])


@pytest.mark.parametrize("how", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("n", [2, 3, 400, 12345])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 1000])
def test_as_many_samples_come_out_as_went_in(how, n, rate):
    clean = speech(n + 1, seed=1)[1:] + 0.001
    samples = read(Recording(0, clean, seed=5, **how), rate)
    expected = len(read(Recording(0, clean, speed=how.get("speed", 1.0)), rate))
    for silence in ("silence_before", "silence_after"):
        expected += round(how.get(silence, 0) * rate)
    assert len(samples) == expected
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("name", ["room", "band limit", "telephone", "mp3", "ogg"])
def test_nothing_is_shifted_in_time(name):
    clean = speech()
    samples = read(Recording(0, clean, **EVERY[name]), RATE)
    lag = np.argmax(fftconvolve(samples, clean[::-1])) - (len(clean) - 1)
    assert lag == 0


def test_samples_in_memory_are_not_written_to():
    samples = speech()
    before = samples.copy()
    for how in EVERY.values():
        read(Recording(0, samples, **how), RATE)
        np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("name", ["pink", "babble", "room", "telephone", "mp3", "silence"])
def test_memory_does_not_grow_with_the_recording(tmp_path, name):
    """Ten minutes are 38 MB of samples; a block of a minute is 4, and a few are held at a time."""
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for seed in range(10):
            file.write(speech(60 * RATE, seed))
    tracemalloc.start()
    try:
        for _ in read_blocks(Recording(0, str(path), **EVERY[name]), RATE):
            pass
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


# -- noise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_pink_noise_has_equal_power_in_every_octave(rate):
    draw = effects.noise("pink", rate, 3)
    samples = draw(120 * rate)
    octaves = 31.25 * 2.0 ** np.arange(0, np.log2(rate / 2 / 31.25) - 1)
    powers = [band_db(samples, low, 2 * low, rate) for low in octaves]
    assert max(powers) - min(powers) < 1.0
    assert np.var(samples) == pytest.approx(1, abs=0.02)


def test_pink_noise_begins_as_loud_as_it_goes_on():
    first = [effects.noise("pink", RATE, seed)(160) for seed in range(1000)]
    assert np.mean(np.square(first)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
@pytest.mark.parametrize("noise", ["white", "pink", "babble"])
@pytest.mark.parametrize("rt60", [None, 0.4])
def test_noise_lies_as_many_db_below_what_is_heard(snr, noise, rt60):
    babble = VOICES if noise == "babble" else ()
    recording = Recording(0, speech(160000), snr_db=snr, noise=noise, babble=babble, rt60=rt60)
    clean = read(replace(recording, snr_db=None), RATE)
    added = read(recording, RATE) - clean
    # Pink noise of ten seconds differs in its lowest octaves.
    tolerance = {"white": 0.1, "pink": 0.5, "babble": 1e-3}[noise]
    assert power_db(clean) - power_db(added) == pytest.approx(snr, abs=tolerance)


def test_noise_differs_between_seeds_and_colours():
    def noise(colour, seed):
        return effects.noise(colour, RATE, seed)(16000)

    drawn = [noise(colour, seed) for colour in ("white", "pink") for seed in (0, 1)]
    np.testing.assert_array_equal(drawn[3], noise("pink", 1))
    correlation = np.corrcoef(drawn) - np.eye(4)
    assert np.abs(correlation[[0, 2]][:, [1, 3]]).max() < 0.1


# -- babble ----------------------------------------------------------------------------------------


def tones(*frequencies, levels=(0.5,)):
    """Voices that are told apart by their frequency."""
    time = np.arange(20000) / RATE
    waves = [np.sin(2 * np.pi * frequency * time) for frequency in frequencies]
    levels = np.resize(levels, len(waves))
    return tuple(Recording(9, w * v) for w, v in zip(waves, levels, strict=True))


def added_babble(voices, n=64000, seed=0, **how):
    recording = Recording(0, speech(n), snr_db=0.0, noise="babble", babble=voices, seed=seed, **how)
    return read(recording, RATE) - read(replace(recording, snr_db=None), RATE)


def test_voices_in_babble_are_equally_loud():
    frequencies = (400, 1000, 1600, 2400)
    babble = added_babble(tones(*frequencies, levels=(0.5, 0.05, 0.005, 0.2)))
    powers = [band_db(babble, f - 50, f + 50) for f in frequencies]
    assert max(powers) - min(powers) < 0.2


def test_voices_are_repeated_to_the_length_of_the_recording():
    voice = speech(20000, seed=3)
    babble = added_babble((Recording(9, voice),), n=64000, seed=4)
    np.testing.assert_allclose(babble[20000:40000], babble[:20000], atol=1e-6)
    begin = np.argmax(np.fft.irfft(np.fft.rfft(babble[:20000]).conj() * np.fft.rfft(voice)))
    scale = np.dot(babble[:20000], np.roll(voice, -begin)) / np.dot(voice, voice)
    np.testing.assert_allclose(babble[:20000], scale * np.roll(voice, -begin), atol=1e-6)
    others = {float(added_babble((Recording(9, voice),), seed=seed)[0]) for seed in range(5)}
    assert len(others) == 5  # they begin elsewhere


def test_half_a_minute_of_each_voice_is_heard(monkeypatch):
    monkeypatch.setattr(io, "BLOCK", 16000)
    quiet, loud = speech(31 * RATE, level=0.01), speech(31 * RATE, level=0.01)
    loud[30 * RATE :] = 1.0
    np.testing.assert_array_equal(
        added_babble((Recording(9, quiet),)), added_babble((Recording(9, loud),))
    )


def test_voices_have_segments_and_rates_of_their_own(tmp_path):
    path = tmp_path / "two.wav"
    soundfile.write(path, np.r_[np.ones(44100), tones(440)[0].source], 44100, subtype="FLOAT")
    babble = added_babble((Recording(9, str(path), start=1.05, stop=1.4),))
    assert band_db(babble, 1100, 1350) - power_db(babble) > -60
    expected = 440 * 44100 / RATE
    assert band_db(babble, expected - 80, expected + 80) == pytest.approx(
        band_db(babble, 0, 8001), abs=0.5
    )


def test_silent_voices_are_left_out():
    voices, silent = tones(500), Recording(9, np.zeros(20000))
    np.testing.assert_allclose(
        added_babble((*voices, silent)), added_babble(voices), atol=1e-6, rtol=0
    )
    with pytest.raises(RecordingError, match=r"^row 0 .*its babble is made of are silent"):
        added_babble((silent,))


def test_a_pause_of_all_voices_adds_nothing():
    voice = np.r_[np.zeros(19000), speech(100)].astype(np.float32)
    added = [added_babble((Recording(9, voice),), n=400, seed=seed) for seed in range(20)]
    assert all(np.isfinite(a).all() for a in added) and any((a == 0).all() for a in added)


def test_babble_of_a_file_that_cannot_be_decoded_names_both(tmp_path):
    path = tmp_path / "bad.wav"
    soundfile.write(path, np.full(9000, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(RecordingError, match=r"row 0 .*made of row 9 \(.*bad.wav\): sample 0"):
        added_babble((Recording(9, str(path)),))


# -- room ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rt60", [0.2, 0.5, 1.5])
def test_reverberation_decays_by_60_db_in_its_time(rt60):
    click = np.zeros(int(3 * RATE), np.float32)
    click[100] = 1.0
    tail = read(Recording(0, click, rt60=rt60, seed=3), RATE)[101:]
    # Schroeder: energy that is still to come, between -5 and -25 dB.
    decay = 10 * np.log10(np.cumsum(np.square(tail, dtype=float)[::-1])[::-1] + 1e-20)
    decay -= decay[0]
    first, last = (np.argmax(decay < level) for level in (-5, -25))
    assert 3 * (last - first) / RATE == pytest.approx(rt60, rel=0.07)


def test_a_room_is_the_direct_sound_and_as_much_reverberation():
    response = effects.impulse_response(RATE, 0.5, seed=2)
    assert response[0] ** 2 == pytest.approx(0.5, abs=1e-5)
    assert np.sum(response**2) == pytest.approx(1, abs=1e-5)
    assert not response[1 : int(0.0025 * RATE)].any() and response[60:200].any()


def test_a_room_is_a_convolution_also_over_many_pieces():
    clean = speech(200000)
    wet = read(Recording(0, clean, rt60=5.0, seed=7), RATE)
    expected = fftconvolve(clean.astype(float), effects.impulse_response(RATE, 5.0, 7))
    np.testing.assert_allclose(wet, expected[:200000], atol=1e-6)
    other = read(Recording(0, clean, rt60=5.0, seed=8), RATE)
    assert np.abs(other - wet).max() > 0.01


# -- band limit, codecs ----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1000.0, 3333.3, 4000.0, 7000.0])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_nothing_remains_above_the_band_limit(limit, rate):
    white = 0.1 * np.random.default_rng(0).standard_normal(4 * rate).astype(np.float32)
    samples = read(Recording(0, white, band_limit=limit), rate)
    inside = band_db(samples, 100, 0.9 * limit, rate) - band_db(white, 100, 0.9 * limit, rate)
    assert inside == pytest.approx(0, abs=0.1)
    above = limit + 10, 0.98 * rate / 2  # a few Hz for the window of the measurement
    assert band_db(samples, *above, rate) - band_db(white, *above, rate) < -70


def test_a_band_limit_above_the_nyquist_frequency_changes_nothing():
    clean = speech()
    np.testing.assert_array_equal(read(Recording(0, clean, band_limit=8000.0), RATE), clean)


def test_mu_law_is_that_of_libsndfile():
    samples = np.random.default_rng(0).uniform(-0.98, 0.98, 200000) ** 5
    samples = samples.astype(np.float32)
    file = streams.BytesIO()
    soundfile.write(file, samples, 8000, format="RAW", subtype="ULAW")
    file.seek(0)
    form = {"format": "RAW", "subtype": "ULAW", "channels": 1, "samplerate": 8000}
    expected, _ = soundfile.read(file, dtype="float32", **form)
    ours = read(Recording(0, samples, codec="telephone"), 8000)
    # Between two steps it may take either: libsndfile rounds to integers first.
    same = ours == expected
    assert same.mean() > 0.9 and set(np.abs(ours)) <= set(np.abs(expected))
    assert np.abs(ours - samples).max() <= np.abs(expected - samples).max() + 2**-15


def test_a_telephone_has_8_khz_and_steps_that_grow_with_the_samples():
    clean = speech(160000, level=0.3)
    samples = read(Recording(0, clean, codec="telephone"), RATE)
    assert band_db(samples, 4010, 8000) - band_db(samples, 100, 4000) < -60
    narrow = read(Recording(0, clean, band_limit=4000.0), RATE)
    assert 35 < power_db(narrow) - power_db(samples - narrow) < 42
    loud = read(Recording(0, clean, gain_db=30.0, codec="telephone"), 8000)
    assert np.abs(loud).max() == pytest.approx(32124 / 32768)


@pytest.mark.parametrize("codec", ["mp3", "ogg"])
def test_a_compressed_recording_is_near_the_original(codec):
    time = np.arange(3 * RATE) / RATE
    clean = sum(np.sin(2 * np.pi * 150 * k * time + k) / k for k in range(1, 20)) / 8
    clean = (clean * (1.1 + np.sin(7 * time))).astype(np.float32) / 2
    samples = read(Recording(0, clean, codec=codec), RATE)
    assert 10 < power_db(clean) - power_db(samples - clean) < 60


def test_bit_rates(monkeypatch):
    sizes = {}
    write = soundfile.write

    def spying(file, *args, **how):
        write(file, *args, **how)
        sizes[how["format"]] = len(file.getvalue())

    monkeypatch.setattr(soundfile, "write", spying)
    for codec in ("mp3", "ogg"):
        read(Recording(0, speech(20 * RATE), codec=codec), RATE)
    rates = {name: 8 * size / 20 / 1000 for name, size in sizes.items()}
    assert rates["MP3"] == pytest.approx(32, abs=0.5) and 20 < rates["OGG"] < 60


@pytest.mark.parametrize("codec", ["mp3", "ogg"])
def test_long_recordings_are_compressed_in_pieces(monkeypatch, codec):
    clean = speech(48000)
    whole = read(Recording(0, clean, codec=codec), RATE)
    monkeypatch.setattr(effects, "_PIECE", 1)
    pieces = read(Recording(0, clean, codec=codec), RATE)
    for k in range(3):
        one = read(Recording(0, clean[k * RATE : (k + 1) * RATE], codec=codec), RATE)
        np.testing.assert_array_equal(pieces[k * RATE : (k + 1) * RATE], one)
    assert power_db(whole - clean) == pytest.approx(power_db(pieces - clean), abs=3)


# -- gain, clipping, silence -----------------------------------------------------------------------


def test_clipping_comes_after_the_gain():
    clean = speech(level=0.3)
    loud = read(Recording(0, clean, gain_db=12.0), RATE)
    clipped = read(Recording(0, clean, gain_db=12.0, clip=True), RATE)
    np.testing.assert_array_equal(clipped, np.clip(loud, -1, 1))
    assert 0.001 < np.mean(np.abs(loud) > 1) < 0.2
    quiet = read(Recording(0, clean, gain_db=-20.0, clip=True), RATE)
    np.testing.assert_allclose(quiet, clean / 10, rtol=1e-6)


def test_a_telephone_hears_what_was_clipped():
    clean = speech(level=0.3)
    clipped = np.clip(clean * np.float32(4), -1, 1)
    how = {"gain_db": 20 * np.log10(4), "clip": True}
    np.testing.assert_allclose(
        read(Recording(0, clean, codec="telephone", **how), RATE),
        read(Recording(0, clipped, codec="telephone"), RATE),
        atol=0.04,  # one step
    )


@pytest.mark.parametrize("codec", [None, "mp3"])
def test_silence_at_the_ends_is_digital_and_comes_last(codec):
    clean = speech()
    how = {"codec": codec, "noise": "pink", "snr_db": 10.0, "seed": 1}
    plain = read(Recording(0, clean, **how), RATE)
    padded = read(Recording(0, clean, silence_before=2.0, silence_after=0.5, **how), RATE)
    assert not padded[:32000].any() and not padded[-8000:].any()
    np.testing.assert_array_equal(padded[32000:-8000], plain)
