"""Bundles and graphs of models that are calibrated on held-out speakers, and attacks by them."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from changed_bundle import Bundle
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline

from sklearn_speechsent import (
    IntensityRegressor,
    OrdinalClassifier,
    StreamingSentiment,
    WaveformPerturbation,
    export_onnx,
    load_model,
    save_model,
    sentiment_timeline,
)
from sklearn_speechsent.deploy import BundleError
from sklearn_speechsent.frames.domain import DomainWarning
from sklearn_speechsent.inspection import ConformalOrdinal, OrdinalCalibrator
from sklearn_speechsent.runtime import OnnxSentiment
from sklearn_speechsent.utils.estimators import set_everywhere

ARRAYS, PIPELINE = "arrays.safetensors", "pipeline.json"
SPEAKERS = np.arange(40) % 8
WORDS = np.array(["low", "middle", "high"])
INNER = OrdinalClassifier(n_components=3)
OUTPUTS = ("predict", "predict_proba", "predict_set", "predict_interval")


def assert_same(loaded, model, X):
    """All outputs that there are, to the bit."""
    assert type(loaded) is type(model)
    for name in OUTPUTS:
        assert hasattr(loaded, name) == hasattr(model, name), name
        if hasattr(model, name):
            found, expected = getattr(loaded, name)(X), getattr(model, name)(X)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected, err_msg=name)


MODELS = {
    "sigmoid": OrdinalCalibrator(INNER, cv=2),
    "isotonic": OrdinalCalibrator(INNER, method="isotonic"),
    "sets": ConformalOrdinal(INNER, 0.2, max_levels=2),
    "every fold": ConformalOrdinal(INNER, method="plus", cv=3),
    "guarantee": ConformalOrdinal(OrdinalCalibrator(INNER, cv=2), guarantee=True, cv=2),
    "intensity": ConformalOrdinal(IntensityRegressor(), method="plus", cv=2),
    "ridge": ConformalOrdinal(make_pipeline(Ridge())),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_gives_the_same(table, tmp_path, name):
    X, y = table
    model = clone(MODELS[name]).fit(X, y, groups=SPEAKERS)
    path = save_model(model, tmp_path / "a.zip", dtype="float16" if name == "ridge" else None)
    loaded = load_model(path)
    if name == "ridge":  # 1-D coefficients are not rounded either
        np.testing.assert_allclose(loaded.predict_interval(X), model.predict_interval(X))
        return
    assert_same(loaded, model, X)
    assert save_model(loaded, tmp_path / "b.zip").read_bytes() == path.read_bytes()
    assert loaded.cv == model.cv
    # It is an ordinary one, that can be fitted again.
    assert_same(clone(loaded).fit(X, y, groups=SPEAKERS), model, X)


@pytest.mark.parametrize("cls", [OrdinalCalibrator, ConformalOrdinal])
def test_text_and_frozen_models(table, tmp_path, cls):
    X, y = table
    fitted = OrdinalClassifier(levels=list(WORDS)).fit(X, WORDS[y + 1])
    model = cls(FrozenEstimator(fitted)).fit(X, WORDS[y + 1], groups=SPEAKERS)
    loaded = load_model(save_model(model, tmp_path / "a"))
    assert_same(loaded, model, X)
    assert loaded.levels_.tolist() == WORDS.tolist()
    again = clone(loaded).fit(X[:20], WORDS[y + 1][:20], groups=SPEAKERS[:20])
    assert again.estimator_.estimator is loaded.estimator_.estimator  # which stays as it is
    set_everywhere(loaded, on_error="nan")  # as the command and the service do
    assert loaded.estimator_.estimator.on_error == "nan"


def test_no_speaker_and_no_row_of_training_is_named(table, tmp_path):
    X, y = table
    speakers = np.array([f"Ann {k}" for k in SPEAKERS])
    model = ConformalOrdinal(OrdinalCalibrator(INNER, cv=GroupKFold(2)), calibration=["Ann 1"])
    model.fit(X, y, groups=speakers)
    with (
        pytest.warns(UserWarning, match="model: calibration matter in training only"),
        pytest.warns(UserWarning, match="model.estimator_: cv matter in training only"),
    ):
        path = save_model(model, tmp_path / "a")
    assert not any(b"Ann" in file.read_bytes() for file in path.iterdir())
    assert load_model(path).calibration is None
    assert_same(load_model(path), model, X)


# -- attacks ---------------------------------------------------------------------------------------


def tree(*path, **changes):
    """Attack that changes JSON of the tree at a path."""

    def attack(bundle):
        def change(value):
            for key in path:
                value = value[key]
            value.update(changes)

        bundle.change(PIPELINE, change)

    return attack


def array(name, function):
    """Attack that changes one array."""

    def attack(bundle):
        def change(tensors):
            tensors[f"model.{name}"] = function(tensors[f"model.{name}"].clone())

        bundle.arrays(change)

    return attack


def put(value, index=0):
    def change(tensor):
        tensor[index] = value
        return tensor

    return change


def removed(name):
    """Attack that takes an array and its description away."""

    def attack(bundle):
        bundle.change(PIPELINE, lambda value: value["state"].pop(name))
        bundle.arrays(lambda tensors: tensors.pop(f"model.{name}"))

    return attack


def no_rows(bundle):
    """Conformal prediction without held-out recordings."""

    def change(value):
        for name in ("scores", "residuals", "weights", "owners"):
            value["state"][name]["shape"] = [0]

    def cut(tensors):
        for name in ("scores", "residuals", "weights", "owners"):
            tensors[f"model.{name}"] = tensors[f"model.{name}"][:0].clone()

    bundle.change(PIPELINE, change)
    bundle.arrays(cut)


def fewer_functions(bundle):
    def cut(tensors):
        for name in ("slopes", "shifts"):
            tensors[f"model.{name}"] = tensors[f"model.{name}"][:1].clone()

    def change(value):
        for name in ("slopes", "shifts"):
            value["state"][name]["shape"] = [1]

    bundle.change(PIPELINE, change)
    bundle.arrays(cut)


STATE = ("state",)
FOUR = {"kind": "int64", "values": [-1, 0, 1, 2]}
SCALER = {"class": "Normalizer", "params": {}, "state": {"n_features_in_": 6}}
ATTACKS = {
    "a method that is none": ("sigmoid", tree("params", method="eval"), "'method' parameter"),
    "another method": ("sigmoid", tree("params", method="isotonic"), "has sizes, odds, shares"),
    "folds that are no number": ("sigmoid", tree("params", cv=[[0], [1]]), "not a whole number"),
    "folds without end": ("sigmoid", tree("params", cv=2**40), "is not from 2"),
    "processes": ("sigmoid", tree("params", n_jobs=99), "not those of OrdinalCalibrator"),
    "an estimator as a parameter": ("sigmoid", tree("params", estimator=SCALER), "not those of"),
    "a scaler inside": ("sigmoid", tree("state", estimator_=SCALER), "nothing uses|a classifier"),
    "frozen by a number": ("sigmoid", tree("state", frozen=1), "neither true nor false"),
    "another slope": ("sigmoid", array("slopes", lambda t: -t), "generated input"),
    "a slope of NaN": ("sigmoid", array("slopes", put(np.nan)), "finite"),
    "an infinite shift": ("sigmoid", array("shifts", put(np.inf)), "finite"),
    "no shifts": ("sigmoid", removed("shifts"), "has slopes, shifts"),
    "a function less": ("sigmoid", fewer_functions, "1 functions for 2 thresholds"),
    "more levels": ("sigmoid", tree(*STATE, levels_=FOUR), "2 functions for 3 thresholds"),
    "other levels": (
        "sigmoid",
        tree(*STATE, levels_={"kind": "int64", "values": [0, 1, 2]}),
        "has other levels",
    ),
    "levels without an order": (
        "sigmoid",
        tree(*STATE, levels_={"kind": "int64", "values": [1, 0, -1]}),
        "levels in order",
    ),
    "a share above one": ("isotonic", array("shares", put(2.0, -1)), "from 0 to 1"),
    "shares that fall": ("isotonic", array("shares", put(1.0)), "not in order"),
    "odds without an order": ("isotonic", array("odds", put(99.0)), "not in order"),
    "odds twice": ("isotonic", array("odds", lambda t: put(float(t[1]))(t)), "not in order"),
    "more steps than there are": ("isotonic", array("sizes", put(10**6)), "steps are named"),
    "a threshold without steps": ("isotonic", array("sizes", put(0)), "from 1"),
    "a negative size": ("isotonic", array("sizes", put(-5)), "from 1"),
    "an alpha of two": ("every fold", tree("params", alpha=2.0), "'alpha' parameter"),
    "calibration": ("every fold", tree("params", calibration="x"), "is none of"),
    "a score beyond": ("every fold", array("scores", put(7.0)), "finite numbers from"),
    "no scores": ("every fold", removed("scores"), "scores belong to classifiers"),
    "a negative residual": ("every fold", array("residuals", put(-1.0)), "finite numbers from"),
    "more weight": ("every fold", array("weights", put(0.9)), "weight of one"),
    "a model that is not there": ("every fold", array("owners", put(3)), "fewer models"),
    "a model before the first": ("every fold", array("owners", put(-1)), "finite numbers from"),
    "no speakers": ("every fold", tree(*STATE, n_speakers=0), "is not from 1"),
    "many speakers": ("every fold", tree(*STATE, n_speakers=10**6), "weight of one"),
    "no recordings": ("every fold", no_rows, "weight of one"),
    "models of another class": (
        "ridge",
        tree(*STATE, models=[{"class": "Ridge", "params": {}, "state": None}]),
        "the state of Ridge",
    ),
    "scalers as models": ("ridge", tree(*STATE, models=[SCALER]), "of another class"),
    "intensities of text": (
        "ridge",
        tree(*STATE, levels_={"kind": "text", "values": ["a", "b", "c"]}),
        "intensities are numbers",
    ),
}


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    """Files of the bundle of each model that is attacked."""
    folder = tmp_path_factory.mktemp("calibrated")
    X, y = table
    found = {}
    for name in {name for name, _, _ in ATTACKS.values()}:
        path = save_model(clone(MODELS[name]).fit(X, y, groups=SPEAKERS), folder / name)
        found[name] = {file.name: file.read_bytes() for file in path.iterdir()}
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(saved, tmp_path, name):
    model, attack, message = ATTACKS[name]
    bundle = Bundle(tmp_path)
    for file, content in saved[model].items():
        bundle[file] = content
    load_model(tmp_path)  # before, it is fine
    attack(bundle)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleError, match=f"(?s){message}") as caught:
        load_model(tmp_path)
    assert len(str(caught.value)) < 1200
    assert sorted(tmp_path.rglob("*")) == before


# -- recordings ------------------------------------------------------------------------------------


def around(model, pipeline):
    """The model around a whole fitted Pipeline."""
    return clone(model).set_params(estimator=FrozenEstimator(pipeline))


def last(model, pipeline):
    """The model as the last step of a fitted Pipeline."""
    end = clone(model).set_params(estimator=FrozenEstimator(pipeline[-1]))
    return Pipeline([*pipeline.steps[:-1], ("end", end)])


@pytest.fixture(scope="module", params=[around, last], ids=lambda function: function.__name__)
def placed(request, pooled, speech):
    """Function that fits a model around, or as the last step of, the Pipeline from recordings."""

    def fit(model):
        found = request.param(model, pooled)
        name = "groups" if request.param is around else "end__groups"
        return found.fit(speech.data, speech.target, **{name: speech.groups})

    return fit


@pytest.mark.parametrize("name", ["sigmoid", "isotonic", "sets"])
def test_time_lines_and_streams_of_loaded_models(placed, speech, tmp_path, name):
    model = placed(MODELS[name].set_params(max_levels=None) if name == "sets" else MODELS[name])
    path = save_model(model, tmp_path / "a.zip")
    loaded = load_model(path)
    expected = sentiment_timeline(model, speech.data[:1], segments=None)
    found = sentiment_timeline(loaded, speech.data[:1], segments=None)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert {"level", "expected", "p(-1)", "p(0)", "p(1)"} <= set(found)
    samples = soundfile.read(speech.data[0], dtype="float32")[0]
    events = [
        (stream := StreamingSentiment(each)).push(samples) + stream.finish()
        for each in (model, loaded)
    ]
    assert repr(events[0]) == repr(events[1])  # NaN equals NaN
    assert any(np.isfinite(getattr(event, "expected", np.nan)) for event in events[0])
    manifest = json.loads((save_model(model, tmp_path / "b") / "manifest.json").read_text())
    assert manifest["levels"] == [-1, 0, 1] and manifest["sample_rate"] == 16000
    with pytest.warns(DomainWarning):  # telephone speech, heard through the calibrator
        loaded.predict([(8000, samples[::2])])


def test_a_graph_of_calibrated_probabilities(placed, speech, tmp_path):
    model = placed(OrdinalCalibrator(INNER))
    path = export_onnx(model, tmp_path / "model.onnx")
    scorer = OnnxSentiment(path)
    X = list(speech.data[:9])
    np.testing.assert_allclose(scorer.predict_proba(X), model.predict_proba(X), atol=2e-5)
    np.testing.assert_array_equal(scorer.predict(X), model.predict(X))
    assert scorer.levels == [-1, 0, 1]


def test_what_has_no_graph(placed, pooled, speech, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match=r"method='isotonic'\) cannot.*Use method=\"sigmoid\""):
        export_onnx(placed(MODELS["isotonic"]), path)
    with pytest.raises(ValueError, match="no sets of ConformalOrdinal"):
        export_onnx(placed(MODELS["sets"]), path)
    copies = WaveformPerturbation(pooled, conditions=(), predict_speeds=(1.0,), random_state=0)
    X, y = speech.data, speech.target
    calibrated = OrdinalCalibrator(copies, cv=2).fit(X, y, groups=speech.groups)
    with pytest.raises(ValueError, match="Put the perturbation around it"):
        export_onnx(calibrated, path)
    copies = clone(copies).set_params(estimator=OrdinalCalibrator(FrozenEstimator(pooled)))
    assert export_onnx(copies.fit(X, y, groups=speech.groups), tmp_path / "copies.onnx").exists()
    few = OrdinalCalibrator(pooled, cv=[(np.flatnonzero(y < 1), np.flatnonzero(y == 1))])
    with pytest.warns(UserWarning, match="Level 1 is absent"):
        few.fit(X, y, groups=np.where(y == 1, "a", "b"))
    with pytest.raises(ValueError, match="was fitted without some of them"):
        export_onnx(few, path)
    assert not path.exists()
