"""Layers of a speech encoder as a step: definition, store, invariances, pieces, errors."""

import pickle
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from encoders import as_openai, assert_same_layers, assert_the_same_however_asked, random_encoder
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch.exceptions import DeviceWarning

from sklearn_speechsent import SpeechEncoder
from sklearn_speechsent.features import pool_statistics
from sklearn_speechsent.frames.no_speech import NoSpeechWarning
from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.speech import encoder as encoder_module
from sklearn_speechsent.speech.layers import LayersFunction, without_ends
from sklearn_speechsent.speech.log_mel import whisper_log_mel


def noise(seconds, seed=0, scale=0.1):
    rng = np.random.default_rng(seed)
    return rng.normal(scale=scale, size=round(16000 * seconds)).astype(np.float32)


@pytest.fixture
def sounds():
    """Sounds of unequal length, the last of which takes four pieces of two seconds at most."""
    return [noise(0.5, 0), noise(1.9, 1), noise(0.03, 2), noise(6.5, 3)]


@pytest.fixture
def runs(monkeypatch):
    """Frames of each run of the network."""
    lengths, layers = [], WhisperEncoder.layers

    def counting(self, frames):
        lengths.append(frames.shape[1])
        return layers(self, frames)

    monkeypatch.setattr(WhisperEncoder, "layers", counting)
    return lengths


def by_hand(sound, layers):
    """Positions of a sound of one piece."""
    frames = torch.from_numpy(whisper_log_mel([sound]))[None]
    network = random_encoder().half().float()  # as the file holds it
    with torch.inference_mode():
        return network(frames, layers)[0].numpy()


def test_a_row_is_the_statistics_of_the_layers(model, sounds):
    encoder = SpeechEncoder(model, layers=(3, 1), statistics=("mean", "std", "thirds"))
    table = encoder.fit_transform(sounds[:2])
    assert table.shape == (2, 2 * 5 * 64) and table.dtype == np.float32
    for row, sound in zip(table, sounds, strict=False):
        maps = by_hand(sound, [3, 1])
        expected = np.concatenate(
            [
                pool_statistics(maps[:, place], statistics=("mean", "std", "thirds"))
                for place in range(2)
            ]
        )
        assert np.abs(row - expected).max() <= 1e-5 * np.abs(expected).max()
    names = encoder.get_feature_names_out()
    assert len(names) == table.shape[1] and len(set(names)) == len(names)
    assert names[0] == "layer3_mean_000" and names[-1] == "layer1_end_063"


def test_frames_go_to_a_network(model, sounds):
    frames = SpeechEncoder(model, layers=[2, 0], pooling=None, dtype="float16").fit_transform(
        sounds
    )
    assert frames.lengths.tolist() == [25, 95, 2, 325] and frames[0].dtype == np.float16
    assert frames.frame_settings["frame_shift"] == 0.02 and frames[0].shape == (25, 2, 64)
    assert np.abs(frames[1] - by_hand(sounds[1], [2, 0])).max() < 0.01
    encoder = SpeechEncoder(model, layers=[2, 0], pooling=None)
    assert not hasattr(encoder.fit(sounds), "get_feature_names_out")


def test_long_recordings_are_pieces_of_nearly_equal_length(model, sounds, runs):
    frames = SpeechEncoder(model, layers=[3], pooling=None).fit_transform(sounds[3:])
    assert runs == [162, 162, 164, 162]  # of the 200 that there are positions for
    mel = torch.from_numpy(whisper_log_mel([sounds[3]]))
    network = random_encoder().half().float()
    with torch.inference_mode():
        parts = [network(part[None], [3])[0, :, 0] for part in mel.split(runs[:4])]
    expected = torch.cat(parts).numpy()
    assert np.abs(frames[0][:, 0] - expected).max() <= 1e-5 * np.abs(expected).max()
    table = SpeechEncoder(model, layers=[3]).fit_transform(sounds[3:])
    assert np.allclose(table[0], expected.mean(0), atol=1e-5)


@pytest.mark.parametrize("pooling", ["stats", None])
def test_alone_shuffled_in_threads_and_from_a_store_it_is_the_same(
    model, sounds, pooling, tmp_path
):
    encoder = SpeechEncoder(model, pooling=pooling, layers=(1, 2))
    assert_the_same_however_asked(encoder, sounds, tmp_path)


