"""Pooling of maps over time and frequency, over valid frames only."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.masking import frame_mask, has_padding, zero_padding


def in_full_precision(x: Tensor) -> Tensor:
    """Convert to float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def masked_mean(x: Tensor, lengths: Tensor, *, keep_frequency: bool = False) -> Tensor:
    """Average maps over valid frames (and frequencies).

    Parameters
    ----------
    x : Tensor of shape (B, C, F, T)
        Maps.
    lengths : Tensor of shape (B,), int64
        Valid frames of each utterance.
    keep_frequency : bool, default=False
        Average over time only.

    Returns
    -------
    Tensor of shape (B, C), or (B, C, F) with `keep_frequency`
        Means.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import masked_mean
    >>> x, lengths = torch.ones(2, 4, 5, 6), torch.tensor([3, 6])
    >>> masked_mean(x, lengths).shape, masked_mean(x, lengths, keep_frequency=True).shape
    (torch.Size([2, 4]), torch.Size([2, 4, 5]))
    """
    if not keep_frequency:
        x = x.mean(2)  # First, so that only a small tensor must be masked.
    count = lengths.to(x.device, non_blocking=True).view(-1, *[1] * (x.ndim - 2))
    return zero_padding(x, lengths).sum(-1) / count


def average_bands(x: Tensor, n_bands: int) -> Tensor:
    """Average neighbouring frequencies.

    Parameters
    ----------
    x : Tensor of shape (B, C, F, T)
        Maps.
    n_bands : int
        Bands that are wanted, at most F. Where their number does not divide F, bands that lie
        next to each other share a frequency.

    Returns
    -------
    Tensor of shape (B, C, n_bands, T)

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import average_bands
    >>> average_bands(torch.tensor([1.0, 3.0, 10.0, 20.0]).view(1, 1, 4, 1), 2).flatten()
    tensor([ 2., 15.])
    """
    return x if x.shape[2] == n_bands else F.adaptive_avg_pool2d(x, (n_bands, x.shape[3]))


def statistics_pooling(x: Tensor, lengths: Tensor, *, correction: int = 1) -> Tensor:
    """Mean and standard deviation over time, as speaker networks pool.

    The deviation is ``sqrt(v + 1e-7)`` with the variance ``v`` (0 for one frame).

    Parameters
    ----------
    x : Tensor of shape (B, C, F, T)
        Maps.
    lengths : Tensor of shape (B,), int64
        Valid frames of each utterance.
    correction : int, default=1
        1 for the unbiased variance, 0 for that of the population.

    Returns
    -------
    Tensor of shape (B, 2 * C * F)
        All means, then all deviations, each with the frequency running fastest.

    References
    ----------
    D. Snyder et al., "X-vectors: Robust DNN embeddings for speaker recognition", ICASSP 2018.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import statistics_pooling
    >>> statistics_pooling(torch.ones(2, 256, 10, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 5120])
    """
    x = in_full_precision(x)
    count = lengths.to(x.device, non_blocking=True)[:, None, None]
    mean = zero_padding(x, lengths).sum(-1) / count
    squares = zero_padding(x - mean[..., None], lengths).square().sum(-1)
    deviation = (squares / (count - correction).clamp(min=1) + 1e-7).sqrt()
    return torch.cat([mean.flatten(1), deviation.flatten(1)], dim=1)


