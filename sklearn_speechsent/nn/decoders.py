"""Decoders: from maps of any length to one vector per utterance."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.pooling import AttentiveStatisticsPooling, GeM, masked_mean


class _Normalisation(nn.BatchNorm1d):
    """A single utterance has no batch statistics and uses the running ones."""

    def __init__(self, n_values: int) -> None:
        # A unit that is rarely active in training has almost no variance; with the usual 1e-5 the
        # first new speaker that activates it would multiply it by 300.
        super().__init__(n_values, affine=False, eps=1e-3)

    def forward(self, h: Tensor) -> Tensor:
        if self.training and h.shape[0] == 1:
            return F.batch_norm(h, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(h)


class _Branch(nn.Module):
    """Linear-ReLU-BN."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.bn = _Normalisation(out_features)

    def forward(self, h: Tensor) -> Tensor:
        return self.bn(F.relu(self.linear(h.flatten(1))))


class CGDDecoder(nn.Module):
    """Combination of two global descriptors, generalised-mean and average pooling.

    Each pooled vector goes through a linear layer, ReLU and batch normalisation without affine
    parameters; the two are concatenated.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    frequencies : int, default=None
        If given, pool over time only and flatten these frequencies before the linear layers;
        otherwise pool over frequency, too.

    Attributes
    ----------
    out_features : int
        ``2 * channels``.

    References
    ----------
    H. Jun et al., "Combination of multiple global descriptors for image retrieval",
    arXiv:1903.10663, 2019.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import CGDDecoder
    >>> CGDDecoder(64)(torch.rand(2, 64, 10, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 128])
    """

    def __init__(self, channels: int, frequencies: int | None = None) -> None:
        super().__init__()
        self.keep_frequency = frequencies is not None
        self.out_features = 2 * channels
        pooled = channels * (frequencies or 1)
        self.gem = GeM(keep_frequency=self.keep_frequency)
        self.gem_branch = _Branch(pooled, channels)
        self.mean_branch = _Branch(pooled, channels)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Describe utterances.

        Parameters
        ----------
        x : Tensor of shape (B, C, F, T)
            Maps.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, 2 * C)
            GeM descriptor, then average descriptor.
        """
        mean = masked_mean(x, lengths, keep_frequency=self.keep_frequency)
        return torch.cat([self.gem_branch(self.gem(x, lengths)), self.mean_branch(mean)], dim=1)


class AttentiveDecoder(nn.Module):
    """Attentive statistics pooling, batch normalisation, dropout, a linear layer and ReLU.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    attention_size : int, default=64
        Hidden units of the attention.
    dropout : float, default=0.0
        Dropout probability of the statistics.

    Attributes
    ----------
    out_features : int
        ``channels``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import AttentiveDecoder
    >>> AttentiveDecoder(128)(torch.rand(2, 128, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 128])
    """

    def __init__(self, channels: int, attention_size: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.out_features = channels
        self.pooling = AttentiveStatisticsPooling(channels, attention_size)
        self.bn = _Normalisation(self.pooling.out_features)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.pooling.out_features, channels)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Describe utterances.

        Parameters
        ----------
        x : Tensor of shape (B, C, T)
            Maps.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, C)
            Descriptor.
        """
        return F.relu(self.linear(self.dropout(self.bn(self.pooling(x, lengths)))))
