"""How the losses of several heads become one number."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SummedLoss(nn.Module):
    """Weighted sum over heads of the mean loss of an utterance.

    Parameters
    ----------
    regression_weight, ordinal_weight : float, default=1.0
        Weight of each head's loss; other heads have 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.sentiment import SummedLoss
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
        # Dividing by the size and not by the weights' sum keeps an utterance's pull the same in
        # whichever batch it lands, and a batch of zero weights harmless.
        means = [
            getattr(self, f"{name}_weight", 1.0) * (loss * weight).mean()
            for name, loss in losses.items()
        ]
        return torch.stack(means).sum()
