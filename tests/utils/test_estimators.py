"""Pickles that name the version of the package that made them."""

import copy
import importlib
import pickle
import pkgutil
import subprocess
import sys
import warnings

import cloudpickle
import joblib
import pytest
from estimators import inputs, labels, public_estimators, small
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import sklearn_speechsent
from sklearn_speechsent import (
    MelFilterBank,
    SlidingCMN,
    WaveformPerturbation,
    __version__,
    _version,
    make_sentiment_pipeline,
)
from sklearn_speechsent.utils.estimators import EstimatorMixin, PackageVersionWarning


@pytest.fixture
def other_version(monkeypatch):
    """Function that calls another one in version 9.8 of the package."""

    def call(function, *args):
        with monkeypatch.context() as patched:
            patched.setattr(_version, "__version__", "9.8")
            return function(*args)

    return call


def assert_names_both(caught):
    (warning,) = caught
    for part in ("sklearn_speechsent", "9.8", __version__, "fit again"):
        assert part in str(warning.message)


def test_every_estimator_says_its_version():
    for module in pkgutil.walk_packages(sklearn_speechsent.__path__, "sklearn_speechsent."):
        for name, item in vars(importlib.import_module(module.name)).items():
            ours = isinstance(item, type) and item.__module__.startswith("sklearn_speechsent")
            if ours and issubclass(item, BaseEstimator) and not name.startswith("_"):
                assert issubclass(item, EstimatorMixin), name


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("cls", list(public_estimators()), ids=lambda cls: cls.__name__)
def test_a_pickle_of_another_version_warns_once(cls, fitted, other_version):
    estimator = small(cls)
    if fitted:
        estimator.fit(inputs(cls), labels())
    content = other_version(pickle.dumps, estimator)
    with pytest.warns(InconsistentVersionWarning) as caught:
        loaded = pickle.loads(content)
    assert_names_both(caught)
    assert caught[0].filename == __file__
    assert type(loaded) is cls and vars(loaded).keys() <= vars(estimator).keys()
    pickle.loads(pickle.dumps(loaded))  # is one of this version


@pytest.mark.parametrize("compress", [0, 3])
def test_a_pipeline_warns_once(tmp_path, compress, other_version):
    pipeline = make_sentiment_pipeline(vad="passthrough").fit(inputs(MelFilterBank), labels())
    other_version(lambda: joblib.dump(pipeline, tmp_path / "model.joblib", compress=compress))
    with pytest.warns(PackageVersionWarning) as caught:
        joblib.load(tmp_path / "model.joblib")
    assert_names_both(caught)
    with pytest.warns(PackageVersionWarning) as caught:
        other_version(pickle.loads, pickle.dumps([pipeline, pipeline[1]]))
    assert_names_both(caught)


def test_a_pickle_from_before_there_were_versions():
    cmn = SlidingCMN().fit(inputs(SlidingCMN))
    state = vars(cmn).copy()
    with pytest.warns(PackageVersionWarning, match=f"version unknown .* version {__version__}"):
        loaded = SlidingCMN.__new__(SlidingCMN)
        loaded.__setstate__(state)
    assert vars(loaded) == state


def test_copies_in_one_version_do_not_warn():
    pipeline = make_sentiment_pipeline()
    for loaded in (
        clone(pipeline),
        copy.copy(pipeline),
        copy.deepcopy(pipeline),
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(pipeline)))),
        cloudpickle.loads(cloudpickle.dumps(pipeline)),
    ):
        assert repr(loaded) == repr(pipeline)
        assert not [name for name in vars(loaded["mfb"]) if "version" in name]


def test_keys_of_joblib_do_not_change():
    """A Pipeline's own cache hashes its steps by pickling them."""
    assert joblib.hash(SlidingCMN()) == joblib.hash(SlidingCMN())


def test_in_another_process(tmp_path, other_version):
    # Of steps whose room is loaded without torch, which takes a while.
    model = make_pipeline(WaveformPerturbation(Ridge()), WaveformPerturbation(Ridge()))
    other_version(lambda: joblib.dump(model, tmp_path / "model.joblib"))
    code = "import joblib, sys; joblib.load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.joblib"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("PackageVersionWarning") == 1
    assert "9.8" in done.stderr and __version__ in done.stderr


def test_the_warning_can_be_an_error(other_version):
    content = other_version(pickle.dumps, SlidingCMN())
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        with pytest.raises(InconsistentVersionWarning, match=r"9\.8"):
            pickle.loads(content)
