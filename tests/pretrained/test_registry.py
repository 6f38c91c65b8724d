"""Registered weights: found, verified, compared with frames, and refused with a reason."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from sklearn_speechsent import SpeakerFeatureExtractor, UtteranceFrames
from sklearn_speechsent.pretrained import (
    REGISTRY,
    check_frame_settings,
    get_weights,
    has_weights,
    load_weights,
    weights_path,
)

NAME = "wespeaker-voxceleb-resnet34"


def frames_with(**frame_settings):
    return UtteranceFrames.from_arrays(
        [np.zeros((9, 80), np.float32)], frame_settings=frame_settings
    )


def test_entries_say_where_they_come_from():
    for name, entry in REGISTRY.items():
        assert entry.name == name
        assert entry.sha256 is None or len(entry.sha256) == 64
        assert entry.licence and entry.attribution
        assert all(url.startswith("https://") for url in entry.urls)
        assert not entry.shipped or (entry.sha256 and not entry.urls)
        assert entry.frame_settings["n_mels"] == entry.architecture["n_mels"]


@pytest.mark.parametrize("name", ["resnet", "", None, ["a"]])
def test_unknown_names_list_the_known_ones(name):
    with pytest.raises(ValueError, match=f"known: .*{NAME}"):
        get_weights(name)


def test_absent_weights_say_where_to_put_them(home):
    assert not has_weights(NAME)
    with pytest.raises(FileNotFoundError) as caught:
        SpeakerFeatureExtractor(NAME).fit(frames_with())
    message = str(caught.value)
    for part in (home / f"models/{NAME}.onnx", get_weights(NAME).sha256, "CC BY", "SPEECHSENT"):
        assert str(part) in message
    assert f"fetch_weights('{NAME}')" in message
    with pytest.raises(FileNotFoundError, match=r"fetch_weights\('.*-pt', sha256=\.\.\.\)"):
        load_weights(f"{NAME}-pt")


@pytest.mark.data
@pytest.mark.parametrize("damage", ["altered", "truncated", "empty"])
def test_damaged_weights_are_refused(data_home, monkeypatch, tmp_path, damage):
    source = weights_path(get_weights(NAME))
    monkeypatch.setenv("SPEECHSENT_DATA", str(tmp_path))
    path = weights_path(get_weights(NAME))
    path.parent.mkdir()
    shutil.copy(source, path)
    with path.open("r+b") as file:
        if damage == "altered":
            file.seek(1_000_000)
            byte = file.read(1)
            file.seek(1_000_000)
            file.write(bytes([byte[0] ^ 1]))
        else:
            file.truncate(5_000_000 if damage == "truncated" else 0)
    assert has_weights(NAME)
    with pytest.raises(ValueError, match=f"expected {get_weights(NAME).sha256}.*Replace it"):
        load_weights(NAME)
    shutil.copy(source, path)  # a repaired file is noticed within the process
    assert load_weights(NAME).state["conv1.weight"].shape == (32, 1, 3, 3)


@pytest.mark.data
def test_a_file_is_read_once_and_the_dict_is_new(data_home):
    first, second = load_weights(NAME).state, load_weights(NAME).state
    assert first is not second and first["conv1.weight"] is second["conv1.weight"]
    del first["conv1.weight"]
    assert "conv1.weight" in load_weights(NAME).state


def test_only_what_is_recorded_is_compared():
    entry = get_weights(NAME)
    check_frame_settings(entry, frames_with())
    check_frame_settings(entry, frames_with(cmn="utterance", sample_rate=16000, vad="energy"))
    with pytest.raises(ValueError, match=r"high_freq=7600.0.*Set MelFilterBank"):
        check_frame_settings(entry, frames_with(cmn="utterance", high_freq=7600.0))
    maps = UtteranceFrames.from_arrays([np.zeros((3, 32, 80))])
    with pytest.raises(ValueError, match=r"80 mel bins, got frames of shape \(32, 80\)"):
        check_frame_settings(entry, maps)


@pytest.mark.parametrize(
    ("wanted", "cmn", "says"),
    [
        ("utterance", None, r"CMN over the utterance, .*\(window=None\), these have no CMN"),
        (3.0, "utterance", r"CMN over 3\.0 s, SlidingCMN\(3\.0\), these have CMN over the utt"),
        (None, 3.0, r"with no CMN, these have CMN over 3\.0 s"),
    ],
)
def test_another_mean_normalisation_warns(wanted, cmn, says):
    entry = get_weights(NAME)
    entry = replace(entry, frame_settings={**entry.frame_settings, "cmn": wanted})
    with pytest.warns(UserWarning, match=says):
        check_frame_settings(entry, frames_with(cmn=cmn, sample_rate=16000))
