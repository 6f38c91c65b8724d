"""Checks of this package on every public estimator; scikit-learn's are in another file."""

import functools
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from estimators import (
    PRETRAINED,
    TABLES,
    VERIFIER,
    assert_same,
    inputs,
    labels,
    output,
    public_estimators,
    small,
    take,
)
from numpydoc.docscrape import NumpyDocString
from sklearn.base import clone
from sklearn.utils import estimator_html_repr
from skorch import NeuralNet

from sklearn_speechsent import (
    IntensityVotingRegressor,
    MelFilterBank,
    OrdinalVotingClassifier,
    SlidingCMN,
    SpeakerFeatureExtractor,
    SpeakerVerifier,
    UtteranceFrames,
    VoiceActivityDetector,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.pretrained import get_weights, weights_path
from sklearn_speechsent.training.net import UtteranceNet

META = (IntensityVotingRegressor, OrdinalVotingClassifier, WaveformPerturbation)


@pytest.fixture(params=list(public_estimators()), ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


def test_registry_finds_the_estimators():
    names = {cls.__name__ for cls in public_estimators()}
    assert {"MelFilterBank", "OrdinalClassifier", "SpeechSentimentRegressor"} <= names
    assert {"SpeakerVerifier", "SpeakerEmbedder", "SpeakerEmbeddingFusion"} <= names


def test_clone_of_a_fitted_estimator_fits_other_lengths(cls):
    fitted = small(cls).fit(inputs(cls), labels())
    again = clone(fitted)
    assert not [name for name in vars(again) if name in ("module_", "n_features_in_")]
    X = inputs(cls, n=6, longer=2)
    again.fit(X, labels(6))
    assert len(output(again, X)) == 6


def test_refit_on_another_size(cls):
    sizes = (80, 80) if cls in PRETRAINED else (80, 16)
    estimator = small(cls).fit(inputs(cls, size=sizes[0]), labels())
    before = estimator.get_params(deep=False)
    X = inputs(cls, n=9, size=sizes[1])
    assert len(output(estimator.fit(X, labels(9)), X)) == 9
    assert estimator.get_params(deep=False) == before


def test_alone_batched_and_shuffled_agree(cls):
    X = inputs(cls)
    estimator = small(cls).fit(X, labels())
    together = output(estimator, X)
    order = np.random.default_rng(0).permutation(8)
    assert_same(output(estimator, take(X, order)), [together[row] for row in order])
    alone = [output(estimator, take(X, [row]))[0] for row in range(8)]
    assert_same(alone, together)


def test_longer_neighbours_change_nothing(cls):
    X, longer = inputs(cls), inputs(cls, n=2, longer=4)
    estimator = small(cls).fit(X, labels())
    mixed = [*take(X, range(8)), *take(longer, range(2))]
    if cls in TABLES:
        mixed = np.array(mixed)
    elif not isinstance(X, list):
        mixed = UtteranceFrames.from_arrays(mixed)
    assert_same(output(estimator, mixed)[:8], output(estimator, X))


def test_pickles_predict_the_same_in_another_process(speech, tmp_path):
    """One process for all estimators: starting it takes longer than anything it does."""
    fitted, y = {}, [-1, 0, 1, 0]
    for cls in public_estimators():
        X = inputs(cls, n=4)
        fitted[cls.__name__] = small(cls).fit(X, y), X
    # Also of files, around a network, and with recordings instead of frames.
    make = functools.partial(make_sentiment_pipeline, vad="passthrough", weights=None, n_jobs=1)
    net = make("1/2SREx-SEResNet-16 + C", max_epochs=1, chunk_duration=0.3, random_state=0)
    for estimator in (make(), net, WaveformPerturbation(make())):
        X = speech.data[:4]
        fitted[repr(estimator)] = estimator.fit(X, y), X
    X = inputs(MelFilterBank, n=4)
    fitted["recordings"] = SpeakerVerifier(**VERIFIER).fit(X, y), X
    # And of weights that were read from a file, which is not there any more.
    folder = weights_path(get_weights("speechsent-seresnet")).parent
    frames = MelFilterBank().fit_transform(speech.data[:2])
    for estimator, name, X in (
        (VoiceActivityDetector(), "speechsent-unet-vad", frames),
        (
            SpeakerFeatureExtractor(n_blocks=1),
            "speechsent-seresnet",
            SlidingCMN(None).fit_transform(frames),
        ),
    ):
        path = Path(shutil.copy(folder / f"{name}.safetensors", tmp_path))
        fitted[name] = estimator.set_params(weights=path).fit(X), X
        path.unlink()
    joblib.dump(fitted, tmp_path / "in.joblib")
    code = (
        "import sys, joblib, torch; torch.set_num_threads(1)\n"
        f"sys.path.append({str(Path(__file__).parent)!r})\n"
        "from estimators import output\n"
        "fitted = joblib.load(sys.argv[1])\n"
        "joblib.dump({name: output(*pair) for name, pair in fitted.items()}, sys.argv[2])"
    )
    files = [tmp_path / "in.joblib", tmp_path / "out.joblib"]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *files], check=True)
    loaded = joblib.load(files[1])
    assert set(loaded) == set(fitted)
    for name, (estimator, X) in fitted.items():
        assert_same(loaded[name], output(estimator, X), atol=1e-6)


