"""Support vector machines without libsvm, compared with libsvm."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from sklearn_speechsent import (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalClassifier,
    OrdinalVotingClassifier,
)
from sklearn_speechsent.sentiment import shared_kernel
from sklearn_speechsent.sentiment.kernel_machine import (
    KernelClassifier,
    KernelRegressor,
    SupportKernel,
    without_libsvm,
)

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(params=[np.float32, np.float64])
def data(request, rng):
    """Noisy levels and their features."""
    y = rng.choice([-1, 0, 1, 2], size=120, p=[0.4, 0.3, 0.2, 0.1])
    return (0.4 * y[:, None] + rng.normal(size=(120, 20))).astype(request.param), y


def other_rows(rng, X):
    return rng.normal(size=(17, X.shape[1])).astype(X.dtype)


@pytest.mark.parametrize("C", [0.1, 10.0])
@pytest.mark.parametrize("gamma", [0.25, 3.0])
@pytest.mark.parametrize("n_components", [None, 6])
@pytest.mark.parametrize("weighted", [False, True])
def test_thresholds_are_those_of_libsvm(data, rng, C, gamma, n_components, weighted):
    X, y = data
    weight = {"sample_weight": rng.uniform(0, 2, 120) * (rng.random(120) > 0.2)} if weighted else {}
    model = OrdinalClassifier(C=C, gamma=gamma, n_components=n_components).fit(X, y, **weight)
    # The same solver on the same kernel; pair by pair it would stop elsewhere within its tolerance.
    other = other_rows(rng, X)
    for level, found in zip((-1, 0, 1), model.estimators_, strict=True):
        prepare = make_pipeline(
            StandardScaler(), *([] if n_components is None else [PCA(n_components, random_state=0)])
        )
        svc = SVC(C=C, gamma=gamma / 20, class_weight="balanced")
        if weighted:
            used = weight["sample_weight"] > 0
            prepared = prepare.fit_transform(X[used])
            svc.fit(prepared, y[used] > level, weight["sample_weight"][used])
            expected = svc.decision_function(prepare.transform(other))
        else:
            kernel = SupportKernel(gamma=gamma / 20)
            K = kernel.fit_transform(prepare.fit_transform(X))
            svc.set_params(kernel="precomputed").fit(K, y > level)
            expected = svc.decision_function(kernel.transform(prepare.transform(other)))
        np.testing.assert_allclose(found.decision_function(other), expected, **EXACT)
        assert type(found[-1]) is KernelClassifier


def test_only_rows_that_support_a_threshold_stay(data):
    X, y = data
    X[:, 0] = 10 * y  # far apart
    model = OrdinalClassifier().fit(X[:, :2], y)
    coef = np.stack([each[-1].coef_ for each in model.estimators_])
    rows = model._shared_[-1].rows_
    assert coef.shape == (3, len(rows)) and len(rows) < 100
    assert (coef != 0).any(axis=0).all() and (coef == 0).any()


def test_nothing_of_libsvm_is_used_after_fit(data, monkeypatch):
    X, y = data
    members = [("a", OrdinalClassifier()), ("b", OrdinalClassifier(n_components=4))]
    intensities = [("a", IntensityRegressor()), ("b", IntensityRegressor(C=1.0))]
    models = [
        OrdinalVotingClassifier(members).fit(X, y),
        IntensityVotingRegressor(intensities, weights=[1, 2]).fit(X, y),
        OrdinalClassifier().fit(X, y, sample_weight=np.ones(120)),
    ]
    expected = [model.predict(X) for model in models]

    def fail(*args):
        raise AssertionError("libsvm was called")

    for svm in (SVC, SVR):
        for method in ("predict", "decision_function", "_predict", "_decision_function"):
            if hasattr(svm, method):
                monkeypatch.setattr(svm, method, fail)
    for model, values in zip(models, expected, strict=True):
        np.testing.assert_array_equal(model.predict(X), values)


def test_constant_thresholds(data):
    X, y = data
    with pytest.warns(UserWarning, match="at level 3;"):
        model = OrdinalClassifier(levels=range(-1, 4)).fit(X, y)
    assert type(model.estimators_[-1][-1]) is DummyClassifier
    plain = OrdinalClassifier().fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X)[:, :4], plain.predict_proba(X))


@pytest.mark.parametrize("sample_weight", [None, np.linspace(0.1, 2, 120)])
def test_intensities_are_those_of_libsvm(data, rng, sample_weight):
    X, y = data
    y = y + rng.normal(scale=0.1, size=120)
    model = IntensityRegressor(C=2.0).fit(X, y, sample_weight)
    unit = np.std(y)
    svr = SVR(C=2.0 * unit, gamma=0.25 / 20, epsilon=0.1 * unit, tol=1e-3 * unit)
    scaler = StandardScaler().fit(X)
    svr.fit(scaler.transform(X), y, sample_weight)
    other = other_rows(rng, X)
    expected = svr.predict(scaler.transform(other))
    np.testing.assert_allclose(model.predict(other), expected, **EXACT)
    kernel, machine = model.estimator_[-2:].named_steps.values()
    assert type(machine) is KernelRegressor
    assert kernel.rows_.dtype == X.dtype and len(kernel.rows_) == len(svr.support_) < 120


def test_without_a_shared_kernel(data, monkeypatch):
    X, y = data
    monkeypatch.setattr(shared_kernel, "_LARGEST", 0)
    model = OrdinalClassifier().fit(X, y)
    assert model._shared_ is None
    assert all(type(each[-1]) is KernelClassifier for each in model.estimators_)
    given = OrdinalClassifier(SVC()).fit(X, y)
    assert all(type(each) is SVC for each in given.estimators_)


@pytest.mark.parametrize(
    "svm",
    [
        SVC(kernel="linear"),
        SVC(kernel="poly", degree=2, coef0=1.0, gamma=0.1),
        SVC(kernel="sigmoid", gamma=0.01),
        SVC(gamma="scale"),
        SVR(gamma="auto"),
        Pipeline([("scale", StandardScaler()), ("last", SVR(kernel="linear"))]),
    ],
    ids=str,
)
def test_machines_of_ones_own(data, rng, svm):
    X, y = data
    svm = clone(svm).fit(X, y > 0)
    found = without_libsvm(svm)
    other = other_rows(rng, X)
    np.testing.assert_allclose(found.predict(other), svm.predict(other), rtol=0, atol=1e-10)
    if hasattr(svm, "decision_function"):
        expected = svm.decision_function(other)
        np.testing.assert_allclose(found.decision_function(other), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7]])
def test_classes_keep_their_names(data, labels):
    X, y = data
    svc = SVC().fit(X, np.array(labels)[(y > 0).astype(int)])
    np.testing.assert_array_equal(without_libsvm(svc).predict(X), svc.predict(X))


def test_what_is_not_a_support_vector_machine_stays(data):
    X, y = data
    for model in (Ridge(), make_pipeline(StandardScaler(), LinearSVC())):
        fitted = model.fit(X, y > 0)
        assert without_libsvm(fitted) is fitted


@pytest.mark.parametrize(
    ("svm", "change", "message"),
    [
        (SVC(), lambda X, y: (X, y), "4 classes.*OrdinalClassifier"),
        (SVC(kernel=lambda A, B: A @ B.T), lambda X, y: (X, y > 0), "sum of kernels: use dense"),
        (SVR(kernel="precomputed"), lambda X, y: (X @ X.T, y), "kernel='precomputed'"),
        (SVR(), lambda X, y: (scipy.sparse.csr_array(X), y), "csr.*use dense rows"),
    ],
    ids=["many classes", "a function", "precomputed", "sparse"],
)
def test_machines_that_cannot_be_written_as_a_sum(data, svm, change, message):
    fitted = clone(svm).fit(*change(*data))
    with pytest.raises(ValueError, match=message):
        without_libsvm(fitted)
