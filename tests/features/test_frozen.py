"""Long utterances in pieces: equal to the whole, or by the definition of their gates."""

import pickle
from functools import partial
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from skorch.exceptions import DeviceWarning

from sklearn_speechsent import SpeakerEmbedder, SpeakerFeatureExtractor, UtteranceFrames
from sklearn_speechsent.features import frozen
from sklearn_speechsent.features.frozen import FrozenFunction
from sklearn_speechsent.nn import SpeakerBlocks, SpeakerResNet, SqueezeExcitation, masking, pieces
from sklearn_speechsent.pretrained import save_weights
from sklearn_speechsent.store import FrameRows

SMALL = {"n_mels": 16, "widths": (4, 6, 8, 10), "depths": (1, 2, 1, 1)}
LIMIT = 40


def randomised(network):
    """Network whose normalisations have statistics of their own, so that padding is not neutral."""
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_()
    return network.eval()


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(frozen, "GATED_WHOLE", LIMIT)
    monkeypatch.setattr(frozen, "PIECE", LIMIT)


@pytest.fixture
def make_weights(tmp_path):
    """Function that writes a small network to a file."""

    def make(se_ratio):
        architecture = {**SMALL, "se_ratio": se_ratio, "embedding_size": 5}
        network = randomised(SpeakerResNet(**architecture))
        return save_weights(
            tmp_path / f"{se_ratio}.safetensors",
            network.state_dict(),
            architecture=architecture,
            frame_settings={"n_mels": 16, "cmn": None},
        )

    return make


def all_maps(network, utterance, longest):
    def join(found, n_columns):
        joined = np.concatenate(list(found))
        assert len(joined) == n_columns
        return joined

    with mock.patch.multiple(frozen, GATED_WHOLE=longest, PIECE=longest):
        (maps,) = FrozenFunction(network, "float32", join, None)([utterance])
    return maps


def noise(rng, *lengths):
    arrays = [3 * rng.normal(size=(n, 16)).astype(np.float32) for n in lengths]
    return UtteranceFrames.from_arrays(arrays, frame_settings={"n_mels": 16})


# -- cuts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [1, 40, 41, 79, 80, 81, 1003])
@pytest.mark.parametrize("step", [1, 2, 8, 32])
def test_cuts(n_frames, step):
    cuts = list(pieces(n_frames, step=step, context=11, longest=LIMIT))
    assert len(cuts) == -(-n_frames // LIMIT)
    covered = np.concatenate([np.arange(n_frames)[piece] for piece, _ in cuts])
    assert_array_equal(covered, np.arange(n_frames))
    lengths = [piece.stop - piece.start for piece, _ in cuts]
    assert max(lengths) - min(lengths) < 2 * step and max(lengths) < LIMIT + step
    for piece, seen in cuts:
        assert piece.start % step == seen.start % step == 0
        assert seen.start == 0 or seen.start <= piece.start - 11
        assert seen.stop == min(piece.stop + 11, n_frames)


# -- without squeeze-excitation --------------------------------------------------------------------


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4])
def test_pieces_are_the_whole(n_blocks, rng):
    network = randomised(SpeakerBlocks(n_blocks, se_ratio=None, **SMALL))
    for utterance in noise(rng, 1, 39, 40, 41, 81, 203, 517):
        whole = all_maps(network, utterance, 10**6)
        found = all_maps(network, utterance, LIMIT)
        assert_allclose(found, whole, rtol=0, atol=1e-5 * whole.max())


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4])
def test_less_context_would_not_do(n_blocks, rng):
    network = randomised(SpeakerBlocks(n_blocks, se_ratio=None, **SMALL))
    (utterance,) = noise(rng, 203)
    whole = all_maps(network, utterance, 10**6)
    network.half_width -= 2 * network.time_stride
    found = all_maps(network, utterance, LIMIT)
    assert np.abs(found - whole).max() > 1e-5 * whole.max()


@pytest.mark.parametrize(
    ("depths", "widths"), [((3, 4, 6, 3), [7, 22, 68, 112]), ((2, 2, 2, 2), [5, 12, 26, 54])]
)
def test_half_widths(depths, widths):
    with torch.device("meta"):
        found = [SpeakerBlocks(n, depths=depths).half_width for n in (1, 2, 3, 4)]
    assert found == widths