def test_repr_and_html(cls):
    estimator = small(cls)
    if cls not in META:  # whose estimators have no default
        assert repr(cls()) == f"{cls.__name__}()"
    assert repr(estimator).startswith(cls.__name__)
    assert cls.__name__ in estimator_html_repr(estimator)
    estimator.fit(inputs(cls), labels())
    assert cls.__name__ in estimator_html_repr(estimator)


def test_init_sets_parameters_and_state(cls):
    estimator = small(cls) if cls in META else cls()
    state = {"history_", "initialized_", "virtual_params_"}
    extra = (
        set(vars(estimator))
        - set(estimator.get_params(deep=False))
        - {
            "_modules",
            "_criteria",
            "_optimizers",
            "_params_to_validate",
        }
    )
    assert extra <= (state if issubclass(cls, UtteranceNet) else set())


def test_private_state_is_not_a_parameter(cls):
    estimator = small(cls).fit(inputs(cls), labels())
    names = set(estimator.get_params(deep=False))
    estimator._parent_callback_ctx = object()
    assert set(estimator.get_params(deep=False)) == names
    assert not [name for name in names if name.startswith("_")]
    assert not hasattr(clone(estimator), "_parent_callback_ctx")


def test_fit_returns_self_and_leaves_generators_alone(cls):
    numpy_state = np.random.get_state  # only read here, not drawn from
    before, torch_before = numpy_state(), torch.get_rng_state()
    estimator = small(cls)
    assert estimator.fit(inputs(cls), labels()) is estimator
    for found, expected in zip(numpy_state(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_random_state_decides(cls):
    estimator, X = small(cls), inputs(cls)
    # Without anything random, every fit is the same; a detector draws only where it is trained.
    if "random_state" not in estimator.get_params() or cls is VoiceActivityDetector:
        results = [output(clone(estimator).fit(X, labels()), X) for _ in range(2)]
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
        return
    results = [
        output(clone(estimator).set_params(random_state=seed).fit(X, labels()), X)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2])


def test_fitted_attributes_are_documented(cls):
    """Those of skorch are documented there."""
    with torch.random.fork_rng(devices=[]):
        skorchs = vars(
            NeuralNet(
                torch.nn.Linear, torch.nn.MSELoss, module__in_features=1, module__out_features=1
            ).initialize()
        )
    doc = NumpyDocString(inspect.getdoc(cls))
    documented = {name for entry in doc["Attributes"] for name in entry.name.split(", ")}
    fitted = small(cls).fit(inputs(cls), labels())
    public = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    assert public <= documented | (set(skorchs) if issubclass(cls, UtteranceNet) else set())
