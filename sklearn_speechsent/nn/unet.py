"""U-net over time with a speech score for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.blocks import MaskedBatchNorm2d, convolve_and_normalise
from sklearn_speechsent.nn.masking import strided_lengths, zero_padding, zero_padding_


class _Convolution(nn.Module):
    """Convolution over time, batch normalisation, ReLU; zero in the padding."""

    def __init__(self, in_channels: int, channels: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(
            in_channels, channels, (1, size), (1, stride), (0, size // 2), bias=False
        )
        self.bn = MaskedBatchNorm2d(channels)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        lengths = strided_lengths(lengths, self.stride)
        x = convolve_and_normalise(self.conv, self.bn, x, lengths)
        # Zeroed first: the gradient of the ReLU needs its output as it was.
        return F.relu(zero_padding_(x, lengths), inplace=True), lengths


class SpeechUNet(nn.Module):
    """One logit of speech per frame, from log-mel frames of any loudness.

    Mel bins are channels; time is halved from stage to stage and restored on the way back, where
    each stage also gets the maps of the same stage on the way down [1]_. The mean over all frames
    and bins of the utterance is subtracted first, so that loudness has no influence.

    Parameters
    ----------
    n_mels : int, default=80
        Mel bins of a frame.
    widths : sequence of int, default=(32, 48, 64, 96, 128, 128)
        Channels of each stage, the first at full resolution.

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
        channels = n_mels
        for stage, width in enumerate(widths):
            size = 5 if stage < 2 else 3  # fine stages see single sounds, the others words
            first = _Convolution(channels, width, size, 1 if stage == 0 else 2)
            self.down.append(nn.ModuleList([first, _Convolution(width, width, size)]))
            channels = width
        for width in reversed(widths[:-1]):
            self.up.append(_Convolution(channels + width, width, 3))
            channels = width
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Score frames.

        Parameters
        ----------
        x : Tensor of shape (B, T, n_mels)
            Log-mel frames before any mean normalisation; padding may hold anything.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, T)
            Logits, zero in the padding.
        """
        x = zero_padding(x.transpose(1, 2), lengths)
        mean = x.sum((1, 2)) / (lengths * x.shape[1])
        x = zero_padding(x - mean[:, None, None], lengths)[:, :, None] * 0.25  # near unit variance
        passed = []
        for block in self.down:
            for convolution in cast(nn.ModuleList, block):
                x, lengths = convolution(x, lengths)
            passed.append((x, lengths))
        x, _ = passed.pop()
        for convolution in self.up:
            skipped, lengths = passed.pop()
            x = x.repeat_interleave(2, dim=3)[..., : skipped.shape[3]]
            x, _ = convolution(torch.cat([zero_padding_(x, lengths), skipped], dim=1), lengths)
        return zero_padding(self.head(x)[:, 0, 0], lengths)