def test_embeddings_of_long_utterances(rng, make_weights, small_limits, computed):
    path = make_weights(None)
    X = noise(rng, 41, 250, 7)
    embedder = SpeakerEmbedder(path, normalize=False).fit(X)
    found = embedder.transform(X)
    assert len(computed) == 2 + 7 + 1
    for utterance, embedding in zip(X, found, strict=True):
        with torch.inference_mode():
            lengths = torch.tensor([len(utterance)])
            expected = embedder.network_(torch.tensor(utterance)[None], lengths)[0].numpy()
        assert_allclose(embedding, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# -- with squeeze-excitation -----------------------------------------------------------------------


def by_hand(network, x, means=None):
    """Maps, and what each squeeze-excitation takes; or maps with other means."""
    taken, hooks, given = [], [], iter(means or [])
    for module in network.modules():
        if isinstance(module, SqueezeExcitation):

            def swap(_, inputs):
                taken.append(inputs[0])
                return (next(given),) if means else None

            hooks.append(module.squeeze.register_forward_pre_hook(swap))
    with torch.inference_mode():
        maps, _ = network(torch.tensor(x)[None], torch.tensor([len(x)]))
    for hook in hooks:
        hook.remove()
    return maps[0].permute(2, 0, 1).numpy(), taken


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4])
def test_squeeze_excitation_over_pieces(n_blocks, rng):
    """Whole up to the limit; beyond, means of pieces by themselves, averaged and given to all."""
    network = randomised(SpeakerBlocks(n_blocks, se_ratio=1, **SMALL))
    short, long = noise(rng, LIMIT, 2 * LIMIT)
    long[LIMIT:] *= 5
    assert_allclose(all_maps(network, short, LIMIT), by_hand(network, short)[0], atol=1e-5)
    stride = network.time_stride
    context = -(-network.half_width // stride) * stride
    parts = long[: LIMIT + network.half_width], long[max(LIMIT - context, 0) :]
    taken = [by_hand(network, part)[1] for part in parts]
    n, m = map(len, parts)
    means = [(n * one + m * two) / (n + m) for one, two in zip(*taken, strict=True)]
    first, second = (by_hand(network, part, means)[0] for part in parts)
    columns = LIMIT // stride
    expected = np.concatenate([first[:columns], second[-columns:]])
    found = all_maps(network, long, LIMIT)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    whole, _ = by_hand(network, long)
    alone = np.concatenate(
        [by_hand(network, parts[0])[0][:columns], by_hand(network, parts[1])[0][-columns:]]
    )
    assert 0 < np.linalg.norm(found - whole) < np.linalg.norm(alone - whole)


@pytest.mark.parametrize("se_ratio", [None, 2])
@pytest.mark.parametrize("pooling", ["stats", None])
def test_neither_batch_nor_order_nor_workers_matter(
    se_ratio, pooling, rng, make_weights, small_limits, tmp_path
):
    X = noise(rng, 41, 100, 7, 333)
    params = {"n_blocks": 3, "n_bands": 2, "pooling": pooling}
    extractor = SpeakerFeatureExtractor(make_weights(se_ratio), **params).fit(X)
    together = extractor.transform(X)
    for found in (
        extractor.transform(X[::-1])[::-1],
        clone(extractor).set_params(n_jobs=2).fit_transform(X),
        clone(extractor)
        .set_params(n_jobs=3, memory=tmp_path)
        .fit_transform(X[[3, 1, 0, 2]])[[2, 1, 3, 0]],
        [extractor.transform([utterance])[0] for utterance in X],
    ):
        for one, other in zip(found, together, strict=True):
            assert_array_equal(one, other)


@pytest.mark.parametrize("step", [SpeakerEmbedder, partial(SpeakerFeatureExtractor, n_bands=2)])
@pytest.mark.parametrize("se_ratio", [None, 2])
def test_the_length_of_pieces_in_a_store(
    step, se_ratio, rng, make_weights, tmp_path, computed, monkeypatch
):
    """It is part of the key where it changes the result, and only there."""
    X = noise(rng, 100)
    extractor = step(make_weights(se_ratio), memory=tmp_path / "store")
    for longest, runs in ((100, 1), (60, 4 if se_ratio else 0), (100, 0)):
        monkeypatch.setattr(frozen, "GATED_WHOLE", longest)
        monkeypatch.setattr(frozen, "PIECE", longest)
        computed.clear()
        clone(extractor).fit_transform(X)
        assert len(computed) == runs, longest


# -- both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("se_ratio", [None, 2])
def test_statistics_of_pieces_are_those_of_the_maps(se_ratio, rng, make_weights, small_limits):
    X = noise(rng, 41, 203)
    statistics = ("mean", "std", "delta", "thirds")
    path = make_weights(se_ratio)
    maps = SpeakerFeatureExtractor(path, pooling=None).fit_transform(X)
    table = SpeakerFeatureExtractor(path, n_bands=2, statistics=statistics).fit_transform(X)
    for row, utterance in zip(table, maps, strict=True):
        banded = utterance.astype(np.float64).reshape(len(utterance), 8, 2, 2).mean(axis=3)
        edges = np.linspace(0, len(banded), 4).round().astype(int)
        expected = [
            banded.mean(axis=0),
            banded.std(axis=0),
            np.sqrt((np.diff(banded, axis=0) ** 2).mean(axis=0)),
            *(banded[a:b].mean(axis=0) for a, b in pairwise(edges)),
        ]
        assert_allclose(row, np.ravel(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("se_ratio", [None, 2])
def test_utterances_of_nan_stay_nan(se_ratio, rng, make_weights, small_limits):
    arrays = list(noise(rng, 50, 90))
    arrays[1] = np.full_like(arrays[1], np.nan)
    path = make_weights(se_ratio)
    table = SpeakerFeatureExtractor(path, n_bands=2).fit_transform(arrays)
    voices = SpeakerEmbedder(path).fit_transform(arrays)
    for rows in (table, voices):
        assert np.isfinite(rows[0]).all() and np.isnan(rows[1]).all()


def test_bfloat16_in_pieces(rng, make_weights, small_limits):
    X = noise(rng, 200)
    extractor = SpeakerFeatureExtractor(make_weights(None), n_blocks=2, pooling=None)
    exact = extractor.fit_transform(X).base
    rough = clone(extractor).set_params(precision="bfloat16").fit_transform(X).base
    assert 1e-4 < np.linalg.norm(rough - exact) / np.linalg.norm(exact) < 4e-2


# -- batches for a device --------------------------------------------------------------------------


@pytest.fixture(params=["by rows", "by a mask"])
def padding(request, monkeypatch):
    """Both ways to set padding to zero: that of the processor and that of other devices."""
    if request.param == "by a mask":
        monkeypatch.setattr(masking, "_goes_by_rows", lambda x: False)


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("se_ratio", [None, 2])
def test_batches_are_the_utterances_one_by_one(
    se_ratio, n_jobs, rng, make_weights, small_limits, computed, padding
):
    """Of at most 100 frames with their padding; 41 frames and more take several pieces."""
    X = noise(rng, 7, 40, 30, 1, 90, 12, 20, 39, 16)
    X.base[X.starts[5]] = np.nan  # stays with its utterance
    for step in (
        SpeakerEmbedder(make_weights(se_ratio)),
        SpeakerFeatureExtractor(make_weights(se_ratio), n_bands=2, n_blocks=3),
        SpeakerFeatureExtractor(make_weights(se_ratio), n_blocks=2, pooling=None),
    ):
        step.fit(X)
        function = step._function(FrameRows(X))
        function.batch, function.n_jobs = 100, n_jobs
        expected = list(step._function(FrameRows(X))(X))
        computed.clear()
        found = list(function(X))
        long = computed[2:-2]
        assert computed[:2] == [40, 30] and computed[-2:] == [20, 39] and len(long) >= 3
        assert len(found) == len(X)
        for row, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert one.dtype == other.dtype and one.shape == other.shape
            assert np.isnan(one).all() == (row == 5)
            assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


def test_a_batch_has_a_limit(rng, make_weights):
    extractor = SpeakerFeatureExtractor(make_weights(None), n_bands=2)
    X = noise(rng, *[10] * 7)
    function = extractor.fit(X)._function(FrameRows(X))
    assert [len(group) for group in function._groups(X)] == [1] * 7
    function.batch = 30
    assert [len(group) for group in function._groups(X)] == [3, 3, 1]


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "gpu"])
@pytest.mark.parametrize("step", [SpeakerEmbedder, SpeakerFeatureExtractor])
def test_a_device_that_is_not_there(step, name, rng, make_weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    X = noise(rng, 20, 30)
    params = {} if step is SpeakerEmbedder else {"n_bands": 2}
    here = step(make_weights(None), **params).fit(X)
    there = clone(here).set_params(device=name)
    with pytest.raises(ValueError, match=rf"device='{name}' cannot be used.*device='cpu'"):
        there.fit(X)
    there = pickle.loads(pickle.dumps(here.set_params(device=name)))
    with pytest.warns(DeviceWarning, match="processor is used instead"):
        found = there.transform(X)
    assert_array_equal(found, here.set_params(device="cpu").transform(X))


def test_a_device_shares_the_store(rng, make_weights, tmp_path, computed):
    """Features of another device are the same, so that they are found."""
    X = noise(rng, 20, 30)
    extractor = SpeakerFeatureExtractor(make_weights(None), n_bands=2, memory=tmp_path / "store")
    expected = extractor.fit_transform(X)
    computed.clear()
    with pytest.warns(DeviceWarning):
        assert_array_equal(extractor.set_params(device="cuda:99").transform(X), expected)
    assert not computed


def test_the_network_of_the_estimator_stays_where_it_is(rng, make_weights, monkeypatch):
    """Folding shares tensors, and moving a network moves all that share them."""
    monkeypatch.setattr(frozen, "usable_device", torch.device)
    extractor = SpeakerFeatureExtractor(make_weights(2), n_bands=2).fit(noise(rng, 20))
    function = extractor.set_params(device="meta")._function(FrameRows(noise(rng, 20)))
    for network, device in ((function.folded, "meta"), (extractor.network_, "cpu")):
        tensors = [*network.parameters(), *network.buffers()]
        assert {tensor.device.type for tensor in tensors} == {device}
