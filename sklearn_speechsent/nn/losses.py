"""Ordinal losses of each utterance, stable in log space, and their sum over heads.

`SummedLoss` weights and averages over utterances. For K levels ``logits`` has K - 1 columns, one
per threshold (K for `cross_entropy` and `sord_loss`), and ``levels`` holds indices 0 … K - 1, or
shares of the levels, of shape (B, K), by which the losses of single levels are weighted.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.probabilities import cumulative_probabilities


def _shares(levels: Tensor, n_levels: int, dtype: torch.dtype) -> Tensor:
    """Shares of levels, shape (B, n_levels); 1 for a level that is given by its index."""
    return (levels if levels.ndim == 2 else F.one_hot(levels, n_levels)).to(dtype)


def _exceeded(logits: Tensor, levels: Tensor) -> Tensor:
    """Share of level > k for every threshold k, shape (B, K - 1)."""
    return cumulative_probabilities(_shares(levels, logits.shape[1] + 1, logits.dtype))


def coral_loss(logits: Tensor, levels: Tensor) -> Tensor:
    """Binary cross-entropy of every threshold, summed (CORAL).

    With y_k = 1 if level > k, else 0, or the share of level > k:
    ``-Σ_k y_k log σ(z_k) + (1 - y_k) (log σ(z_k) - z_k)``.

    Parameters
    ----------
    logits : Tensor of shape (B, K - 1)
        Log-odds z_k of level > k.
    levels : Tensor of shape (B,), int64, or of shape (B, K)
        True levels, or their shares.

    Returns
    -------
    Tensor of shape (B,)
        Loss of each utterance.

    References
    ----------
    W. Cao, V. Mirjalili and S. Raschka, "Rank consistent ordinal regression for neural networks
    with application to age estimation", Pattern Recognition Letters 140, 2020.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import coral_loss
    >>> coral_loss(torch.zeros(2, 6), torch.tensor([0, 6])).shape
    torch.Size([2])
    """
    targets = _exceeded(logits, levels)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)


def corn_loss(logits: Tensor, levels: Tensor) -> Tensor:
    """Binary cross-entropy of the conditional tasks an utterance belongs to, summed (CORN).

    Threshold k counts only for utterances with level > k - 1. The paper divides by the summed
    sizes of these sets, which depends on the batch; here each utterance simply sums its own
    tasks. The two differ by one factor per batch, and the sum is exactly
    ``-log P(level)``, so that the loss of an utterance never depends on its neighbours.

    Parameters
    ----------
    logits : Tensor of shape (B, K - 1)
        Log-odds z_k of level > k given level > k - 1.
    levels : Tensor of shape (B,), int64, or of shape (B, K)
        True levels, or their shares.

    Returns
    -------
    Tensor of shape (B,)
        Loss of each utterance.

    References
    ----------
    X. Shi, W. Cao and S. Raschka, "Deep neural networks for rank-consistent ordinal regression
    based on conditional probabilities", Pattern Analysis and Applications 26, 2023.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import corn_loss
    >>> corn_loss(torch.zeros(3, 2), torch.tensor([0, 1, 2]))
    tensor([0.6931, 1.3863, 1.3863])
    """
    targets = _exceeded(logits, levels)
    # Level > k - 1 is the target of the threshold before; the first task has all utterances.
    reached = F.pad(targets[:, :-1], (1, 0), value=1.0)
    losses = targets * F.logsigmoid(logits) + (reached - targets) * F.logsigmoid(-logits)
    return -losses.sum(1)


def condor_loss(logits: Tensor, levels: Tensor) -> Tensor:
    """Binary cross-entropy of the marginals of conditional tasks, summed (CONDOR).

    With P_k = Π_{j ≤ k} σ(z_j): ``-Σ_k y_k log P_k + (1 - y_k) log(1 - P_k)``.

    Parameters
    ----------
    logits : Tensor of shape (B, K - 1)
        Log-odds z_k of level > k given level > k - 1.
    levels : Tensor of shape (B,), int64, or of shape (B, K)
        True levels, or their shares.

    Returns
    -------
    Tensor of shape (B,)
        Loss of each utterance.

    References
    ----------
    G. Jenkinson et al., "Universally rank consistent ordinal regression in neural networks",
    arXiv:2110.07470, 2021.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import condor_loss
    >>> condor_loss(torch.zeros(2, 6), torch.tensor([0, 6])).shape
    torch.Size([2])
    """
    targets = _exceeded(logits, levels)
    log_above = F.logsigmoid(logits).cumsum(1)
    # 1 - P_k = Σ_{j ≤ k} P(level = j); adding these in log space never takes log(1 - 1).
    log_level = F.logsigmoid(-logits) + F.pad(log_above[:, :-1], (1, 0))
    log_below = log_level.logcumsumexp(1)
    return -(targets * log_above + (1 - targets) * log_below).sum(1)


def clm_loss(logits: Tensor, levels: Tensor) -> Tensor:
    """Negative log-likelihood of a cumulative link model (proportional odds).

    ``-log(σ(z_{k-1}) - σ(z_k))`` for level k, with z_{-1} = ∞ and z_{K-1} = -∞.

    Parameters
    ----------
    logits : Tensor of shape (B, K - 1)
        Log-odds z_k of level > k, strictly decreasing along k.
    levels : Tensor of shape (B,), int64, or of shape (B, K)
        True levels, or their shares.

    Returns
    -------
    Tensor of shape (B,)
        Loss of each utterance.

    References
    ----------
    P. McCullagh, "Regression models for ordinal data", Journal of the Royal Statistical Society
    B 42(2), 1980.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import clm_loss
    >>> clm_loss(torch.tensor([[1.0, -1.0]]), torch.tensor([1]))
    tensor([0.7719])
    """
    padded = F.pad(F.pad(logits, (1, 0), value=torch.inf), (0, 1), value=-torch.inf)
    upper, lower = padded[:, :-1], padded[:, 1:]
    # σ(u) - σ(l) = σ(u) σ(-l) (1 - exp(l - u)) has no cancellation; the gap itself can be lost
    # to rounding when the score is huge, which must cost much but not infinity.
    gap = (upper - lower).clamp(min=torch.finfo(logits.dtype).eps)
    losses = -(F.logsigmoid(upper) + F.logsigmoid(-lower) + (-torch.expm1(-gap)).log())
    return (losses * _shares(levels, losses.shape[1], losses.dtype)).sum(1)


def cross_entropy(logits: Tensor, levels: Tensor) -> Tensor:
    """Plain cross-entropy without an order.

    Parameters
    ----------
    logits : Tensor of shape (B, K)
        One logit per level.
    levels : Tensor of shape (B,), int64, or of shape (B, K)
        True levels, or their shares.

    Returns
    -------
    Tensor of shape (B,)
        Loss of each utterance.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import cross_entropy
    >>> cross_entropy(torch.zeros(2, 7), torch.tensor([0, 6]))
    tensor([1.9459, 1.9459])
    """
    return F.cross_entropy(logits, _shares(levels, logits.shape[1], logits.dtype), reduction="none")


def sord_loss(logits: Tensor, levels: Tensor, decay: float = 2.0) -> Tensor:
    """Cross-entropy with soft labels: neighbours of the true level have a share (SORD).

    The target of level j is proportional to ``exp(-decay |level - j|)``.

    Parameters
    ----------
    logits : Tensor of shape (B, K)
        One logit per level.
    levels : Tensor of shape (B,), int64, or of shape (B, K)
        True levels, or their shares.
    decay : float, default=2.0
        How fast targets fall with the distance, in levels. 2 gives neighbours a seventh of the
        true level's share.

    Returns
    -------
    Tensor of shape (B,)
        Loss of each utterance.

    References
    ----------
    R. Diaz and A. Marathe, "Soft labels for ordinal regression", CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import sord_loss
    >>> sord_loss(torch.zeros(2, 7), torch.tensor([0, 6]))
    tensor([1.9459, 1.9459])
    """
    places = torch.arange(logits.shape[1], device=logits.device)
    softened = (-decay * (places[:, None] - places).abs().to(logits.dtype)).softmax(1)
    targets = _shares(levels, logits.shape[1], logits.dtype) @ softened
    return F.cross_entropy(logits, targets, reduction="none")


class SummedLoss(nn.Module):
    """Weighted sum over heads of the mean loss of an utterance.

    Parameters
    ----------
    regression_weight, ordinal_weight : float, default=1.0
        Weight of each head's loss; other heads have 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SummedLoss
    >>> losses = {"regression": torch.tensor([1.0, 3.0])}
    >>> SummedLoss()(losses, weight=torch.tensor([1.0, 1.0])).item()
    2.0
    """

    def __init__(self, regression_weight: float = 1.0, ordinal_weight: float = 1.0) -> None:
        super().__init__()
        self.regression_weight = regression_weight
        self.ordinal_weight = ordinal_weight

    def forward(self, losses: dict[str, Tensor], weight: Tensor) -> Tensor:
        """Sum up.

        Parameters
        ----------
        losses : dict of str to Tensor of shape (B,)
            Loss of each utterance under each head.
        weight : Tensor of shape (B,)
            Weight of each utterance.

        Returns
        -------
        Tensor of shape ()
        """
        # Divided by the size and not by the sum of weights, an utterance has the same influence in
        # every batch, and a batch of zero weights does no harm.
        means = [
            getattr(self, f"{name}_weight", 1.0) * (loss * weight).mean()
            for name, loss in losses.items()
        ]
        return torch.stack(means).sum()
