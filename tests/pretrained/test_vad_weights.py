"""Voice activity detectors: read back as they were saved, or refused with a reason."""

import os
import pickle
import re

import numpy as np
import pytest
import safetensors.torch
import torch
from small_networks import (
    FRAME_SETTINGS,
    SMALL,
    VAD,
    VAD_FRAME_SETTINGS,
    network,
    unet,
    write_records,
)

from sklearn_speechsent.nn import SpeechUNet
from sklearn_speechsent.pretrained import (
    build_vad,
    load_vad_weights,
    load_weights,
    registry,
    save_vad_weights,
    save_weights,
)

NAME = "speechsent-unet-vad"
RECORDS = {
    "kind": "voice activity detector",
    "architecture": VAD,
    "frame_settings": VAD_FRAME_SETTINGS,
}


def save(path, net=None, **changes):
    arguments = {"architecture": VAD, "frame_settings": VAD_FRAME_SETTINGS, **changes}
    state = arguments.pop("state", None)
    return save_vad_weights(
        path, (net or unet()).state_dict() if state is None else state, **arguments
    )


def score(net):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(2, 40, 12))).float()
    with torch.inference_mode():
        return net(x, torch.tensor([25, 40]))


def test_they_read_back_identically(tmp_path):
    extra = {"licence": "CC BY 4.0", "miss": np.float64(0.25)}
    path = save(tmp_path / "new" / "mine.safetensors", extra=extra)
    weights = load_vad_weights(path)
    assert weights.architecture == VAD and weights.extra == extra
    assert weights.frame_settings == {**VAD_FRAME_SETTINGS, "cmn": None}
    assert weights.name == str(path) and len(weights.sha256) == 64
    built = build_vad(weights)
    assert not built.training and torch.equal(score(built), score(unet()))
    assert os.listdir(path.parent) == ["mine.safetensors"]
    with torch.no_grad():
        built.head.bias.add_(1)
    assert torch.equal(score(build_vad(load_vad_weights(path))), score(unet()))


def test_files_of_half_the_size_compute_in_float32(tmp_path):
    whole = save(tmp_path / "whole.safetensors")
    halves = {k: v.half() if v.is_floating_point() else v for k, v in unet().state_dict().items()}
    half = save(tmp_path / "half.safetensors", state=halves)
    assert safetensors.torch.load_file(half)["head.bias"].dtype == torch.float16
    assert half.stat().st_size < whole.stat().st_size
    built = build_vad(load_vad_weights(half))
    assert {p.dtype for p in built.parameters()} == {torch.float32}
    assert built.down[0][0].bn.num_batches_tracked.dtype == torch.int64
    torch.testing.assert_close(score(built), score(unet()), atol=5e-3, rtol=5e-3)


def test_the_shipped_detector_fits_the_default_front_end():
    weights = load_vad_weights(NAME)
    assert weights.name == NAME and weights.frame_settings["cmn"] is None
    assert weights.frame_settings["n_mels"] == 80
    assert weights.frame_settings["sample_rate"] == 16000
    assert isinstance(build_vad(weights), SpeechUNet)


def test_speaker_networks_and_detectors_are_not_mixed_up(tmp_path):
    speaker = save_weights(
        tmp_path / "speaker.safetensors",
        network().state_dict(),
        architecture=SMALL,
        frame_settings=FRAME_SETTINGS,
    )
    with pytest.raises(ValueError, match=r"speaker\.safetensors does not say .*speaker network"):
        load_vad_weights(speaker)
    detector = save(tmp_path / "vad.safetensors")
    with pytest.raises(ValueError, match=r"vad\.safetensors holds a voice activity detector and"):
        load_weights(detector)
    with pytest.raises(ValueError, match="'speechsent-seresnet' is a speaker network and not a"):
        load_vad_weights("speechsent-seresnet")
    with pytest.raises(ValueError, match=f"'{NAME}' is a voice .* known: .*speechsent-seresnet"):
        load_weights(NAME)


