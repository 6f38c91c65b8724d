import numpy as np
import pytest
import torch

from sklearn_speechsent.nn import (
    ORDINAL_HEADS,
    CoralHead,
    RegressionHead,
    class_probabilities,
    clm_loss,
    condor_loss,
    coral_loss,
    corn_loss,
    cross_entropy,
    cumulative_probabilities,
    sord_loss,
)

K = 5
LEVELS = np.array([0, 1, 2, 3, 4, 2])


@pytest.fixture
def logits():
    z = np.random.default_rng(0).normal(size=(len(LEVELS), K - 1)) * 2
    return -np.sort(-z, axis=1)  # Decreasing, as cumulative links have them.


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def naive_coral(z, level):
    y = level > np.arange(len(z))
    log_sigmoid = np.log(sigmoid(z))
    return -np.sum(y * log_sigmoid + (1 - y) * (log_sigmoid - z))


def naive_corn(z, level):
    tasks = range(min(level + 1, len(z)))
    return -sum(np.log(sigmoid(z[k]) if level > k else 1 - sigmoid(z[k])) for k in tasks)


def naive_condor(z, level):
    p = np.cumprod(sigmoid(z))
    return -np.sum(np.where(level > np.arange(len(z)), np.log(p), np.log(1 - p)))


def naive_sord(z, level):
    target = np.exp(-2.0 * np.abs(level - np.arange(len(z))))
    return -np.sum(target / target.sum() * (z - np.log(np.exp(z).sum())))


def naive_clm(z, level):
    p = np.concatenate([[1], sigmoid(z), [0]])
    return -np.log(p[level] - p[level + 1])


@pytest.mark.parametrize(
    "loss, naive",
    [
        (coral_loss, naive_coral),
        (corn_loss, naive_corn),
        (condor_loss, naive_condor),
        (clm_loss, naive_clm),
        (sord_loss, naive_sord),
    ],
)
def test_loss_is_the_direct_formula(loss, naive, logits):
    expected = [naive(z, level) for z, level in zip(logits, LEVELS, strict=True)]
    if loss is sord_loss:  # one logit per level
        logits = np.hstack([logits, logits[:, :1] ** 2])
        expected = [naive(z, level) for z, level in zip(logits, LEVELS, strict=True)]
    got = loss(torch.tensor(logits), torch.tensor(LEVELS))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(
    "loss", [coral_loss, corn_loss, condor_loss, clm_loss, cross_entropy, sord_loss]
)
@pytest.mark.parametrize("size", [0.0, 200.0, -200.0])
def test_losses_and_gradients_stay_finite(loss, size):
    z = (size - 1e-3 * torch.arange(4.0)).repeat(4, 1).requires_grad_()
    losses = loss(z, torch.tensor([0, 1, 2, 3]))
    assert losses.shape == (4,)
    losses.sum().backward()
    assert losses.isfinite().all() and z.grad.isfinite().all()


def test_corn_is_the_likelihood_of_the_level(logits):
    head = ORDINAL_HEADS["corn"](3, K)
    probabilities = class_probabilities(head.cumulative(torch.tensor(logits))).numpy()
    expected = -np.log(probabilities[np.arange(len(LEVELS)), LEVELS])
    got = corn_loss(torch.tensor(logits), torch.tensor(LEVELS)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_coral_probabilities_take_the_running_minimum():
    z = np.random.default_rng(1).normal(size=(20, K - 1))
    cumulative = np.minimum.accumulate(sigmoid(z), axis=1)
    expected = -np.diff(np.pad(cumulative, ((0, 0), (1, 1)), constant_values=(1, 0)))
    expected = np.where(np.isclose(expected, 0), 0, expected)
    head = CoralHead(3, K)
    got = class_probabilities(head.cumulative(torch.tensor(z))).numpy()
    np.testing.assert_allclose(got, expected / expected.sum(1, keepdims=True), atol=1e-12)


def test_coral_shares_one_weight_vector():
    head = CoralHead(3, K)
    assert {n: tuple(p.shape) for n, p in head.named_parameters()} == {
        "linear.weight": (1, 3),
        "small_bias": (K - 1,),
    }


def test_biases_of_coral_come_apart_at_a_small_rate():
    """Five levels along a line, in as many steps as a few epochs have."""
    levels = torch.arange(K).repeat(20)
    h = torch.stack([levels - 2.0, torch.ones(len(levels))], 1)
    head = CoralHead(2, K)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[4.0, 0.0]]))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(head(h), levels).mean().backward()
        optimizer.step()
    assert ((head(h) > 0).sum(1) == levels).all()
    assert head.loss(head(h), levels).mean() < 0.8


