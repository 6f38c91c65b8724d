"""Training the U-net on masks: learning, repeatability, and errors about masks."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from small_vad import FRAME_SETTINGS, loud_stretches, trainee, weights

from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    UtteranceFrames,
    VoiceActivityDetector,
)
from sklearn_speechsent.features import FrameStatistics
from sklearn_speechsent.nn import MaskedBatchNorm2d, SpeechUNet
from sklearn_speechsent.pretrained import load_vad_weights
from sklearn_speechsent.vad.fitting import FrameChunks, train_on_frames


@pytest.fixture
def path(tmp_path):
    return weights(tmp_path / "small.safetensors")


@pytest.fixture
def loud():
    return loud_stretches()


def state(detector):
    return {key: tensor.numpy() for key, tensor in detector.network_.state_dict().items()}


def assert_same_state(one, other):
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    for key, values in first.items():
        assert_array_equal(values, second[key], err_msg=key)


# -- learning --------------------------------------------------------------------------------------


def test_it_learns_what_is_loud(loud, path):
    frames, masks = loud
    new, wanted = loud_stretches(seed=5)
    before = VoiceActivityDetector(weights=path).fit(frames).frame_scores(new)
    detector = trainee(path).fit(frames, masks=masks)
    scores = np.concatenate(detector.frame_scores(new))
    truth = np.concatenate(wanted)
    assert np.mean((np.concatenate(before) > 0.5) == truth) < 0.9, "nothing was left to learn"
    assert np.mean((scores > 0.5) == truth) > 0.95
    assert len(detector.loss_curve_) == 25
    assert detector.loss_curve_[-1] < 0.5 * detector.loss_curve_[0]
    assert not detector.network_.training


@pytest.mark.parametrize("make", [lambda: 3, lambda: np.random.RandomState(3)])
def test_training_repeats_itself(loud, path, make):
    frames, masks = loud
    numpy_state = np.random.get_state
    before = numpy_state()[1].copy()
    fits = [
        trainee(path, max_epochs=2, random_state=make()).fit(frames, masks=masks) for _ in range(2)
    ]
    assert_same_state(*fits)
    assert fits[0].loss_curve_ == fits[1].loss_curve_
    other = trainee(path, max_epochs=2, random_state=4).fit(frames, masks=masks)
    assert not np.array_equal(state(other)["head.weight"], state(fits[0])["head.weight"])
    assert_array_equal(numpy_state()[1], before)  # torch's is watched in all tests


def test_training_starts_from_the_weights_every_time(loud, path):
    frames, masks = loud
    once = trainee(path, max_epochs=1).fit(frames, masks=masks)
    twice = trainee(path, max_epochs=1).fit(frames, masks=masks).fit(frames, masks=masks)
    assert_same_state(once, twice)
    slow = trainee(path, max_epochs=1, lr=1e-12).fit(frames, masks=masks)
    untrained = VoiceActivityDetector(weights=path).fit(frames)
    for name, parameter in slow.network_.named_parameters():
        expected = untrained.network_.get_parameter(name).detach()
        assert_allclose(parameter.detach(), expected, atol=1e-8, err_msg=name)
    without = twice.fit(frames)
    assert_same_state(without, untrained)
    assert not hasattr(without, "loss_curve_")


def test_normalisations_are_re_estimated(loud, path):
    """The statistics are those of the training set, not a trailing average of batches."""
    frames, masks = loud
    rows = [0, 1, 4, 5]  # shorter than a chunk, so that one batch is all there is
    detector = trainee(path, max_epochs=1, lr=1e-12, batch_size=4)
    detector.fit(frames[rows], masks=[masks[row] for row in rows])
    network = VoiceActivityDetector(weights=path).fit(frames).network_.train()
    norms = [module for module in network.modules() if isinstance(module, MaskedBatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    padded = np.zeros((4, 333, 12), np.float32)
    for row, utterance in zip(padded, frames[rows], strict=True):
        row[: len(utterance)] = utterance
    with torch.no_grad():
        network(torch.from_numpy(padded), torch.from_numpy(frames[rows].lengths))
    expected = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    for key, values in state(detector).items():
        if "running" in key:
            assert_allclose(values, expected[key], rtol=1e-4, atol=1e-5, err_msg=key)
    trained = [m for m in detector.network_.modules() if isinstance(m, MaskedBatchNorm2d)]
    assert len(trained) == len(norms) and {norm.momentum for norm in trained} == {0.1}


def test_masks_may_be_probabilities(path, rng):
    frames = UtteranceFrames.from_arrays(
        [rng.normal(size=(200, 12)).astype(np.float32) for _ in range(4)],
        frame_settings=FRAME_SETTINGS,
    )
    soft = trainee(path, max_epochs=40).fit(frames, masks=[np.full(200, 0.25)] * 4)
    assert np.mean(soft.frame_scores(frames)) == pytest.approx(0.25, abs=0.05)


def test_kinds_of_masks(loud, path):
    frames, masks = loud
    expected = trainee(path, max_epochs=1).fit(frames, masks=masks)
    objects = np.empty(len(masks), dtype=object)
    objects[:] = masks
    for y in (
        [mask.astype(float) for mask in masks],
        [mask.tolist() for mask in masks],
        [mask.astype(np.uint8) for mask in masks],
        tuple(masks),
        objects,
        pd.Series(masks),
        UtteranceFrames.from_arrays(masks),
    ):
        assert_same_state(trainee(path, max_epochs=1).fit(frames, masks=y), expected)
    shuffled = trainee(path, max_epochs=1).fit(frames[::-1], masks=masks[::-1])
    assert shuffled.loss_curve_ != expected.loss_curve_


def test_masks_of_equal_length_may_be_a_matrix(path, rng):
    X = rng.normal(size=(4, 50, 12)).astype(np.float32)
    y = rng.random((4, 50)) < 0.5
    matrix = trainee(path, max_epochs=1).fit(X, masks=y)
    assert_same_state(trainee(path, max_epochs=1).fit(list(X), masks=list(y)), matrix)
    assert len(matrix.loss_curve_) == 1


def test_training_on_a_subset_sees_nothing_else_of_its_base(loud, path):
    frames, masks = loud
    rows = [4, 1, 3]
    subset = trainee(path, max_epochs=2).fit(frames[rows], masks=[masks[row] for row in rows])
    copied = trainee(path, max_epochs=2).fit(frames[rows].compact(), masks=[masks[r] for r in rows])
    assert_same_state(subset, copied)


def test_chunks_hold_every_frame_with_its_target():
    lengths = np.array([3, 25, 10, 1])
    base = np.arange(45, dtype=np.float32)[:, None]
    frames = UtteranceFrames(base, [40, 2, 30, 0], [43, 27, 40, 1])
    targets = np.concatenate([base[frames.starts[i] : frames.stops[i], 0] for i in range(4)])
    chunks = FrameChunks(frames, targets, 10, 3, np.random.RandomState(0))
    seen, sizes = [], []
    for _ in range(30):
        for x, n, y in chunks:
            sizes.append(len(x))
            assert x.shape[1] == n.max() <= 10 and x.shape[:2] == y.shape
            for row, length in enumerate(n.tolist()):
                values = x[row, :length, 0].numpy()
                assert_array_equal(values, y[row, :length].numpy())
                assert_array_equal(np.diff(values), 1)  # of one utterance, in order
                seen.append(values)
    assert len(seen) == 30 * (1 + 3 + 1 + 1) and set(sizes) == {3}
    assert set(np.concatenate(seen)) == set(targets)
    assert sorted({len(values) for values in seen}) == [1, 3, 10]
    assert lengths.tolist() == frames.lengths.tolist()


def test_a_loss_that_explodes_is_an_error(loud, path):
    frames, masks = loud
    with pytest.raises(FloatingPointError, match=r"became .* in epoch 1\. Lower lr=1e\+30"):
        trainee(path, lr=1e30).fit(frames, masks=masks)


def test_the_rate_falls_along_half_a_cosine(loud, monkeypatch):
    frames, masks = loud
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *args: rates.append(self.param_groups[0]["lr"]) or step(self, *args),
    )
    rng = np.random.RandomState(0)
    chunks = FrameChunks(frames, np.concatenate(masks), 1000, 3, rng)
    with torch.random.fork_rng(devices=[]):
        network = SpeechUNet(12, widths=(4,))
    train_on_frames(network, chunks, max_epochs=2, lr=0.1, random_state=rng)
    assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4)))


# -- labels, and masks that do not fit -------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 0, 2, 1, 0],
        np.linspace(0, 1, 6),
        ["a", "b"] * 3,
        pd.Series([True, False] * 3),
        np.arange(6)[:, None],
        None,
    ],
)
def test_labels_do_not_train(loud, path, y):
    frames, _ = loud
    detector = trainee(path).fit(frames, y)
    assert_same_state(detector, trainee(path).fit(frames))
    assert not hasattr(detector, "loss_curve_")


@pytest.mark.usefixtures("somebody_speaks")  # in noise
def test_labels_of_a_pipeline_do_not_train(rng):
    waves = [rng.standard_normal(16000) * 0.1 for _ in range(6)]
    pipeline = make_pipeline(
        MelFilterBank(), VoiceActivityDetector(), FrameStatistics(), OrdinalClassifier()
    )
    detector = pipeline.fit(waves, [0, 1, 0, 1, 0, 1])[1]
    assert not hasattr(detector, "loss_curve_")
    shipped = load_vad_weights("speechsent-unet-vad").state
    for key, tensor in detector.network_.state_dict().items():
        assert torch.equal(tensor, shipped[key]), key


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda y: y[:-1], "masks holds 5 utterances, X has 6.*inconsistent numbers of samples"),
        (lambda y: [*y[:2], y[2][:-1], *y[3:]], "Row 2 has 430 frames, its mask 429 values"),
        (lambda y: [y[0], [], *y[2:]], "Row 1 has 90 frames, its mask 0"),
        (lambda y: [y[0], [0.5, np.nan] * 45, *y[2:]], "Row 1 of masks holds nan at frame 1"),
        (lambda y: [y[0], [0] * 89 + [1.5], *y[2:]], "Row 1 of masks holds 1.5 at frame 89"),
        (lambda y: [-y[0].astype(float), *y[1:]], "Row 0 of masks holds -1.0 at"),
        (lambda y: [y[0][:, None], *y[1:]], r"Row 0 of masks has shape \(260, 1\).*\(260,\)"),
        (lambda y: [None, *y[1:]], "Row 0 of masks (has|holds)"),
        (lambda y: [y[0], 1, *y[2:]], r"Row 1 of masks has shape \(\).*\(90,\)"),
        (lambda y: [["yes"] * 260, *y[1:]], "Row 0 of masks holds .*yes.*numbers in"),
        (lambda y: np.zeros((6, 3)), "Row 0 has 260 frames, its mask 3 values"),
    ],
)
def test_masks_that_do_not_fit(loud, path, change, says):
    frames, masks = loud
    with pytest.raises(ValueError, match=says):
        trainee(path).fit(frames, masks=change(masks))


def test_frames_of_nan_cannot_be_trained_on(loud, path):
    frames, masks = loud
    arrays = list(frames)
    arrays[1] = np.full_like(arrays[1], np.nan)
    with pytest.raises(ValueError, match="NaN or infinity in 1 utterances, the first in row 1"):
        trainee(path).fit(frames.with_frames(arrays), masks=masks)


def test_only_the_u_net_learns_from_masks(loud):
    frames, masks = loud
    with pytest.raises(ValueError, match="method='energy' learns nothing"):
        VoiceActivityDetector("energy").fit(frames, masks=masks)


@pytest.mark.usefixtures("somebody_speaks")  # in noise
def test_recordings_with_masks(path, rng):
    waves = [0.1 * rng.standard_normal(n) for n in (16000, 8000)]
    lengths = [98, 48]
    detector = trainee(path, max_epochs=1)
    made = detector.fit_transform(waves, masks=[np.arange(n) % 2 for n in lengths])
    assert len(detector.loss_curve_) == 1 and len(made) == 2
    with pytest.raises(ValueError, match="Row 1 has 48 frames, its mask 49"):
        detector.fit(waves, masks=[np.zeros(98), np.zeros(49)])


# -- weights and pickles ---------------------------------------------------------------------------


def test_saved_weights_are_the_detector(loud, path, tmp_path):
    frames, masks = loud
    detector = trainee(path, max_epochs=2).fit(frames, masks=masks)
    saved = detector.save_weights(tmp_path / "trained.safetensors", licence="CC0", miss=0.1)
    assert load_vad_weights(saved).extra == {"licence": "CC0", "miss": 0.1}
    assert load_vad_weights(saved).frame_settings == load_vad_weights(path).frame_settings
    again = VoiceActivityDetector(weights=saved).fit(frames)
    for one, other in zip(again.frame_scores(frames), detector.frame_scores(frames), strict=True):
        assert_array_equal(one, other)
    with pytest.raises(ValueError, match="has no weights to save"):
        VoiceActivityDetector("energy").fit(frames).save_weights(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="not fitted"):
        VoiceActivityDetector().save_weights(tmp_path / "x.safetensors")


def test_pickles_need_no_file(loud, path, tmp_path):
    """In another process neither: tests/test_common.py."""
    frames, masks = loud
    detector = trainee(path, max_epochs=1).fit(frames, masks=masks)
    expected = detector.frame_scores(frames)
    joblib.dump((detector, frames), tmp_path / "detector.joblib")
    path.unlink()
    for again in (
        pickle.loads(pickle.dumps(detector)),
        joblib.load(tmp_path / "detector.joblib")[0],
    ):
        for one, other in zip(again.frame_scores(frames), expected, strict=True):
            assert_array_equal(one, other)
    with pytest.raises(FileNotFoundError, match=r"small\.safetensors does not exist"):
        clone(detector).fit(frames)


def test_another_method_asks_for_another_fit(loud, path):
    frames, _ = loud
    detector = VoiceActivityDetector("energy", weights=path).fit(frames)
    with pytest.raises(ValueError, match="not fitted"):
        detector.set_params(method="unet").transform(frames)
    assert not hasattr(detector.fit(frames).set_params(method="energy").fit(frames), "network_")
