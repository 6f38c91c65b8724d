"""Audio networks of other papers, as modules of our estimators.

``SpeechSentimentRegressor(module=MulTAudio)`` trains one of them with the batches, chunks and
schedule that our own network gets; the estimator infers channels, bins and levels. Only the audio
branch of each (multimodal) paper is here. All were trained on the absolute error (L1), the loss of
the regression head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn import (
    ORDINAL_HEADS,
    RegressionHead,
    frame_mask,
    masked_mean,
    strided_lengths,
)
from sklearn_speechsent.nn.masking import zero_padding


class AudioNetwork(nn.Module):
    """Base of the rivals: checks, masking of the padding, and heads.

    Subclasses set ``out_features``, call ``build_heads`` at the end of their constructor, and
    implement ``encode``.

    Parameters
    ----------
    in_channels : int, default=1
        Channels of the input: 1 for log-mel frames; maps are flattened to frames.
    in_frequencies : int, default=80
        Mel bins of the frames, or frequencies of the maps.
    n_levels : int, default=7
        Levels of the ordinal head.
    heads : sequence of {"regression", "ordinal"}, default=("regression",)
        Heads to build.
    ordinal : {"coral", "corn", "condor", "clm", "ce", "sord"}, default="coral"
        Kind of the ordinal head.
    embedding_size : int, default=0
        Values of a speaker embedding that comes with each utterance and joins the vector before
        the heads; 0 for none.
    """

    out_features: int

    def __init__(
        self,
        in_channels: int = 1,
        in_frequencies: int = 80,
        n_levels: int = 7,
        *,
        heads: Sequence[str] = ("regression",),
        ordinal: str = "coral",
        embedding_size: int = 0,
    ) -> None:
        super().__init__()
        if isinstance(heads, str) or not heads or set(heads) - {"regression", "ordinal"}:
            raise ValueError(
                f"heads must be one or both of 'regression' and 'ordinal', got {heads!r}."
            )
        self.in_channels = in_channels
        self.in_frequencies = in_frequencies
        self.in_features = in_channels * in_frequencies
        self.n_levels = n_levels
        self.ordinal = ordinal
        self.embedding_size = embedding_size
        self.head_names = tuple(heads)

    def build_heads(self) -> None:
        """Make the heads for vectors of ``out_features`` values (and the embedding's)."""
        size = self.out_features + self.embedding_size
        self.heads = nn.ModuleDict(
            {
                name: RegressionHead(size)
                if name == "regression"
                else ORDINAL_HEADS[self.ordinal](size, self.n_levels)
                for name in self.head_names
            }
        )

    def encode(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Turn frames (B, T, D), zero beyond ``lengths``, into vectors (B, out_features)."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, lengths: Tensor, embeddings: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the output of every head.

        Parameters
        ----------
        x : Tensor of shape (B, T, D) or (B, T, C, F)
            Frames or maps, time first; padding may hold anything.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance, 1 … T.
        embeddings : Tensor of shape (B, embedding_size), optional
            Speaker embeddings, if the network was built for them.

        Returns
        -------
        dict of str to Tensor
            "regression": intensities of shape (B,); "ordinal": logits of the ordinal head.

        Raises
        ------
        ValueError
            If a shape is not the one that the network was built for.
        """
        frames = x.flatten(2).to(next(self.parameters()).dtype)
        if frames.ndim != 3 or frames.shape[2] != self.in_features:
            raise ValueError(
                f"The network was built for frames of {self.in_channels} x {self.in_frequencies} "
                f"values, got x of shape {tuple(x.shape)}."
            )
        wanted = (len(x), self.embedding_size) if self.embedding_size else None
        if (None if embeddings is None else tuple(embeddings.shape)) != wanted:
            raise ValueError(f"The network was built for embeddings of shape {wanted}.")
        frames = zero_padding(frames.mT, lengths).mT
        vector = self.encode(frames, lengths)
        if embeddings is not None:
            vector = torch.cat([vector, F.normalize(embeddings.to(vector.dtype), dim=1)], dim=1)
        return {name: head(vector) for name, head in self.heads.items()}


class TFNAcoustic(AudioNetwork):
    """Acoustic network of the Tensor Fusion Network: a small MLP on the mean over time [1]_.

    After the paper: mean-pooled acoustic features, three layers of 32 ReLU units, dropout, L1 loss;
    the input is batch-normalised as in the authors' code. A reading: log-mel frames stand for
    COVAREP. Frames must not be mean-normalised per utterance, or nothing is left of their mean.

    Parameters
    ----------
    *args, **kwargs
        See `AudioNetwork`.
    hidden_size : int, default=32
        Units of each layer.
    dropout : float, default=0.2
        Dropout probability before the first layer and after each.

    References
    ----------
    .. [1] A. Zadeh, M. Chen, S. Poria, E. Cambria and L.-P. Morency, "Tensor fusion network for
       multimodal sentiment analysis", EMNLP 2017.

    Examples
    --------
    >>> import torch
    >>> net = TFNAcoustic(in_frequencies=80)
    >>> net(torch.rand(2, 30, 80), torch.tensor([20, 30]))["regression"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        *args: Any,
        hidden_size: int = 32,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.out_features = hidden_size
        layers: list[nn.Module] = [nn.BatchNorm1d(self.in_features), nn.Dropout(dropout)]
        for size in (self.in_features, hidden_size, hidden_size):
            layers += [nn.Linear(size, hidden_size), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.build_heads()

    def encode(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Average over time and go through the layers."""
        return self.layers(frames.sum(1) / lengths[:, None])


class MulTAudio(AudioNetwork):
    """Audio stream of the Multimodal Transformer (MulT) without the other modalities [1]_.

    After the paper and the authors' code: a temporal convolution to 30 channels, sinusoidal
    positions, a Transformer encoder (pre-normalised, 5 heads, feed-forward of four times the
    width), its last valid step through a residual block of two linear layers, L1 loss. Readings:
    3 layers of self-attention take the place of the crossmodal ones; the convolution has a kernel
    of 5 and a stride of 4 frames, for attention is quadratic in steps (100 of them for 4 s).

    Parameters
    ----------
    *args, **kwargs
        See `AudioNetwork`.
    width : int, default=30
        Channels of the convolution and of the encoder.
    n_layers, n_heads : int, default=3, 5
        Of the encoder.
    kernel_size, stride : int, default=5, 4
        Of the convolution, in frames; the kernel is odd.
    dropout : float, default=0.1
        Dropout probability within the encoder and the residual block.
    input_dropout : float, default=0.25
        Dropout probability of what goes into the encoder.

    References
    ----------
    .. [1] Y.-H. H. Tsai, S. Bai, P. P. Liang, J. Z. Kolter, L.-P. Morency and R. Salakhutdinov,
       "Multimodal transformer for unaligned multimodal language sequences", ACL 2019.

    Examples
    --------
    >>> import torch
    >>> net = MulTAudio(in_frequencies=80)
    >>> net(torch.rand(2, 30, 80), torch.tensor([20, 30]))["regression"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        *args: Any,
        width: int = 30,
        n_layers: int = 3,
        n_heads: int = 5,
        kernel_size: int = 5,
        stride: int = 4,
        dropout: float = 0.1,
        input_dropout: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.out_features = width
        self.stride = stride
        self.convolution = nn.Conv1d(
            self.in_features, width, kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.input_dropout = nn.Dropout(input_dropout)
        layer = nn.TransformerEncoderLayer(
            width, n_heads, 4 * width, dropout, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, n_layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.residual = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.build_heads()

    def encode(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Convolve, attend, and take the last valid step."""
        steps = self.convolution(frames.mT).mT
        lengths = strided_lengths(lengths, self.stride)
        positions = sinusoids(steps.shape[1], steps.shape[2]).to(steps)
        steps = self.input_dropout(steps * math.sqrt(steps.shape[2]) + positions)
        padding = ~frame_mask(lengths, steps.shape[1])
        steps = self.encoder(steps, src_key_padding_mask=padding)
        last = steps[torch.arange(len(steps), device=steps.device), lengths - 1]
        return last + self.residual(last)


def sinusoids(n_steps: int, width: int) -> Tensor:
    """Sinusoidal positions, sines before cosines, for any number of steps.

    Parameters
    ----------
    n_steps, width : int
        Number of positions; values of each, even.

    Returns
    -------
    Tensor of shape (n_steps, width)

    Examples
    --------
    >>> sinusoids(100, 30).shape
    torch.Size([100, 30])
    """
    half = width // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10_000) / max(half - 1, 1)))
    angles = torch.arange(n_steps)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ICCNAudio(AudioNetwork):
    """Audio branch of the Interaction Canonical Correlation Network (ICCN), alone [1]_.

    After the paper: a convolutional network turns a two-dimensional map into a vector, a linear
    layer predicts from it, L1 loss. A reading throughout, for the paper's map is the outer product
    of audio with text, and without text its canonical correlation has no partner: here the map is
    frames x bins, two convolutions of 3 x 3 with ReLU and 2 x 2 maximum pooling, then the mean over
    time and a linear layer of 64 units.

    Parameters
    ----------
    *args, **kwargs
        See `AudioNetwork`. Channels of maps are the channels of the first convolution.
    widths : sequence of int, default=(16, 32)
        Channels of each convolution.
    hidden_size : int, default=64
        Values of the vector of an utterance.
    dropout : float, default=0.2
        Dropout probability before the head.

    References
    ----------
    .. [1] Z. Sun, P. K. Sarma, W. A. Sethares and Y. Liang, "Learning relationships between text,
       audio, and video via deep canonical correlation for multimodal language analysis",
       AAAI 2020.

    Examples
    --------
    >>> import torch
    >>> net = ICCNAudio(in_frequencies=80)
    >>> net(torch.rand(2, 30, 80), torch.tensor([20, 30]))["regression"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        *args: Any,
        widths: Sequence[int] = (16, 32),
        hidden_size: int = 64,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.out_features = hidden_size
        channels, frequencies = self.in_channels, self.in_frequencies
        self.convolutions = nn.ModuleList()
        for width in widths:
            self.convolutions.append(nn.Conv2d(channels, width, 3, padding=1))
            channels, frequencies = width, -(-frequencies // 2)
        self.linear = nn.Linear(channels * frequencies, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.build_heads()

    def encode(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Convolve and pool, average over time, project."""
        maps = frames.unflatten(2, (self.in_channels, self.in_frequencies)).permute(0, 2, 3, 1)
        for convolution in self.convolutions:
            # Zeros in the padding are what the convolution itself pads with, and after ReLU they
            # win no maximum.
            maps = zero_padding(F.relu(convolution(maps)), lengths)
            maps = F.max_pool2d(maps, 2, ceil_mode=True)
            lengths = strided_lengths(lengths, 2)
        pooled = masked_mean(maps, lengths, keep_frequency=True).flatten(1)
        return self.dropout(F.relu(self.linear(pooled)))
