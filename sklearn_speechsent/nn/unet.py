"""U-net over time with a speech score for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.blocks import MaskedBatchNorm2d, convolve_and_normalise
from sklearn_speechsent.nn.masking import (
    frame_mask,
    strided_lengths,
    zero_padding,
    zero_padding_,
)
from sklearn_speechsent.utils.silence import digital_silence


class _Convolution(nn.Module):
    """Convolution over time, batch normalisation, ReLU; zero in the padding."""

    def __init__(self, in_channels: int, channels: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(
            in_channels, channels, (1, size), (1, stride), (0, size // 2), bias=False
        )
        self.bn = MaskedBatchNorm2d(channels)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        lengths = None if lengths is None else strided_lengths(lengths, self.stride)
        x = convolve_and_normalise(self.conv, self.bn, x, lengths)
        # Zeroed first: the gradient of the ReLU needs its output as it was.
        return F.relu(_zeroed(x, lengths), inplace=True), lengths


def _zeroed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Maps that are zero in the padding, if there is any."""
    return x if lengths is None else zero_padding_(x, lengths)


def frame_levels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Level of each frame, and whether it is digital silence.

    Parameters
    ----------
    x : Tensor of shape (B, T, n_mels)
        Log-mel frames.

    Returns
    -------
    levels : Tensor of shape (B, T)
        Means over the bins.
    silent : Tensor of shape (B, T), bool

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn.unet import frame_levels
    >>> frame_levels(torch.tensor([[[3.0, 5.0], [-16.0, -16.0]]]))
    (tensor([[  4., -16.]]), tensor([[False,  True]]))
    """
    return x.mean(2), digital_silence(x)


def utterance_levels(levels: Tensor, silent: Tensor, lengths: Tensor) -> Tensor:
    """Mean level of the frames of each utterance that are not digital silence.

    Parameters
    ----------
    levels, silent : Tensor of shape (B, T)
        See `frame_levels`; padding may hold anything.
    lengths : Tensor of shape (B,), int64
        Valid frames of each utterance.

    Returns
    -------
    Tensor of shape (B,)
        Where all is digital silence, its level.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn.unet import utterance_levels
    >>> levels, silent = torch.tensor([[4.0, 6.0, -16.0]]), torch.tensor([[False, False, True]])
    >>> utterance_levels(levels, silent, torch.tensor([3]))
    tensor([5.])
    """
    valid = frame_mask(lengths, levels.shape[1])
    heard = valid & ~silent
    heard = torch.where(heard.any(1, keepdim=True), heard, valid)
    # In double precision: an hour has 360,000 frames.
    total = levels.double().masked_fill(~heard, 0.0).sum(1)
    return (total / heard.sum(1)).to(levels.dtype)


class SpeechUNet(nn.Module):
    """One logit of speech per frame, from log-mel frames of any loudness.

    Mel bins are channels; time is halved from stage to stage and restored on the way back, where
    each stage also gets the maps of the same stage on the way down [1]_. The mean over all frames
    and bins of the utterance is subtracted first, so that loudness has no influence. Digital
    silence does not count in it, and becomes zero as padding does.

    Parameters
    ----------
    n_mels : int, default=80
        Mel bins of a frame.
    widths : sequence of int, default=(32, 48, 64, 96, 128, 128)
        Channels of each stage, the first at full resolution.

    Attributes
    ----------
    time_stride : int
        Frames per column of the coarsest stage.
    half_width : int
        Frames before and after its own that a logit depends on, next to the mean, where the first
        frame is a multiple of `time_stride`.

    References
    ----------
    .. [1] O. Ronneberger, P. Fischer and T. Brox, "U-net: convolutional networks for biomedical
       image segmentation", MICCAI 2015.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SpeechUNet
    >>> SpeechUNet(24, widths=(8, 16))(torch.rand(2, 9, 24), torch.tensor([3, 9])).shape
    torch.Size([2, 9])
    """

    def __init__(
        self, n_mels: int = 80, widths: Sequence[int] = (32, 48, 64, 96, 128, 128)
    ) -> None:
        super().__init__()
        #: Arguments that build the same network again.
        self.architecture = {"n_mels": n_mels, "widths": tuple(widths)}
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.time_stride = 2 ** (len(widths) - 1)
        self.half_width = self.time_stride  # of all stages on the way back together
        channels = n_mels
        for stage, width in enumerate(widths):
            size = 5 if stage < 2 else 3  # fine stages see single sounds, the others words
            stride = 1 if stage == 0 else 2
            self.half_width += size // 2 * (2**stage // stride + 2**stage)
            first = _Convolution(channels, width, size, stride)
            self.down.append(nn.ModuleList([first, _Convolution(width, width, size)]))
            channels = width
        for width in reversed(widths[:-1]):
            self.up.append(_Convolution(channels + width, width, 3))
            channels = width
        self.head = nn.Conv2d(channels, 1, 1)

    @staticmethod
    def centred(x: Tensor, lengths: Tensor | None, level: Tensor | None = None) -> Tensor:
        """Frames without the level of their utterance, zero in digital silence.

        Parameters
        ----------
        x, lengths, level
            See `forward`.

        Returns
        -------
        Tensor of shape (B, T, n_mels)
        """
        levels, silent = frame_levels(x)
        if level is None:
            valid = x.new_full((len(x),), x.shape[1], dtype=torch.int64)
            level = utterance_levels(levels, silent, valid if lengths is None else lengths)
        return (x - level[:, None, None]).masked_fill(silent[:, :, None], 0.0)

    def forward(self, x: Tensor, lengths: Tensor | None, level: Tensor | None = None) -> Tensor:
        """Score frames.

        Parameters
        ----------
        x : Tensor of shape (B, T, n_mels)
            Log-mel frames before any mean normalisation; padding may hold anything.
        lengths : Tensor of shape (B,), int64, or None
            Valid frames of each utterance; None, in eval mode only, where nothing is padded, which
            saves a third of the time of a short utterance.
        level : Tensor of shape (B,), optional
            `utterance_levels` of the whole utterances, where `x` holds pieces of them.

        Returns
        -------
        Tensor of shape (B, T)
            Logits, zero in the padding.
        """
        x = self.centred(x, lengths, level).transpose(1, 2)
        x = x if lengths is None else zero_padding(x, lengths)
        x = x[:, :, None] * 0.25  # near unit variance
        passed = []
        for block in self.down:
            for convolution in cast(nn.ModuleList, block):
                x, lengths = convolution(x, lengths)
            passed.append((x, lengths))
        x, _ = passed.pop()
        for convolution in self.up:
            skipped, lengths = passed.pop()
            x = x.repeat_interleave(2, dim=3)[..., : skipped.shape[3]]
            x, _ = convolution(torch.cat([_zeroed(x, lengths), skipped], dim=1), lengths)
        return _zeroed(self.head(x)[:, 0, 0], lengths)
