"""Heads: from the vector of an utterance to an intensity or to ordered levels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn import losses
from sklearn_speechsent.nn.probabilities import cumulative_probabilities

# Least probability of a level in a prior: an empty level keeps finite log-odds.
_PRIOR_FLOOR = 1e-4
# Biases of CORAL are stored divided by this. With Adam no weight moves further in a step than the
# rate: at the 1e-3 that suits all other weights, biases that must come to lie several units apart
# would take thousands of steps.
_REACH = 20.0
# Least distance of two cutpoints: the softplus of an increment may underflow.
_CUTPOINT_GAP = 1e-4


class RegressionHead(nn.Module):
    """One linear layer, trained with the absolute error.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import RegressionHead
    >>> RegressionHead(128)(torch.rand(2, 128)).shape
    torch.Size([2])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Predict intensities of shape (B,) from vectors of shape (B, in_features)."""
        return self.linear(h).squeeze(1)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the absolute error of each utterance, shape (B,)."""
        return (prediction - target).abs()


class OrdinalHead(nn.Module):
    """Base of the ordinal heads.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.
    n_levels : int, default=7
        Levels, K, at least 2.

    Raises
    ------
    ValueError
        If there are fewer than two levels.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import ORDINAL_HEADS
    >>> head = ORDINAL_HEADS["coral"](128, n_levels=7)
    >>> logits = head(torch.rand(2, 128))
    >>> head.cumulative(logits).shape, head.loss(logits, torch.tensor([0, 6])).shape
    (torch.Size([2, 6]), torch.Size([2]))
    """

    def __init__(self, in_features: int, n_levels: int = 7) -> None:
        super().__init__()
        if n_levels < 2:
            raise ValueError(f"An ordinal head needs at least 2 levels, got n_levels={n_levels}.")
        self.in_features = in_features
        self.n_levels = n_levels

    def forward(self, h: Tensor) -> Tensor:
        """Compute logits from vectors of shape (B, in_features)."""
        raise NotImplementedError

    def cumulative(self, logits: Tensor) -> Tensor:
        """Return P(level > k), shape (B, K - 1), non-increasing along k."""
        raise NotImplementedError

    def loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Return the loss of each utterance, shape (B,), for levels 0 … K - 1 or shares (B, K)."""
        raise NotImplementedError

    def set_prior(self, prior: Tensor) -> None:
        """Start from a prior: a zero vector is then predicted as `prior`.

        Parameters
        ----------
        prior : Tensor of shape (K,)
            Class probabilities (or counts) of the training data as they are sampled. Levels
            below 1e-4 are raised to it, so that an empty level stays finite.

        Raises
        ------
        ValueError
            If `prior` is not K non-negative finite numbers with a positive sum.
        """
        prior = torch.as_tensor(prior, dtype=torch.float64)
        if prior.shape != (self.n_levels,):
            raise ValueError(
                f"prior must have shape ({self.n_levels},), one number per level, "
                f"got {tuple(prior.shape)}."
            )
        good = prior.isfinite().all() & (prior >= 0).all() & (prior.sum() > 0)
        if not prior.is_meta and not good:  # a network of shapes alone has no values
            raise ValueError(f"prior must be non-negative, finite and not all 0, got {prior}.")
        prior = (prior / prior.sum()).clamp(min=_PRIOR_FLOOR)
        with torch.no_grad():
            self._start_from(prior / prior.sum())

    def _start_from(self, prior: Tensor) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"in_features={self.in_features}, n_levels={self.n_levels}"


class CoralHead(OrdinalHead):
    """CORAL: one weight vector shared by all thresholds, K - 1 independent biases.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.
    n_levels : int, default=7
        Levels, K.

    See Also
    --------
    coral_loss : Its loss.
    CornHead : Conditional thresholds.
    CumulativeLinkHead : Ordered cut points.

    References
    ----------
    W. Cao, V. Mirjalili and S. Raschka, "Rank consistent ordinal regression for neural networks
    with application to age estimation", Pattern Recognition Letters 140, 2020.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import CoralHead
    >>> CoralHead(128)(torch.rand(2, 128)).shape
    torch.Size([2, 6])
    """

    def __init__(self, in_features: int, n_levels: int = 7) -> None:
        super().__init__(in_features, n_levels)
        self.linear = nn.Linear(in_features, 1, bias=False)
        self.small_bias = nn.Parameter(torch.empty(n_levels - 1))
        self.set_prior(torch.ones(n_levels))

    @property
    def bias(self) -> Tensor:
        """Biases of the thresholds, shape (K - 1,)."""
        return _REACH * self.small_bias

    def forward(self, h: Tensor) -> Tensor:
        """Compute the log-odds of level > k, shape (B, K - 1)."""
        return self.linear(h) + self.bias

    def cumulative(self, logits: Tensor) -> Tensor:
        """Return the running minimum of σ(z): biases are ordered only at the optimum."""
        return logits.sigmoid().cummin(1).values

    def loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Return `coral_loss`."""
        return losses.coral_loss(logits, levels)

    def _start_from(self, prior: Tensor) -> None:
        self.small_bias.copy_(cumulative_probabilities(prior[None])[0].logit() / _REACH)