@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path, fraction):
    path = save(tmp_path / "net.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match=r"net\.safetensors.*cannot be read as.*Replace it"):
        load_vad_weights(path)


def test_code_in_a_file_does_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "it ran"),)

    for name in ("evil.safetensors", "evil.pt"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload()))
        with pytest.raises(ValueError, match=r"cannot be read|no pre-trained weights named"):
            load_vad_weights(tmp_path / name)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ("{", "the metadata 'sklearn_speechsent' are not JSON .*save_vad_weights"),
        ("[]", "does not say that it holds a voice activity detector"),
        ({"kind": None}, r"does not say that it holds a voice activity detector.*Pass"),
        ({"kind": "speaker network"}, "holds a speaker network and not a voice"),
        ({"kind": {"a": 1}}, r"holds a \{'a': 1\} and not a voice"),
        ({"architecture": None}, "must state n_mels, widths, and nothing else; got None"),
        ({"architecture": {"n_mels": 12}}, "must state n_mels, widths"),
        ({"architecture": {"n_mels": 12, "widths": []}}, "widths must be positive"),
        ({"architecture": {"n_mels": True, "widths": [4]}}, "n_mels must be a pos"),
        ({"frame_settings": None}, "must state n_mels and cmn"),
        ({"frame_settings": [1]}, "must state n_mels and cmn"),
        ({"frame_settings": {"n_mels": 80}}, "n_mels=80, the network n_mels=12"),
        ({"frame_settings": {"n_mels": 12, "cmn": 3.0}}, "needs the loudness.*cmn=3.0"),
    ],
)
def test_records_that_make_no_sense(tmp_path, records, says):
    path = tmp_path / "net.safetensors"
    write_records(path, unet().state_dict(), RECORDS)
    build_vad(load_vad_weights(path))
    if isinstance(records, dict):
        records = {**RECORDS, **records}
    write_records(path, unet().state_dict(), records)
    with pytest.raises(ValueError, match=rf"net\.safetensors.*{says}"):
        load_vad_weights(path)


def test_tensors_of_another_network_are_not_built(tmp_path):
    huge = {"n_mels": 12, "widths": [4, 10**7]}  # more than any memory
    path = tmp_path / "net.safetensors"
    write_records(path, unet().state_dict(), {**RECORDS, "architecture": huge})
    says = r"net\.safetensors does not fit .*has shape \(8, 4, 1, 5\).*SpeechUNet\(n_mels=12, wid"
    with pytest.raises(ValueError, match=says):
        build_vad(load_vad_weights(path))


@pytest.mark.parametrize("source", ["unet", "", None, 3, "net.pt", ["a"]])
def test_sources_that_are_neither_name_nor_path(source):
    with pytest.raises(ValueError, match=rf"known: {NAME}.*suffix \.safetensors"):
        load_vad_weights(source)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"net\.safetensors does not exist.*{NAME}"):
        load_vad_weights(tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(FileNotFoundError, match=r"net\.safetensors is a folder"):
        load_vad_weights(str(tmp_path / "net.safetensors"))


def test_an_incomplete_or_damaged_installation(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_PACKAGE", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ship with .*Please reinstall the package"):
        load_vad_weights(NAME)
    path = registry.weights_path(registry.get_weights(NAME))
    path.parent.mkdir(parents=True)
    save(path)
    with pytest.raises(ValueError, match=r"sha256 .*another one\. Please reinstall the package"):
        load_vad_weights(NAME)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"path": "net.pt"}, ValueError, "must end in .safetensors"),
        ({"architecture": {"n_mels": 12}}, ValueError, "must state n_mels, widths"),
        (
            {"architecture": {"n_mels": 12, "widths": (4, 9)}},
            ValueError,
            r"network_state does not fit .*'down.1.0.conv.weight' has shape \(8, 4, 1, 5\), exp",
        ),
        ({"frame_settings": {"sample_rate": 8000}}, ValueError, "must state n_mels"),
        (
            {"frame_settings": {**VAD_FRAME_SETTINGS, "n_mels": 80}},
            ValueError,
            "n_mels=80, the network n_mels=12",
        ),
        ({"frame_settings": {**VAD_FRAME_SETTINGS, "cmn": "utterance"}}, ValueError, "loudness"),
        (
            {"frame_settings": {**VAD_FRAME_SETTINGS, "window": object()}},
            TypeError,
            "frame_settings holds a object",
        ),
        ({"extra": {"a": object()}}, TypeError, "extra holds a object"),
        ({"state": {"a": 1}}, ValueError, "has a int under 'a'"),
    ],
)
def test_detectors_that_cannot_be_saved(tmp_path, changes, error, says):
    changes = dict(changes)
    with pytest.raises(error, match=says):
        save(tmp_path / changes.pop("path", "net.safetensors"), **changes)
    assert os.listdir(tmp_path) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(tmp_path / "net.safetensors")
    before = path.read_bytes()

    def failing(*args):
        raise OSError("no more space")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match=re.escape("no more space")):
        save(path, unet(1))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net.safetensors"]