class GeM(nn.Module):
    """Generalised-mean pooling ``mean(max(x, 1e-6)^p)^(1/p)`` with a learnable power.

    Computed in float32 and in the log domain: ``1e-6^p`` underflows from p = 7.6 on, and a dead
    channel would then have NaN gradients.

    Parameters
    ----------
    p : float, default=3.0
        Initial power; 1 is the mean, infinity the maximum. Powers outside [1, 10] act as the
        nearest of the two.
    keep_frequency : bool, default=False
        Pool over time only.

    See Also
    --------
    CGDDecoder : Uses it.

    References
    ----------
    F. Radenović, G. Tolias and O. Chum, "Fine-tuning CNN image retrieval with no human
    annotation", IEEE TPAMI 41(7), 2019.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import GeM
    >>> x, lengths = torch.rand(2, 64, 10, 6), torch.tensor([3, 6])
    >>> GeM()(x, lengths).shape, GeM(keep_frequency=True)(x, lengths).shape
    (torch.Size([2, 64]), torch.Size([2, 64, 10]))
    """

    def __init__(self, p: float = 3.0, *, keep_frequency: bool = False) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(float(p)))
        self.keep_frequency = keep_frequency

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Pool maps.

        Parameters
        ----------
        x : Tensor of shape (B, C, F, T)
            Maps.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, C), or (B, C, F) with `keep_frequency`
            Generalised means, at least float32.
        """
        # Straight through: a clamp alone has no gradient outside, so one step too far and p
        # would never move again.
        p = self.p + (self.p.clamp(1.0, 10.0) - self.p).detach()
        n_frequencies, n_frames = x.shape[-2:]
        powers = p * in_full_precision(zero_padding(x, lengths)).clamp(min=1e-6).log()
        if has_padding(lengths, n_frames):
            padding = ~frame_mask(lengths, n_frames)
            powers = powers.masked_fill(padding[:, None, None], -torch.inf)
        log_mean = powers.logsumexp(-1) - lengths[:, None, None].log()
        if not self.keep_frequency:
            log_mean = log_mean.logsumexp(-1) - math.log(n_frequencies)
        return (log_mean / p).exp()

    def extra_repr(self) -> str:
        """Show the present power."""
        return f"p={self.p.item():.3g}, keep_frequency={self.keep_frequency}"


class AttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation over time, under weights that are learned.

    Each channel has weights of its own: the softmax over valid frames of
    ``v · tanh(W x_t + b)``. The deviation is ``sqrt(Σ w_t (x_t - mean)² + 1e-7)``. Weights,
    means and deviations are computed in float32.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    attention_size : int, default=64
        Hidden units of the attention.

    Attributes
    ----------
    out_features : int
        ``2 * channels``.

    References
    ----------
    K. Okabe, T. Koshinaka and K. Shinoda, "Attentive statistics pooling for deep speaker
    embedding", Interspeech 2018. Weights per channel: B. Desplanques, J. Thienpondt and
    K. Demuynck, "ECAPA-TDNN: Emphasized channel attention, propagation and aggregation in TDNN
    based speaker verification", Interspeech 2020.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import AttentiveStatisticsPooling
    >>> AttentiveStatisticsPooling(128)(torch.rand(2, 128, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 256])
    """

    def __init__(self, channels: int, attention_size: int = 64) -> None:
        super().__init__()
        self.out_features = 2 * channels
        self.hidden = nn.Linear(channels, attention_size)
        # A bias here would be the same for all frames, and change nothing.
        self.score = nn.Linear(attention_size, channels, bias=False)

    def weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Compute the weights of frames.

        Parameters
        ----------
        x : Tensor of shape (B, C, T)
            Maps, finite also in the padding.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, C, T)
            Non-negative, 0 in the padding, with a sum of 1 over time; at least float32.
        """
        scores = in_full_precision(self.score(self.hidden(x.transpose(1, 2)).tanh()))
        scores = scores.transpose(1, 2)
        if has_padding(lengths, x.shape[-1]):
            padding = ~frame_mask(lengths, x.shape[-1])
            scores = scores.masked_fill(padding[:, None], -torch.inf)
        return scores.softmax(-1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Pool maps.

        Parameters
        ----------
        x : Tensor of shape (B, C, T)
            Maps.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, 2 * C)
            All means, then all deviations.
        """
        x = zero_padding(x, lengths)
        weights = self.weights(x, lengths)
        x = in_full_precision(x)
        mean = (weights * x).sum(-1)
        variance = (weights * (x - mean[..., None]).square()).sum(-1)
        return torch.cat([mean, (variance + 1e-7).sqrt()], dim=1)