@pytest.mark.parametrize("name", ORDINAL_HEADS)
@pytest.mark.parametrize("n_levels", [2, 3, 7])
@pytest.mark.parametrize("n_items", [1, 9])
def test_heads_are_rank_consistent(name, n_levels, n_items):
    head = ORDINAL_HEADS[name](4, n_levels)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=2)
    logits = head(torch.randn(n_items, 4))
    cumulative = head.cumulative(logits)
    assert cumulative.shape == (n_items, n_levels - 1)
    assert (cumulative.diff(dim=1) <= 0).all()
    probabilities = class_probabilities(cumulative)
    assert probabilities.shape == (n_items, n_levels) and (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(n_items))
    torch.testing.assert_close(cumulative_probabilities(probabilities), cumulative)
    assert head.loss(logits, torch.arange(n_items) % n_levels).shape == (n_items,)


@pytest.mark.parametrize("name", ORDINAL_HEADS)
@pytest.mark.parametrize("n_levels", [2, 3, 7])
def test_prior_is_predicted_for_a_zero_vector(name, n_levels):
    prior = torch.arange(1.0, n_levels + 1)
    prior /= prior.sum()
    head = ORDINAL_HEADS[name](4, n_levels)
    head.set_prior(prior)
    probabilities = class_probabilities(head.cumulative(head(torch.zeros(1, 4))))
    torch.testing.assert_close(probabilities[0], prior, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ORDINAL_HEADS)
@pytest.mark.parametrize("empty", [0, 2, 4])
def test_prior_with_an_empty_level_stays_finite(name, empty):
    prior = torch.ones(K)
    prior[empty] = 0
    head = ORDINAL_HEADS[name](4, K)
    head.set_prior(prior)
    assert all(p.isfinite().all() for p in head.parameters())
    probabilities = class_probabilities(head.cumulative(head(torch.zeros(1, 4))))[0]
    assert 0 < probabilities[empty] < 1e-3
    assert head.loss(head(torch.zeros(1, 4)), torch.tensor([empty])).isfinite()


@pytest.mark.parametrize("prior", [torch.ones(3), -torch.ones(K), torch.zeros(K)])
def test_impossible_priors_are_refused(prior):
    with pytest.raises(ValueError, match="prior"):
        CoralHead(4, K).set_prior(prior)


def test_a_single_level_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        CoralHead(4, 1)


def test_regression_head_returns_one_number_each():
    head = RegressionHead(4)
    prediction = head(torch.randn(1, 4))
    assert prediction.shape == (1,)
    loss = head.loss(prediction, torch.tensor([1.0]))
    torch.testing.assert_close(loss, (prediction - 1).abs())


@pytest.mark.parametrize(
    "loss", [coral_loss, corn_loss, condor_loss, clm_loss, cross_entropy, sord_loss]
)
def test_losses_against_shares_are_means_over_levels(loss, logits):
    """A vote costs what a label costs, and certain shares cost the same to the last digit."""
    if loss in (cross_entropy, sord_loss):
        logits = np.pad(logits, ((0, 0), (0, 1)))
    z = torch.tensor(logits, requires_grad=True)
    single = torch.stack([loss(z, torch.full((len(z),), level)) for level in range(K)], dim=1)
    shares = torch.from_numpy(np.random.default_rng(1).dirichlet(np.ones(K), size=len(z)))
    shares[0] = torch.tensor([0, 0.5, 0, 0, 0.5])
    torch.testing.assert_close(loss(z, shares), (single * shares).sum(1))
    levels = torch.from_numpy(LEVELS)
    certain = torch.nn.functional.one_hot(levels, K).float()
    assert torch.equal(loss(z, certain), loss(z, levels))
    (gradient,) = torch.autograd.grad(loss(z, shares).sum(), z)
    assert gradient.isfinite().all()
