"""Files with the state of a fit: names, damaged files, full disks, locks."""

import errno
import os
import threading
from collections import namedtuple

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import EpochScoring

from sklearn_speechsent import SpeechSentimentRegressor, UtteranceFrames
from sklearn_speechsent.nn import SentimentNetwork, SpecAugment
from sklearn_speechsent.training import resume as resume_module
from sklearn_speechsent.training.net import UtteranceNet
from sklearn_speechsent.training.resume_file import ResumeFile, fit_key, locked_file
from sklearn_speechsent.utils import files

STATE = {"stage": "training", "number": 1.5, "tensor": torch.arange(3)}


class Killed(BaseException):
    """Stands for kill -9: no code catches it."""


@pytest.fixture
def net(tmp_path):
    return SpeechSentimentRegressor(
        max_epochs=2, batch_size=4, n_jobs=1, random_state=0, resume=tmp_path / "folder"
    )


@pytest.fixture
def kill(monkeypatch):
    """Function that fits a net, which dies at the n-th step."""

    def kill(net, X, y, n=5):
        steps, train_step = [], UtteranceNet.train_step

        def dying(self, *args, **kwargs):
            steps.append(None)
            if len(steps) == n:
                raise Killed
            return train_step(self, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(UtteranceNet, "train_step", dying)
            with pytest.raises(Killed):
                clone(net).fit(X, y)
        (file,) = net.resume.iterdir()
        return file

    return kill


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("it trains")

    monkeypatch.setattr(UtteranceNet, "train_step", fail)


def cut(content):
    return content[:-100]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def foreign(content):
    return b"nothing of ours"


@pytest.mark.parametrize("damage", [cut, flipped, foreign, lambda content: b""])
@pytest.mark.parametrize("finished", [False, True])
def test_a_damaged_file_is_not_used(net, data, kill, damage, finished):
    whole = clone(net).set_params(resume=None).fit(*data)
    if finished:
        clone(net).fit(*data)
        (file,) = net.resume.iterdir()
    else:
        file = kill(net, *data)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=f"{file.name} is damaged"):
        resumed = clone(net).fit(*data)
    np.testing.assert_array_equal(resumed.predict(data[0]), whole.predict(data[0]))
    assert clone(net).fit(*data).history == resumed.history  # it was overwritten
    assert list(net.resume.iterdir()) == [file]


def test_the_file_of_another_fit_is_not_used(net, data, kill):
    other = kill(clone(net).set_params(lr=0.01), *data)
    content = other.read_bytes()
    other.unlink()
    file = kill(net, *data)
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="not a file of this fit"):
        net.fit(*data)


class Changed(SentimentNetwork):
    size = 1

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.more = torch.nn.Linear(self.size, 1)


def test_a_network_whose_code_has_changed(net, data, kill, monkeypatch):
    net.set_params(module=Changed)
    kill(net, *data)
    monkeypatch.setattr(Changed, "size", 2)
    whole = clone(net).set_params(resume=None).fit(*data)
    with pytest.warns(UserWarning, match="another shape, whose code has changed"):
        again = clone(net).fit(*data)
    np.testing.assert_array_equal(again.predict(data[0]), whole.predict(data[0]))


def test_files_of_a_killed_process_are_removed(net, data, kill):
    file = kill(net, *data)
    file.with_name(f".{file.name}.0.part").write_bytes(b"half a sta")
    file.with_suffix(".lock").touch()
    net.fit(*data)
    assert list(net.resume.iterdir()) == [file]
    file.with_suffix(".lock").touch()
    clone(net).fit(*data)
    assert list(net.resume.iterdir()) == [file]


# -- folders and disks ---------------------------------------------------------------------------


def test_a_file_in_place_of_the_folder(net, data, no_training):
    net.resume.touch()
    with pytest.raises(
        OSError, match=r"cannot be saved in the folder of resume= .* pass another folder"
    ) as caught:
        net.fit(*data)
    assert str(net.resume) in str(caught.value)


@pytest.mark.parametrize("name", ["mkdir", "open"])
def test_a_folder_that_is_read_only(net, data, no_training, monkeypatch, name):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(
        *{"mkdir": ("pathlib.Path.mkdir", refuse), "open": (os, "open", refuse)}[name]
    )
    with pytest.raises(PermissionError, match=r"Permission denied.*Make it writable"):
        net.fit(*data)
    monkeypatch.undo()
    net.fit(*data)  # no lock is left


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("full", ["announced", "found out"])
def test_a_full_disk_is_an_error_before_training(net, data, no_training, monkeypatch, full):
    if full == "announced":
        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**9, 10**9, 10))
    else:
        monkeypatch.setattr(os, "fsync", _no_space)
    with pytest.raises(OSError, match=r"No space left.*make room") as caught:
        net.fit(*data)
    assert caught.value.errno == errno.ENOSPC
    assert not [file for file in net.resume.iterdir() if file.suffix != ".fit"]