def test_a_search_over_layers_runs_the_encoder_once(model, runs, tmp_path):
    sounds = [noise(0.3, seed) for seed in range(6)]
    y = [0, 1] * 3
    pipeline = make_pipeline(
        SpeechEncoder(model, n_blocks=3, memory=tmp_path), LogisticRegression()
    )
    grid = {"speechencoder__layers": [(0,), (1, 2), (3, 0)]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(sounds, y)
    assert len(runs) == 6 and np.isfinite(search.cv_results_["mean_test_score"]).all()
    one = SpeechEncoder(model, layers=(3, 0)).fit_transform(sounds)
    assert np.array_equal(
        search.estimator.set_params(speechencoder__layers=(3, 0))[0].fit_transform(sounds), one
    )
    SpeechEncoder(model, layers=(1,), memory=tmp_path).fit_transform(sounds)
    assert len(runs) == 18  # without n_blocks, up to the highest layer


def test_two_days_of_speech_take_300_megabytes_at_most(tmp_path):
    file, folder, n = tmp_path / "base.pt", tmp_path / "features", 100
    torch.save(as_openai(random_encoder(width=512)), file)  # as Whisper base, up to block 4
    SpeechEncoder(file, layers=(3, 4), memory=folder).fit_transform(
        [noise(0.03, seed) for seed in range(n)]
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    # CMU-MOSEI: 48 hours in 22,850 segments. All layers are there, from 0 to 4.
    assert 5 * 512 * 4 < size / n <= 300e6 / 22_850


def test_silence_at_the_ends_changes_nothing(model):
    sound = noise(1.2)
    sound[5000:12000] = 0.0  # silence inside is part of the recording
    silence = np.zeros(32000, np.float32)
    variants = [
        sound,
        np.concatenate([silence, sound]),
        np.concatenate([sound, silence[:777]]),
        np.concatenate([silence[:1], sound, silence]),
    ]
    table = SpeechEncoder(model).fit_transform(variants)
    assert np.array_equal(table, table[[0]].repeat(4, axis=0))
    shorter = np.concatenate([sound[:5000], sound[12000:]])
    assert not np.allclose(SpeechEncoder(model).fit_transform([shorter]), table[:1], atol=1e-3)


@pytest.mark.parametrize("cuts", [[], [5], [10, 20, 30], [29, 31], range(1, 60)])
def test_zeros_are_left_out_wherever_blocks_end(cuts):
    sound = np.zeros(60, np.float32)
    sound[[20, 29, 41]] = 1.0
    found = np.concatenate(list(without_ends(np.split(sound, cuts))))
    assert np.array_equal(found[:22], sound[20:42])
    assert len(found) == 400 and not found[22:].any()  # one frame at least


def test_level_normalisation_takes_gain_away(model):
    sound = noise(1.0, scale=0.02)
    gains = np.float32([1.0, 0.1, 10.0])
    plain = SpeechEncoder(model).fit_transform([sound * gain for gain in gains])
    level = SpeechEncoder(model, normalize="level").fit_transform([sound * gain for gain in gains])
    assert np.abs(level - level[0]).max() < 1e-3 < 0.05 < np.abs(plain - plain[0]).max()


def test_rows_that_cannot_be_used(model, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    X = pd.DataFrame({"file": [noise(0.2), bad, np.zeros(4000, np.float32)]}, index=[5, 6, 7])
    with pytest.raises(ValueError, match=r"bad\.wav"):
        SpeechEncoder(model).fit(X)
    encoder = SpeechEncoder(model, on_error="nan").set_output(transform="pandas")
    with (
        pytest.warns(NoSpeechWarning, match="1 of 3 recordings are silent"),
        pytest.warns(UserWarning, match="1 of 3 recordings were kept as NaN"),
    ):
        table = encoder.fit_transform(X)
    assert table.index.tolist() == [5, 6, 7]
    assert table.isna().all(axis=1).tolist() == [False, True, True]
    with pytest.warns(NoSpeechWarning):
        SpeechEncoder(model).fit_transform(X.iloc[[0, 2]])
    with pytest.raises(ValueError, match="shorter"):
        SpeechEncoder(model).fit(np.ones((2, 100)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layers": (1, 5)}, "has 4 blocks: layer 5 does not exist"),
        ({"layers": ()}, r"layers=\(\) must be one or more"),
        ({"layers": (1, 1)}, "different whole numbers"),
        ({"layers": (-1,)}, "different whole numbers from 0"),
        ({"layers": (2,), "n_blocks": 1}, r"n_blocks=1, but layers=\(2,\) needs 2"),
        ({"statistics": ("median",)}, "must name one or more of"),
        ({"model": "whisper-huge"}, "no pre-trained weights named 'whisper-huge'; known: whisper-"),
        ({"model": "speechsent-seresnet"}, "is a speaker network and not a speech encoder"),
        ({"normalize": "loud"}, "normalize"),
        ({"precision": "float16"}, "precision"),
    ],
)
def test_wrong_parameters(model, params, message):
    with pytest.raises(ValueError, match=message):
        SpeechEncoder(**{"model": model, **params}).fit([noise(0.1)])


def test_missing_weights_name_the_command(home):
    SpeechEncoder()  # never an error of __init__
    with pytest.raises(FileNotFoundError, match=r"fetch_weights\('whisper-base'\)") as caught:
        SpeechEncoder().fit([noise(0.1)])
    assert 'make_sentiment_pipeline("small")' in str(caught.value)


def test_a_fitted_encoder_needs_no_file(tmp_path, sounds):
    path = tmp_path / "encoder.pt"
    torch.save(as_openai(random_encoder()), path)
    encoder = SpeechEncoder(path).fit(sounds)
    expected = encoder.transform(sounds)
    path.unlink()
    joblib.dump(encoder, tmp_path / "encoder.joblib")
    assert np.array_equal(joblib.load(tmp_path / "encoder.joblib").transform(sounds), expected)
    assert np.array_equal(pickle.loads(pickle.dumps(encoder)).transform(sounds), expected)


def test_bfloat16_is_close(model, sounds):
    plain = SpeechEncoder(model).fit_transform(sounds)
    rough = SpeechEncoder(model, precision="bfloat16").fit_transform(sounds)
    assert 0 < np.linalg.norm(rough - plain) < 0.02 * np.linalg.norm(plain)


def test_real_speech_through_the_real_encoder(data_home):
    from sklearn_speechsent.pretrained import build_encoder, load_encoder_weights

    path = sorted((data_home / "ami_excerpts").glob("*.flac"))[0]
    weights = load_encoder_weights("whisper-base")
    assert weights.extra["licence"] == "MIT"
    sound = np.pad(noise(2), (0, 480000 - 32000))
    network = build_encoder(weights)
    assert_same_layers(network, torch.from_numpy(whisper_log_mel([sound]))[None])
    table = SpeechEncoder(n_jobs=2).fit_transform([path, path])
    assert table.shape == (2, 1536) and np.array_equal(*table) and np.isfinite(table).all()


# -- devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "gpu"])
def test_a_device_that_is_not_there(model, sounds, name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    encoder = SpeechEncoder(model).fit(sounds)
    with pytest.raises(ValueError, match=rf"device='{name}' cannot be used.*device='cpu'"):
        clone(encoder).set_params(device=name).fit(sounds)
    expected = encoder.transform(sounds)
    there = pickle.loads(pickle.dumps(encoder.set_params(device=name)))
    with pytest.warns(DeviceWarning, match="processor is used instead"):
        assert np.array_equal(there.transform(sounds), expected)


@pytest.mark.parametrize("n_jobs", [None, 3])
def test_recordings_are_read_ahead_for_a_device(model, sounds, n_jobs, monkeypatch):
    """In their order, silence and errors among them; the network of the estimator stays."""
    encoder = SpeechEncoder(model, on_error="nan", n_jobs=n_jobs).fit(sounds)
    rows = encoder._rows([*sounds, np.zeros(9000, np.float32), *sounds], reset=False)
    rows.recordings[1] = replace(rows.recordings[1], source="nowhere.wav")
    expected = list(encoder._function(rows)(rows.recordings))
    monkeypatch.setattr(encoder_module, "usable_device", torch.device)
    function = encoder.set_params(device="meta")._function(rows)
    assert next(function.placed.parameters()).device.type == "meta"
    assert next(encoder.network_.parameters()).device.type == "cpu"
    runs = LayersFunction._run
    here = encoder.set_params(device="cpu")._function(rows)
    monkeypatch.setattr(LayersFunction, "_run", lambda self, given: runs(here, given))
    for one, other in zip(function(rows.recordings), expected, strict=True):
        assert type(one) is type(other)
        if not isinstance(one, Exception):
            np.testing.assert_array_equal(one, other)
    assert sum(isinstance(one, Exception) for one in expected) == 1
