"""Decoders: from maps of any length to one vector per utterance."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.pooling import (
    AttentiveStatisticsPooling,
    GeM,
    average_bands,
    in_full_precision,
    masked_mean,
    statistics_pooling,
)


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


class _Descriptor(nn.Module):
    """Statistics to a vector: batch normalisation, dropout, a linear layer and ReLU."""

    def __init__(self, n_statistics: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.bn = _Normalisation(n_statistics)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_statistics, hidden_size)

    def forward(self, statistics: Tensor) -> Tensor:
        return F.relu(self.linear(self.dropout(self.bn(statistics))))


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

    See Also
    --------
    GeM : The first of its two poolings.
    StatisticsDecoder : Statistics instead.
    AttentiveDecoder : Weights over time that are learned.

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


class StatisticsDecoder(nn.Module):
    """Statistics over time of each channel and band, a linear layer and ReLU.

    Mean and standard deviation, their square roots, batch normalisation without affine parameters
    and dropout: the features of :class:`~sklearn_speechsent.SpeakerFeatureExtractor`, standardised,
    as a part of a network that learns.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    frequencies : int
        Frequencies of the maps, F.
    hidden_size : int, default=128
        Values of the descriptor.
    dropout : float, default=0.0
        Dropout probability of the statistics.
    n_bands : int, default=10
        Bands that the frequencies are averaged to first; fewer where there are fewer frequencies.

    Attributes
    ----------
    out_features : int
        ``hidden_size``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import StatisticsDecoder
    >>> StatisticsDecoder(64, 20)(torch.rand(2, 64, 20, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        channels: int,
        frequencies: int,
        hidden_size: int = 128,
        dropout: float = 0.0,
        n_bands: int = 10,
    ) -> None:
        super().__init__()
        self.out_features = hidden_size
        self.n_bands = min(n_bands, frequencies)
        self.descriptor = _Descriptor(2 * channels * self.n_bands, hidden_size, dropout)

    def statistics(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Compute the square roots of means and deviations, before they are standardised.

        Parameters
        ----------
        x : Tensor of shape (B, C, F, T)
            Maps that are not negative; what is counts as zero.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, 2 * C * n_bands)
            All means, then all deviations, each with the band running fastest; at least float32.
        """
        bands = average_bands(in_full_precision(x), self.n_bands)
        pooled = statistics_pooling(bands, lengths, correction=0)
        # Near zero the gradient of the root alone has no bound.
        return (pooled.clamp(min=0.0) + 1e-4).sqrt()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Describe utterances.

        Parameters
        ----------
        x : Tensor of shape (B, C, F, T)
            Maps that are not negative.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, hidden_size)
            Descriptor.
        """
        return self.descriptor(self.statistics(x, lengths))


class AttentiveDecoder(nn.Module):
    """Attentive statistics pooling, batch normalisation, dropout, a linear layer and ReLU.

    Each channel and band has weights over time of its own: what is heard in the low bands and in
    the high ones need not be in the same frames.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    frequencies : int, default=1
        Frequencies of the maps, F.
    hidden_size : int, default=128
        Values of the descriptor.
    dropout : float, default=0.0
        Dropout probability of the statistics.
    attention_size : int, default=64
        Hidden units of the attention.
    n_bands : int, default=10
        Bands that the frequencies are averaged to first; fewer where there are fewer frequencies.

    Attributes
    ----------
    out_features : int
        ``hidden_size``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import AttentiveDecoder
    >>> AttentiveDecoder(64, 20)(torch.rand(2, 64, 20, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        channels: int,
        frequencies: int = 1,
        hidden_size: int = 128,
        dropout: float = 0.0,
        attention_size: int = 64,
        n_bands: int = 10,
    ) -> None:
        super().__init__()
        self.out_features = hidden_size
        self.n_bands = min(n_bands, frequencies)
        self.pooling = AttentiveStatisticsPooling(channels * self.n_bands, attention_size)
        self.descriptor = _Descriptor(self.pooling.out_features, hidden_size, dropout)

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
        Tensor of shape (B, hidden_size)
            Descriptor.
        """
        return self.descriptor(self.pooling(average_bands(x, self.n_bands).flatten(1, 2), lengths))


#: Decoders by name.
DECODERS: dict[str, type[nn.Module]] = {
    "cgd": CGDDecoder,
    "stats": StatisticsDecoder,
    "attentive": AttentiveDecoder,
}
