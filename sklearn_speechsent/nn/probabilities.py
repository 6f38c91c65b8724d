"""Class probabilities of ordered levels and their cumulative form."""

from torch import Tensor
from torch.nn import functional as F


def class_probabilities(cumulative: Tensor) -> Tensor:
    """Turn cumulative probabilities into class probabilities.

    Parameters
    ----------
    cumulative : Tensor of shape (B, K - 1)
        P(level > k), non-increasing along k.

    Returns
    -------
    Tensor of shape (B, K)
        P(level = k), the differences, renormalised to sum to 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import class_probabilities
    >>> class_probabilities(torch.tensor([[0.75, 0.25]]))
    tensor([[0.2500, 0.5000, 0.2500]])
    """
    padded = F.pad(F.pad(cumulative, (1, 0), value=1.0), (0, 1), value=0.0)
    differences = (padded[:, :-1] - padded[:, 1:]).clamp(min=0.0)
    return differences / differences.sum(1, keepdim=True)


def cumulative_probabilities(probabilities: Tensor) -> Tensor:
    """Turn class probabilities into cumulative probabilities.

    Parameters
    ----------
    probabilities : Tensor of shape (B, K)
        P(level = k).

    Returns
    -------
    Tensor of shape (B, K - 1)
        P(level > k), non-increasing along k.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import cumulative_probabilities
    >>> cumulative_probabilities(torch.tensor([[0.25, 0.5, 0.25]]))
    tensor([[0.7500, 0.2500]])
    """
    return probabilities[:, 1:].flip(1).cumsum(1).flip(1)