def _no_space(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_does_not_stop_training(net, data, kill, monkeypatch):
    monkeypatch.setattr(resume_module, "SAVE_INTERVAL", 0.0)
    whole = clone(net).set_params(resume=None).fit(*data)
    written, fsync = [], os.fsync

    def fill(descriptor):
        written.append(None)
        (fsync if len(written) < 4 else _no_space)(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fill)
        with pytest.warns(UserWarning, match="resumes from the state saved before") as caught:
            trained = clone(net).fit(*data)
    assert len(caught) == 1 and len(written) > 6
    np.testing.assert_array_equal(trained.predict(data[0]), whole.predict(data[0]))
    (file,) = net.resume.iterdir()
    state = ResumeFile(file, file.stem).read()
    assert (state["stage"], state["n_done"]) == ("training", 2)
    resumed = clone(net).fit(*data)
    np.testing.assert_array_equal(resumed.predict(data[0]), whole.predict(data[0]))


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        dict(lr=0.01),
        dict(random_state=1),
        dict(random_state=None),
        dict(random_state=np.random.RandomState(3)),
        dict(max_epochs=3),
        dict(spec_augment=SpecAugment(1)),
        dict(optimizer=torch.optim.AdamW),
        dict(optimizer__weight_decay=0.1),
        dict(callbacks=[EpochScoring("r2")]),
        dict(two_headed=True),
        dict(levels=(-1, 0, 1)),
    ],
    ids=lambda params: next(iter(params)),
)
def test_another_parameter_is_another_file(net, data, kill, changed):
    file = kill(net, *data)
    file.unlink()
    other = kill(clone(net).set_params(**changed), *data)
    assert other.name != file.name


def test_other_data_are_another_file(net, data):
    X, y = data
    swapped = np.r_[1, 0, 2:12]
    louder = UtteranceFrames(2 * X.base, X.starts, X.stops)
    groups = np.repeat(["a", "b", "c", "d"], 3)
    cases = [
        (X, y, {}),
        (X[swapped], y[swapped], {}),
        (X, y[swapped], {}),
        (louder, y, {}),
        (X.with_embeddings(np.eye(12)), y, {}),
        (X.with_embeddings(2 * np.eye(12)), y, {}),
        (UtteranceFrames(X.base, X.starts, X.stops, frame_settings={"frame_shift": 0.02}), y, {}),
        (X, y, {"sample_weight": np.arange(12)}),
        (X, y, {"groups": groups}),
        (X, y, {"X_val": X[:6], "y_val": y[:6]}),
        (X, y, {"X_val": X[:6], "y_val": y[1:7]}),
    ]
    for number, (frames, labels, kwargs) in enumerate(cases, start=1):
        clone(net).set_params(max_epochs=1).fit(frames, labels, **kwargs)
        assert len(list(net.resume.iterdir())) == number
    # The same data in another container are the same data.
    compact = UtteranceFrames.from_arrays([X[row] for row in range(12)])
    net.set_params(max_epochs=1, n_jobs=None, verbose=1, resume=str(net.resume))
    net.fit(compact, y.tolist())
    assert len(os.listdir(net.resume)) == len(cases)


def test_another_version_is_another_fit(monkeypatch):
    key = fit_key({"a": 1})
    assert key == fit_key({"a": 1}) != fit_key({"a": 2})
    for module in ("sklearn_speechsent._version", "torch", "sklearn"):
        monkeypatch.setattr(f"{module}.__version__", "99")
        assert fit_key({"a": 1}) != key
        monkeypatch.undo()


def test_values_are_told_apart():
    values = [
        0,
        0.0,
        False,
        None,
        "0",
        [0],
        (0, 0),
        {"a": 0},
        {0: 0},
        np.zeros(1),
        np.zeros(1, np.float32),
        np.zeros((1, 1)),
        np.array(["0"], dtype=object),
        torch.zeros(1),
        torch.zeros(1, dtype=torch.bfloat16),
        torch.zeros(1, 1),
        torch.optim.Adam,
        torch.optim.AdamW,
        EpochScoring("r2"),
        EpochScoring("max_error"),
    ]
    keys = [fit_key({"value": value}) for value in values]
    assert len(set(keys)) == len(values)
    used = EpochScoring("r2").initialize()
    assert fit_key({"value": used}) == keys[-2]


def test_a_parameter_that_cannot_be_pickled(net, data, no_training):
    net.set_params(optimizer__lock=threading.Lock())
    with pytest.raises(ValueError, match=r"one optimizer__lock from another.*cannot be pickled"):
        net.fit(*data)


# -- locks ---------------------------------------------------------------------------------------


def test_equal_fits_at_the_same_time_have_files_of_their_own(tmp_path):
    with locked_file(tmp_path, "key", shared=True) as (first, nothing):
        assert nothing is None
        first.write(STATE)
        with locked_file(tmp_path, "key", shared=False) as (second, nothing):
            assert nothing is None and second.path.name == "key-2.fit"
        # One that would come to the same result may begin where the other is.
        with locked_file(tmp_path, "key", shared=True) as (third, found):
            assert third.path.name == "key-2.fit" and found["number"] == 1.5
        first.write({**STATE, "stage": "finished"})
        with locked_file(tmp_path, "key", shared=True) as (fourth, found):
            assert fourth.path == first.path and found["stage"] == "finished"
    with locked_file(tmp_path, "key", shared=False) as (again, found):
        assert again.path == first.path and torch.equal(found["tensor"], torch.arange(3))
    assert [file.name for file in tmp_path.iterdir()] == ["key.fit"]


def test_folders_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    with locked_file(tmp_path, "key", shared=False) as (first, _):
        first.write(STATE)
        with locked_file(tmp_path, "key", shared=False) as (second, _):  # within a process
            assert second.path != first.path
    assert [file.name for file in tmp_path.iterdir()] == ["key.fit"]


def test_a_failed_write_leaves_the_old_state(tmp_path, monkeypatch):
    file = ResumeFile(tmp_path / "a.fit", "a")
    file.write(STATE)
    monkeypatch.setattr(os, "replace", lambda *paths: _no_space(0))
    with pytest.raises(OSError, match="No space"):
        file.write({**STATE, "number": 2.5})
    assert file.read()["number"] == 1.5
    assert list(tmp_path.iterdir()) == [file.path]