class _ConditionalHead(OrdinalHead):
    """Thresholds conditional on the one before, each with its own weights."""

    def __init__(self, in_features: int, n_levels: int = 7) -> None:
        super().__init__(in_features, n_levels)
        self.linear = nn.Linear(in_features, n_levels - 1)
        self.set_prior(torch.ones(n_levels))

    def forward(self, h: Tensor) -> Tensor:
        """Compute the log-odds of level > k given level > k - 1, shape (B, K - 1)."""
        return self.linear(h)

    def cumulative(self, logits: Tensor) -> Tensor:
        """Return the running product of σ(z), shape (B, K - 1)."""
        return logits.sigmoid().cumprod(1)

    def _start_from(self, prior: Tensor) -> None:
        above = cumulative_probabilities(prior[None])[0]
        # Odds of passing threshold k among those that reach it: P(level > k) : P(level = k).
        self.linear.bias.copy_(above.log() - prior[:-1].log())


class CornHead(_ConditionalHead):
    """CORN: conditional thresholds, trained on the conditional tasks.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.
    n_levels : int, default=7
        Levels, K.

    References
    ----------
    X. Shi, W. Cao and S. Raschka, "Deep neural networks for rank-consistent ordinal regression
    based on conditional probabilities", Pattern Analysis and Applications 26, 2023.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import CornHead
    >>> CornHead(128)(torch.rand(2, 128)).shape
    torch.Size([2, 6])
    """

    def loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Return `corn_loss`."""
        return losses.corn_loss(logits, levels)


class CondorHead(_ConditionalHead):
    """CONDOR: conditional thresholds, trained on the marginals.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.
    n_levels : int, default=7
        Levels, K.

    References
    ----------
    G. Jenkinson et al., "Universally rank consistent ordinal regression in neural networks",
    arXiv:2110.07470, 2021.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import CondorHead
    >>> CondorHead(128)(torch.rand(2, 128)).shape
    torch.Size([2, 6])
    """

    def loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Return `condor_loss`."""
        return losses.condor_loss(logits, levels)


class CumulativeLinkHead(OrdinalHead):
    """CLM: one score against cutpoints, ordered by softplus increments.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.
    n_levels : int, default=7
        Levels, K.

    References
    ----------
    P. McCullagh, "Regression models for ordinal data", Journal of the Royal Statistical Society
    B 42(2), 1980.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import CumulativeLinkHead
    >>> CumulativeLinkHead(128)(torch.rand(2, 128)).shape
    torch.Size([2, 6])
    """

    def __init__(self, in_features: int, n_levels: int = 7) -> None:
        super().__init__(in_features, n_levels)
        self.linear = nn.Linear(in_features, 1, bias=False)
        self.first_cutpoint = nn.Parameter(torch.empty(1))
        self.increments = nn.Parameter(torch.empty(n_levels - 2))
        self.set_prior(torch.ones(n_levels))

    @property
    def cutpoints(self) -> Tensor:
        """Increasing cutpoints, shape (K - 1,)."""
        gaps = F.softplus(self.increments) + _CUTPOINT_GAP
        return torch.cat([self.first_cutpoint, self.first_cutpoint + gaps.cumsum(0)])

    def forward(self, h: Tensor) -> Tensor:
        """Compute the log-odds of level > k, shape (B, K - 1), decreasing along k."""
        return self.linear(h) - self.cutpoints

    def cumulative(self, logits: Tensor) -> Tensor:
        """Return σ(z), shape (B, K - 1)."""
        return logits.sigmoid()

    def loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Return `clm_loss`."""
        return losses.clm_loss(logits, levels)

    def _start_from(self, prior: Tensor) -> None:
        cutpoints = -cumulative_probabilities(prior[None])[0].logit()
        self.first_cutpoint.copy_(cutpoints[:1])
        self.increments.copy_((cutpoints.diff() - _CUTPOINT_GAP).expm1().log())


class SoftmaxHead(OrdinalHead):
    """Plain classification without an order, with the interface of an ordinal head.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.
    n_levels : int, default=7
        Levels, K.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SoftmaxHead
    >>> SoftmaxHead(128)(torch.rand(2, 128)).shape
    torch.Size([2, 7])
    """

    def __init__(self, in_features: int, n_levels: int = 7) -> None:
        super().__init__(in_features, n_levels)
        self.linear = nn.Linear(in_features, n_levels)
        self.set_prior(torch.ones(n_levels))

    def forward(self, h: Tensor) -> Tensor:
        """Compute one logit per level, shape (B, K)."""
        return self.linear(h)

    def cumulative(self, logits: Tensor) -> Tensor:
        """Return the sum of the softmax over the levels above, shape (B, K - 1)."""
        return cumulative_probabilities(logits.softmax(1))

    def loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Return `cross_entropy`."""
        return losses.cross_entropy(logits, levels)

    def _start_from(self, prior: Tensor) -> None:
        self.linear.bias.copy_(prior.log())


class SoftLabelHead(SoftmaxHead):
    """SORD: classification with soft labels that fall off with the distance of levels.

    Parameters
    ----------
    in_features : int
        Values of the vector of an utterance.
    n_levels : int, default=7
        Levels, K.

    References
    ----------
    R. Diaz and A. Marathe, "Soft labels for ordinal regression", CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SoftLabelHead
    >>> SoftLabelHead(128)(torch.rand(2, 128)).shape
    torch.Size([2, 7])
    """

    def loss(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Return `sord_loss`."""
        return losses.sord_loss(logits, levels)


#: Ordinal heads by name.
ORDINAL_HEADS: dict[str, type[OrdinalHead]] = {
    "coral": CoralHead,
    "corn": CornHead,
    "condor": CondorHead,
    "clm": CumulativeLinkHead,
    "ce": SoftmaxHead,
    "sord": SoftLabelHead,
}
