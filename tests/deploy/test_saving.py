"""What can be saved, how it is written, and why something is refused."""

import json
import os
import warnings
import zipfile

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR
from skorch.callbacks import EpochTimer

from sklearn_speechsent import (
    FeatureStore,
    IntensityRegressor,
    OrdinalClassifier,
    SpeechSentimentClassifier,
    load_model,
    make_sentiment_pipeline,
    save_model,
)
from sklearn_speechsent.deploy import BundleError
from sklearn_speechsent.deploy.table import TABLE
from sklearn_speechsent.nn import SpecAugment
from sklearn_speechsent.utils import files


class MyClassifier(OrdinalClassifier):
    """A subclass, whose methods may differ."""


# -- last steps of one's own -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        OrdinalClassifier(LogisticRegression()),
        OrdinalClassifier(make_pipeline(RobustScaler(), LogisticRegression(C=0.1))),
        OrdinalClassifier(make_pipeline(MaxAbsScaler(), Normalizer(), SVC(kernel="poly"))),
        OrdinalClassifier(SVC(kernel="linear"), n_jobs=2),
        OrdinalClassifier(n_components=3, C=2.0, levels=[-2, -1, 0, 1]),
        IntensityRegressor(),
        IntensityRegressor(make_pipeline(MinMaxScaler((-1, 1)), Ridge())),
        make_pipeline(StandardScaler(with_mean=False), LinearRegression()),
        make_pipeline(StandardScaler(with_std=False), Ridge(fit_intercept=False)),
        make_pipeline(StandardScaler(), SVR(C=2.0)),
        SVC(gamma="auto"),
        LogisticRegression(),
    ],
    ids=lambda model: str(model).replace("\n", "")[:60],
)
def test_last_steps(table, tmp_path, model):
    X, y = table
    y = y > 0 if type(model) is SVC else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a level that does not occur
        fitted = clone(model).fit(X, y)
    again = load_model(save_model(fitted, tmp_path / "a.zip"))
    outputs = "predict_proba" if hasattr(fitted, "predict_proba") else "predict"
    expected = getattr(fitted, outputs)(X)
    # libsvm computes the kernels of what is not ours pair by pair.
    exact = {"rtol": 0, "atol": 1e-12 if "SV" in str(model) else 0}
    np.testing.assert_allclose(getattr(again, outputs)(X).astype(float), expected, **exact)
    assert again.predict(X).dtype == fitted.predict(X).dtype


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (OrdinalClassifier(HistGradientBoostingClassifier()), "trees, which.*joblib.dump"),
        (RandomForestClassifier(3), "trees"),
        (MyClassifier(), "It is not OrdinalClassifier, whose subclass it is"),
        (OrdinalClassifier(CalibratedClassifierCV(SVC(), cv=2)), "CalibratedClassifierCV"),
        (make_pipeline(PowerTransformer(), OrdinalClassifier()), "PowerTransformer.*It holds"),
        (GridSearchCV(OrdinalClassifier(), {"C": [1, 2]}, cv=2), "save its best_estimator_"),
        (OrdinalClassifier(SVC(kernel=lambda A, B: A @ B.T)), "machine|kernel"),
        (SVC(), "3 classes"),
        (
            OrdinalClassifier(LogisticRegression(class_weight={True: 2.0})),
            "class_weight",
        ),
    ],
    ids=lambda value: str(value).replace("\n", "")[:40],
)
def test_what_is_refused(table, tmp_path, model, message):
    fitted = model.fit(*table)
    with pytest.raises(BundleError, match=f"(?s){message}"):
        save_model(fitted, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_what_is_not_fitted(tmp_path):
    for model in (OrdinalClassifier(), make_sentiment_pipeline(), Ridge()):
        with pytest.raises(NotFittedError):
            save_model(model, tmp_path / "a")


def test_what_takes_frames(rng, tmp_path):
    X = [rng.normal(size=(20, 8)).astype(np.float32) for _ in range(6)]
    net = SpeechSentimentClassifier(max_epochs=1, random_state=0).fit(X, [0, 1] * 3)
    with pytest.raises(BundleError, match="save the whole Pipeline"):
        save_model(net, tmp_path / "a")


@pytest.mark.parametrize("wrong", [{"weights": "inside"}, {"dtype": "int8"}], ids=str)
def test_arguments(tiny, tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}='in"):
        save_model(tiny, tmp_path / "a", **wrong)


# -- parameters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_every_parameter_is_accounted_for(name):
    """A parameter that is new must be saved or dropped on purpose."""
    entry = TABLE[name]
    known = {*entry.params, *entry.blank, *entry.dropped.split()}
    model = entry.kind(**{**entry.blank, **({"steps": []} if name == "Pipeline" else {})})
    names = model.get_params(deep=False)
    assert set(names) <= known
    # Those of other versions, and with a prefix.
    later = {"penalty", "multi_class", "probability", "l1_ratio"}
    assert {n for n in known - set(names) - later if "__" not in n} == set()


def test_nothing_of_the_machine_is_saved(speech, tmp_path):
    store = tmp_path / "my store"
    model = make_sentiment_pipeline(
        weights=None, memory=FeatureStore(store), n_jobs=2, verbose=0
    ).fit(speech.data[:6], speech.target[:6])
    path = save_model(model, tmp_path / "a")
    content = b"".join(file.read_bytes() for file in path.iterdir())
    for private in (b"my store", b"n_jobs", str(tmp_path).encode(), b"spk0"):
        assert private not in content
    assert load_model(path)["mfb"].memory is None


@pytest.mark.filterwarnings("ignore:.*speech:UserWarning")
def test_settings_of_training_alone_are_left_out_with_a_warning(speech, tmp_path):
    model = make_sentiment_pipeline(
        "0/2SREx-SEResNet-16 + C",
        weights=None,
        max_epochs=1,
        random_state=0,
        callbacks=[("timer", EpochTimer())],
        spec_augment=SpecAugment(n_frequency_masks=0),
    ).fit(speech.data[:6], speech.target[:6])
    with pytest.warns(UserWarning, match="callbacks, spec_augment matter in training only"):
        path = save_model(model, tmp_path / "a")
    expected = model.predict_proba(speech.data[:2])
    np.testing.assert_array_equal(load_model(path).predict_proba(speech.data[:2]), expected)


# -- files -----------------------------------------------------------------------------------------


def test_equal_models_are_equal_bytes(tiny, table, tmp_path):
    other = OrdinalClassifier(n_components=4).fit(*table)
    first, second = (save_model(m, tmp_path / f"{k}.zip") for k, m in enumerate([tiny, other]))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    folder = save_model(tiny, tmp_path / "folder")
    with zipfile.ZipFile(first) as archive:
        for name in archive.namelist():
            assert archive.read(name) == (folder / name).read_bytes()


def test_a_folder_of_other_files_stays(tiny, tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="other files"):
        save_model(tiny, folder)
    assert [file.name for file in folder.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_an_interrupted_save_leaves_what_was_there(tiny, table, tmp_path, monkeypatch, name):
    path = save_model(tiny, tmp_path / name, card="first")
    other = OrdinalClassifier(C=1.0).fit(*table)

    def interrupted(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_model(other, path, card="second")
    assert [p.name for p in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(load_model(path).predict(table[0]), tiny.predict(table[0]))
    save_model(other, path, card="second")
    assert [p.name for p in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(load_model(path).predict(table[0]), other.predict(table[0]))


def test_nothing_is_written_where_a_model_is_loaded(bundle, tmp_path):
    if os.name == "nt" or os.geteuid() == 0:
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        load_model(bundle.path)
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
        return
    bundle.path.chmod(0o500)
    load_model(bundle.path)


def test_the_manifest(pooled, tmp_path):
    path = save_model(pooled, tmp_path / "a", card="# My card", corpus="synthetic")
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["format"] == 1 and manifest["levels"] == [-1, 0, 1]
    assert manifest["predicts"] == "level" and manifest["sample_rate"] == 16000
    assert set(manifest["versions"]) >= {"scikit-learn", "torch", "numpy", "sklearn-speechsent"}
    outputs = np.array(manifest["examples"]["outputs"])
    assert outputs.shape == (8, 3) and np.allclose(outputs.sum(axis=1), 1)
    assert np.ptp(outputs, axis=0).max() > 1e-3
    assert (path / "README.md").read_text() == "# My card"
