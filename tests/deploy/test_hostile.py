"""Attacks by bundles: each is refused with an error, runs nothing and writes nothing."""

import io
import json
import os
import stat
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from sklearn_speechsent import load_model, save_model
from sklearn_speechsent.deploy import BundleError
from sklearn_speechsent.deploy import bundle as bundle_module

ARRAYS, PIPELINE, MANIFEST = "arrays.safetensors", "pipeline.json", "manifest.json"
KERNEL = "model.shared.steps.supportkernel.rows_"
SCALER = "model.shared.steps.standardscaler"
COEF = "model.thresholds.0.coef_"


def at(value, *path):
    for key in path:
        value = value[key]
    return value


def tree(*path, **changes):
    """Attack that changes JSON of the tree at a path."""

    def attack(bundle, tmp_path):
        return bundle.change(PIPELINE, lambda value: at(value, *path).update(changes)).path

    return attack


def manifest(**changes):
    """Attack that changes fields of the manifest."""

    def attack(bundle, tmp_path):
        return bundle.change(MANIFEST, lambda value: value.update(changes)).path

    return attack


def arrays(function, metadata=None):
    """Attack that changes the tensors."""

    def attack(bundle, tmp_path):
        return bundle.arrays(function, metadata).path

    return attack


def raw(name, function):
    """Attack that changes the bytes of a file and seals the bundle again."""

    def attack(bundle, tmp_path):
        bundle[name] = function(bundle[name])
        return (bundle if name == MANIFEST else bundle.seal()).path

    return attack


def unsealed(name, function):
    """Attack that changes the bytes of a file and leaves its checksum."""

    def attack(bundle, tmp_path):
        bundle[name] = function(bundle[name])
        return bundle.path

    return attack


def header(function):
    """Attack that changes the header of the tensors, as text."""

    def change(content):
        size = int.from_bytes(content[:8], "little")
        text = function(content[8 : 8 + size].decode())
        return struct.pack("<Q", len(text)) + text.encode() + content[8 + size :]

    return raw(ARRAYS, change)


def zipped(**settings):
    """Attack by a zip file of the four files with these settings."""
    return lambda bundle, tmp_path: bundle.zipped(tmp_path / "x.zip", **settings)


def with_member(name, content=b"x", **attributes):
    """Attack by a zip file that has one more or another member."""

    def attack(bundle, tmp_path):
        path = bundle.zipped(tmp_path / "x.zip")
        with zipfile.ZipFile(path, "a") as archive:
            member = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(member, key, value)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *args, **kwargs: None)
                archive.writestr(member, content)
        return path

    return attack


def renamed(old, new):
    """Attack by a zip file in which one member has another name of the same length."""

    def attack(bundle, tmp_path):
        path = bundle.zipped(tmp_path / "x.zip")
        path.write_bytes(path.read_bytes().replace(old, new))
        return path

    return attack


def patched_zip(function):
    """Attack that changes the bytes of a zip file."""

    def attack(bundle, tmp_path):
        path = bundle.zipped(tmp_path / "x.zip")
        path.write_bytes(function(bytearray(path.read_bytes())))
        return path

    return attack


def directory_field(offset, value, size=4):
    """Change of a number in the first entry of a zip file's directory."""

    def change(content):
        start = content.index(b"PK\x01\x02")
        content[start + offset : start + offset + size] = value.to_bytes(size, "little")
        return content

    return patched_zip(change)


