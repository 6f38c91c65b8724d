"""Files that are damaged, foreign or dangerous: refused with a reason, and never run."""

import os
import pickle
import re
import shutil
import zipfile

import pytest
import torch
from small_networks import FRAME_SETTINGS, SMALL, network, write_records

from sklearn_speechsent.pretrained import (
    build_network,
    get_weights,
    load_weights,
    save_weights,
    weights_path,
)

REGISTERED = "wespeaker-voxceleb-resnet34"


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_code_in_a_file_does_not_run(tmp_path, how):
    path, marker = tmp_path / "evil.pt", tmp_path / "it ran"
    content = {**network().state_dict(), "seg_1.bias": Payload(marker)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(Payload(marker)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(ValueError, match=r"evil\.pt.*(refused|cannot be read)") as caught:
        load_weights(path)
    assert not marker.exists()
    if how != "pickle":
        assert "mkdir" in str(caught.value) and "torch.save" in str(caught.value)
    assert len(str(caught.value)) < 700, "torch's wall of text"


@pytest.fixture
def files(tmp_path):
    """A good file of each format that can be written here."""
    torch.save(network().state_dict(), tmp_path / "net.pt")
    torch.save(network().state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_weights(
        tmp_path / "net.safetensors",
        network().state_dict(),
        architecture=SMALL,
        frame_settings=FRAME_SETTINGS,
    )
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["net.pt", "old.pth", "net.safetensors", pytest.param("net.onnx", marks=pytest.mark.data)],
)
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 0.999])
def test_truncated_files_are_refused(files, name, fraction, request):
    path = files / name
    if name == "net.onnx":
        request.getfixturevalue("data_home")
        shutil.copy(weights_path(get_weights(REGISTERED)), path)
    load_weights(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match=re.escape(name)) as caught:
        load_weights(path)
    assert re.search("Replace|Pass", str(caught.value)) and len(str(caught.value)) < 700


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".onnx"])
def test_files_of_another_kind_are_refused(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"<!DOCTYPE html><title>404 Not Found</title>" * 9)
    with pytest.raises(ValueError, match=rf"net\{suffix}.*cannot be read as .*Replace it"):
        load_weights(path)


def test_torchscript_is_refused(tmp_path):
    with torch.random.fork_rng(devices=[]):
        module = torch.nn.Linear(2, 2)
    torch.save(module.state_dict(), tmp_path / "script.pt")
    with zipfile.ZipFile(tmp_path / "script.pt", "a") as archive:  # as torch.jit.save marks it
        archive.writestr("script/constants.pkl", b"\x80\x02).")
    with pytest.raises(ValueError, match=r"script\.pt"):
        load_weights(tmp_path / "script.pt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "holds a list, not a dict of tensors"),
        ({"epoch": 3, "state_dict": {}}, "has a int under 'epoch'.*network.state_dict"),
        ({"state_dict": {"a": torch.ones(1)}}, "has a OrderedDict|has a dict under 'state_dict'"),
        ({}, "no 'conv1.weight'"),
        ({"fc.weight": torch.ones(2, 2)}, "no 'conv1.weight', but 'fc.weight'"),
        ({"conv1.weight": torch.ones(3)}, r"'conv1.weight' has shape \(3,\)"),
    ],
)
def test_torch_files_that_hold_something_else(tmp_path, content, says):
    torch.save(content, tmp_path / "else.pt")
    with pytest.raises(ValueError, match=rf"else\.pt.*({says})"):
        load_weights(tmp_path / "else.pt")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seg_1.weight": None}, "has no 'seg_1.weight'"),
        ({"seg_1.weight": torch.ones(6, 7)}, "takes 7 values, not a multiple"),
        ({"layer2.0.conv2.weight": None}, "residual blocks are not layer1.0"),
        ({"layer1.0.conv2.weight": torch.tensor(1.0)}, "residual blocks are not layer1.0"),
        ({"seg_1.weight": torch.ones(0, 96)}, r"'seg_1.weight' has shape \(0, 96\)"),
    ],
)
def test_networks_of_another_layout(tmp_path, changes, says):
    state = {**network().state_dict(), **changes}
    torch.save({k: v for k, v in state.items() if v is not None}, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=rf"net\.pt.*({says})"):
        build_network(load_weights(tmp_path / "net.pt"))


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ("{", "the metadata 'sklearn_speechsent' are not JSON .*save_weights"),
        ({"architecture": {}}, "must state n_mels, widths"),
        ({"architecture": "SpeakerResNet"}, "must state n_mels, widths.*got 'SpeakerResNet'"),
        ({"architecture": {**SMALL, "classes": 2}}, "must state n_mels, widths, .*nothing else"),
        ({"architecture": {**SMALL, "widths": 4}}, "widths must be positive integers"),
        ({"architecture": {**SMALL, "n_mels": -1}}, "n_mels must be a positive int"),
        ({"architecture": {**SMALL, "n_mels": 24.0}}, "n_mels must be a positive int"),
        ({"architecture": {**SMALL, "widths": [4]}}, "differ in length"),
        ({"frame_settings": [1]}, "must state n_mels and cmn"),
        ({"frame_settings": {"n_mels": 24}}, "must state n_mels and cmn"),
        ({"kind": "cat"}, "holds a cat and not a speaker network"),
        ({"kind": ["speaker network"]}, r"holds a \['speaker network'\] and not a speaker"),
    ],
)
def test_records_that_make_no_sense(tmp_path, records, says):
    good = {"architecture": SMALL, "frame_settings": FRAME_SETTINGS, "extra": {}}
    path = tmp_path / "net.safetensors"
    write_records(path, network().state_dict(), good)
    build_network(load_weights(path))
    if isinstance(records, dict):
        records = {**good, **records}
    write_records(path, network().state_dict(), records)
    with pytest.raises(ValueError, match=rf"net\.safetensors.*{says}"):
        load_weights(path)


@pytest.mark.parametrize("records", ["[]", "null", '"text"', {"kind": None}, {"extra": [1]}])
def test_records_that_are_not_there(tmp_path, records):
    write_records(tmp_path / "net.safetensors", network().state_dict(), records)
    weights = load_weights(tmp_path / "net.safetensors")
    assert weights.architecture == SMALL and weights.extra == {}


@pytest.mark.parametrize("source", ["resnet", "", None, 3, "net.ckpt", ["a"]])
def test_sources_that_are_neither_name_nor_path(source):
    with pytest.raises(ValueError, match=rf"known: .*{REGISTERED}.*\.onnx, \.pt, \.pth or \.safe"):
        load_weights(source)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"net\.pt does not exist\. Pass the path"):
        load_weights(tmp_path / "net.pt")
    (tmp_path / "net.pt").mkdir()
    with pytest.raises(FileNotFoundError, match=r"net\.pt is a folder"):
        load_weights(str(tmp_path / "net.pt"))