def bomb(bundle, tmp_path):
    """Zip file whose arrays are a gigabyte of zeros, compressed."""
    path = bundle.zipped(tmp_path / "x.zip", names=(MANIFEST, PIPELINE, "README.md"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(ARRAYS, "w") as file:
            for _ in range(64):
                file.write(bytes(2**20))
    return path


def overlapping(bundle, tmp_path):
    """Zip file whose four entries are the same bytes."""
    path = bundle.zipped(tmp_path / "x.zip")
    content = bytearray(path.read_bytes())
    for place in [k for k in range(len(content)) if content[k : k + 4] == b"PK\x01\x02"]:
        content[place + 42 : place + 46] = bytes(4)
    path.write_bytes(content)
    return path


def link(name):
    """Attack by a folder in which a file is a link to another one."""

    def attack(bundle, tmp_path):
        (tmp_path / "elsewhere").write_bytes(bundle[name])
        (bundle.path / name).unlink()
        (bundle.path / name).symlink_to(tmp_path / "elsewhere")
        return bundle.path

    return attack


def pipe(bundle, tmp_path):
    (bundle.path / ARRAYS).unlink()
    os.mkfifo(bundle.path / ARRAYS)
    return bundle.path


def nested(bundle, tmp_path):
    node = json.loads(bundle[PIPELINE])
    for _ in range(30):
        node = {"class": "Pipeline", "params": {"steps": [["a", node]]}, "state": {}}
    bundle[PIPELINE] = json.dumps(node).encode()
    return bundle.seal().path


def set_array(name, function):
    def change(tensors):
        tensors[name] = function(tensors[name])

    return arrays(change)


def put(value, index):
    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[index] = value
        return tensor

    return change


SHARED = ("state", "shared", "params", "steps")
FIRST = ("state", "thresholds", 0)
ATTACKS = {
    # Classes and parameters.
    "a class by import name": (tree(**{"class": "os.system"}), "not one that a bundle may hold"),
    "a class of scikit-learn": (tree(**{"class": "HistGradientBoostingClassifier"}), "may hold"),
    "a builtin": (tree(**{"class": "eval"}), "may hold"),
    "a class that is no text": (tree(**{"class": ["Pipeline"]}), "may hold"),
    "an unknown parameter": (
        tree("params", evil=1),
        "parameters .*evil.* are not those",
    ),
    "a parameter of a machine": (tree("params", n_jobs=10**6), "n_jobs"),
    "a path to write to": (tree("params", memory="/tmp/evil"), "memory"),
    "a parameter of another type": (tree("params", C="10"), "'C' parameter"),
    "a parameter out of range": (tree("params", C=-1.0), "'C' parameter"),
    "a huge number": (tree("params", C=1e300), "is not a parameter"),
    "a parameter that is an object": (tree("params", C={"class": "x"}), "is not a parameter"),
    "levels that are alike": (
        tree("state", levels_={"kind": "int64", "values": [0, 0, 1]}),
        "may be alike",
    ),
    "levels without an order": (
        tree("state", levels_={"kind": "int64", "values": [1, 0, -1]}),
        "levels in order",
    ),
    "levels of another type": (
        tree("state", levels_={"kind": "text", "values": [0, 1, 2]}),
        "not of type text",
    ),
    "one level more": (
        tree("state", levels_={"kind": "int64", "values": [-1, 0, 1, 2]}),
        "2 thresholds for 4 levels",
    ),
    "an attribute more": (tree("state", __class__="x"), "the state of OrdinalClassifier is"),
    "no state": (tree(state=None), "the state of OrdinalClassifier is"),
    "no kernel": (tree("state", shared=None), "arrays that nothing uses"),
    "a threshold of another class": (tree(*FIRST, **{"class": "Ridge"}), "not those of Ridge"),
    "state of what is not fitted": (
        tree(*FIRST, "params", "machine", state={"support_": [0]}),
        "has no state",
    ),
    "libsvm": (tree(*FIRST, **{"class": "SVC", "params": {}, "state": {}}), "sums of it"),
    "estimators in estimators": (nested, "too deep"),
    "a step twice": (
        lambda bundle, tmp_path: (
            bundle.change(PIPELINE, lambda v: at(v, *SHARED).append(at(v, *SHARED)[0])).path
        ),
        "not different names|read before",
    ),
    # Arrays.
    "another shape": (set_array(KERNEL, lambda t: t[:-1]), "stored array has type"),
    "another shape, described": (
        lambda bundle, tmp_path: (
            bundle.change(
                PIPELINE,
                lambda v: at(v, *SHARED)[-1][1]["state"]["rows_"].update(shape=[1, 4]),
            )
            .arrays(lambda t: t.update({KERNEL: t[KERNEL][:1].clone()}))
            .path
        ),
        "takes \\d+ values, and 1 come|fit",
    ),
    "another type": (set_array(KERNEL, lambda t: t.to(torch.int64)), "stored array has type"),
    "an array of bytes": (set_array(COEF, lambda t: t.to(torch.uint8)), "stored array has type"),
    "NaN": (set_array(COEF, put(np.nan, 3)), "finite"),
    "infinity": (set_array(COEF, put(-np.inf, 0)), "finite"),
    "a scale of zero": (set_array(f"{SCALER}.scale_", put(0.0, 0)), "finite numbers from"),
    "a negative variance": (set_array(f"{SCALER}.var_", put(-1.0, 0)), "finite numbers from"),
    "an array less": (arrays(lambda t: t.pop(COEF)), "missing"),
    "an array more": (arrays(lambda t: t.update(evil=torch.ones(2))), "nothing uses.*evil"),
    "an empty kernel": (
        set_array(KERNEL, lambda t: t[:0].clone()),
        "stored array has type",
    ),
    "other coefficients": (set_array(COEF, lambda t: -t), "generated input 0"),
    "more metadata": (arrays(lambda t: None, {"format": "x", "more": "y"}), "metadata"),
    "a size that lies": (header(lambda text: text.replace("[0,", "[8,", 1)), "cannot be read"),
    "an offset beyond the end": (
        header(lambda text: text.replace("[0,", "[999999999999,", 1)),
        "cannot be read",
    ),
    "a key twice": (
        header(lambda text: text.replace("{", '{"a":1,"a":2,', 1)),
        "a key is there twice",
    ),
    "a header without end": (raw(ARRAYS, lambda c: b"\xff" * 8 + c[8:]), "header of"),
    "no tensors": (raw(ARRAYS, lambda c: b""), "header of"),
    "a pickle": (raw(ARRAYS, lambda c: b"\x80\x04cos\nsystem\n(S'true'\ntR."), "header of"),
    # JSON.
    "JSON that is too deep": (raw(PIPELINE, lambda c: b"[" * 100_000), "cannot be read"),
    "no JSON": (raw(PIPELINE, lambda c: b"\x80\x04."), "cannot be read"),
    "NaN in JSON": (raw(PIPELINE, lambda c: c.replace(b"null", b"NaN", 1)), "no number"),
    "a number without end": (raw(PIPELINE, lambda c: b"9" * 5000), "cannot be read"),
    "too much JSON": (raw(PIPELINE, lambda c: c + b" " * 2**23), "at most are read"),
    # Manifest and card.
    "another format": (manifest(format=2), "format 2.*Upgrade"),
    "no format": (manifest(format=None), "states no format"),
    "a format that is no number": (manifest(format=True), "states no format"),
    "a field more": (manifest(evil=1), "does not have its fields.*evil"),
    "a manifest of another kind": (raw(MANIFEST, lambda c: b"[]"), "states no format"),
    "no checksums": (
        raw(MANIFEST, lambda c: c.replace(b'"sha256": "', b'"sha256": "0')),
        "checksum is another one",
    ),
    "an altered file": (unsealed(PIPELINE, lambda c: c + b" "), "checksum is another one"),
    "altered arrays": (unsealed(ARRAYS, lambda c: c[:-1] + b"\0\1"), "checksum is another one"),
    "no outputs": (manifest(examples={}), "no outputs"),
    "a tolerance without end": (manifest(examples={"outputs": [[0.5]], "tolerance": 9.9}), "toler"),
    "outputs that are no numbers": (
        manifest(examples={"outputs": [["a"]], "tolerance": 1e-3}),
        "not numbers",
    ),
    "outputs of fewer inputs": (
        manifest(examples={"outputs": [[0.5]], "tolerance": 1e-3}),
        "another number",
    ),
    "a card with a script": (raw("README.md", lambda c: b"<script>x()</script>"), "holds HTML"),
    "a card with an image": (raw("README.md", lambda c: b"a <IMG src=x onerror=y>"), "holds HTML"),
    "a card with a comment": (raw("README.md", lambda c: b"<!-- x -->"), "holds HTML"),
    "a card with a link to a script": (
        raw("README.md", lambda c: b"[x](JavaScript :alert(1))"),
        "holds HTML",
    ),
    "a card with a page": (raw("README.md", lambda c: b"[x](data:text/html,x)"), "holds HTML"),
    "a card that is no text": (raw("README.md", lambda c: b"\xff\xfe"), "not text in UTF-8"),
    # Folders and zip files.
    "a link to arrays": (link(ARRAYS), "is a link"),
    "a link to the manifest": (link(MANIFEST), "is a link"),
    "a pipe": (pipe, "not a file"),
    "a file less": (
        lambda bundle, tmp_path: ((bundle.path / ARRAYS).unlink(), bundle.path)[1],
        "cannot be read: No such file",
    ),
    "compressed": (zipped(compress=zipfile.ZIP_DEFLATED), "promises|compressed"),
    "a zip bomb": (bomb, "promises more bytes"),
    "entries that overlap": (overlapping, "cannot be read as a zip"),
    "a link in a zip file": (zipped(external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link"),
    "a folder in a zip file": (zipped(external_attr=0x10), "link or a folder"),
    "an absolute path": (with_member("/tmp/evil.txt"), "'/tmp/evil.txt'"),
    "a path above": (with_member("../evil.txt"), "evil.txt"),
    "a drive": (with_member("C:\\evil.txt"), "evil.txt"),
    "a name twice": (with_member(PIPELINE), "each once"),
    "a name with a zero": (renamed(b"README.md", b"READM\0.md"), "each once|zip file"),
    "a path above in place": (renamed(b"README.md", b"../EVIL.m"), "EVIL"),
    "a file less in a zip file": (zipped(names=(MANIFEST, PIPELINE, ARRAYS)), "A bundle has"),
    "a size that lies in a zip file": (directory_field(24, 2**31), "promises|bytes"),
    "a small size that lies": (directory_field(24, 10), "compressed|size"),
    "a stored size that lies": (directory_field(20, 10), "compressed|size"),
    "an encrypted file": (directory_field(8, 1, 2), "compressed or encrypted"),
    "a place beyond the end": (directory_field(42, 2**31 - 1), "zip file"),
    "another checksum of zip": (directory_field(16, 1), "zip file"),
    "a long directory": (
        patched_zip(lambda c: c[:-10] + (10**6).to_bytes(4, "little") + c[-6:]),
        "its end is another one",
    ),
    "no zip file": (patched_zip(lambda c: b"hello"), "its end is another one"),
    "an empty file": (patched_zip(lambda c: b""), "its end is another one"),
    "a zip file cut off": (patched_zip(lambda c: c[: len(c) // 2]), "its end is another one"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(bundle, tmp_path, monkeypatch, name):
    attack, message = ATTACKS[name]
    path = attack(bundle, tmp_path)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    events = []
    watched = ("os.system", "subprocess.Popen", "os.exec", "pickle.find_class", "os.remove")

    def audit(event, args):
        # Modules of files, which are imported on first use, are fine.
        code = event == "exec" and args[0].co_filename == "<string>"
        if event in watched or code:
            events.append(event)
        if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            events.append(f"{event} {args[0]}")

    recording = [True]
    sys.addaudithook(lambda event, args: recording[0] and audit(event, args))
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match=f"(?s){message}") as caught:
            load_model(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        recording[0] = False
        tracemalloc.stop()
    assert not events
    assert len(str(caught.value)) < 1200
    assert peak < 40 * 2**20
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


def test_what_is_not_attacked_loads(bundle, table, tiny, tmp_path):
    expected = tiny.predict_proba(table[0])
    for path in (bundle.path, bundle.seal().path, bundle.zipped(tmp_path / "a.zip")):
        np.testing.assert_array_equal(load_model(path).predict_proba(table[0]), expected)


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        (0, {"n_mels": 10**9}),
        (0, {"n_mels": 80.5}),
        (0, {"sample_rate": 10**9}),
        (0, {"sample_rate": True}),
        (0, {"frame_length": 1e9}),
        (0, {"frame_shift": 1e-9}),
        (0, {"window": "hann"}),
        (0, {"on_error": "ignore"}),
        (0, {"dtype": "object"}),
        (0, {"low_freq": 9000.0}),
        (4, {"n_mels": 80}),
    ],
)
def test_front_ends_out_of_bounds(speech_bundle, step, changes):
    def change(value):
        value["params"]["steps"][step][1]["params"].update(changes)

    with pytest.raises(BundleError, match=f"{next(iter(changes))}|steps.mfb"):
        load_model(speech_bundle.change(PIPELINE, change).path)


def test_nothing_is_computed_before_all_was_checked(bundle, monkeypatch):
    def fail(model):
        raise AssertionError("computed")

    bundle.arrays(lambda tensors: tensors.update(evil=torch.ones(1)))
    monkeypatch.setattr(bundle_module, "example_outputs", fail)
    with pytest.raises(BundleError, match="nothing uses"):
        load_model(bundle.path)


def test_there_is_no_bundle(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no bundle at"):
        load_model(tmp_path / "nothing")


def test_a_card_with_html_is_not_saved(tiny, tmp_path):
    with pytest.raises(BundleError, match="&lt;"):
        save_model(tiny, tmp_path / "a", card="# Card\n<b>bold</b>")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "text",
    [
        "p < .05 and 3 <4",
        "<https://example.org>",
        "![x](data:image/png;base64,AAAA)",
        "| a |\n|---|",
    ],
)
def test_markdown_is_fine(tiny, tmp_path, text):
    path = save_model(tiny, tmp_path / "a", card=text)
    assert (path / "README.md").read_text() == text
    load_model(path)


def test_a_bundle_of_many_entries_is_refused_before_they_are_read(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(3000):
            archive.writestr(str(k), b"")
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    with pytest.raises(BundleError, match="its end is another one"):
        load_model(tmp_path / "a.zip")
