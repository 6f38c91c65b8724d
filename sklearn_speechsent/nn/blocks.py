"""Residual blocks on padded maps: batch normalisation, squeeze-excitation, basic block."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.masking import (
    frame_mask,
    has_padding,
    strided_lengths,
    zero_padding_,
)
from sklearn_speechsent.nn.pooling import masked_mean

#: With fewer channels the gradient of a strided 1x1 convolution on channels-last maps writes past
#: its workspace: wrong numbers or a crash (oneDNN issue 6035, in torch up to 2.14 at least).
_SAFE_CHANNELS = 16

#: From the mean of each channel to that which squeeze-excitation takes for it.
Squeeze = Callable[[Tensor], Tensor]


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose training statistics see valid frames only.

    In training it equals ``nn.BatchNorm2d`` on the unpadded utterances laid end to end, in the
    output and in the running statistics. The state dict is that of ``nn.BatchNorm2d``. A batch
    with a single value per channel has no variance and is normalised as in eval mode.

    Parameters
    ----------
    num_features : int
        Channels.

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch normalization", ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import MaskedBatchNorm2d
    >>> MaskedBatchNorm2d(4)(torch.rand(2, 4, 5, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 4, 5, 6])
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.momentum: float

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalise maps.

        Parameters
        ----------
        input : Tensor of shape (B, C, F, T)
            Maps, finite also in the padding.
        lengths : Tensor of shape (B,), int64, default=None
            Valid frames of each utterance; None for all.

        Returns
        -------
        Tensor of shape (B, C, F, T)
            Normalised maps; padding is unspecified.
        """
        if not self.training:
            return super().forward(input)
        n_items, _, n_frequencies, n_frames = input.shape
        if lengths is None:
            lengths = torch.full((n_items,), n_frames, device=input.device)
        n_valid = lengths.sum() * n_frequencies
        if n_valid < 2:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if not has_padding(lengths, n_frames):
            return super().forward(input)
        # Padding filled with the mean of the valid values does not change the mean, and reduces
        # the variance by a known ratio, so torch's fused kernel does the rest, gradient included.
        n_all = input.numel() // input.shape[1]
        ratio = float(n_valid / n_all)
        unbiased_ratio = (n_valid - 1) / (n_all - 1)
        mask = frame_mask(lengths, n_frames)[:, None, None].to(input.dtype)
        input = input * mask
        mean = input.sum((0, 2, 3), keepdim=True) / n_valid
        running_var = self.running_var * unbiased_ratio
        output = F.batch_norm(
            torch.addcmul(input, 1 - mask, mean.to(input.dtype)),
            self.running_mean,
            running_var,
            self.weight * ratio**0.5,
            self.bias,
            training=True,
            momentum=self.momentum,
            eps=self.eps * ratio,
        )
        self.running_var.copy_(running_var / unbiased_ratio)
        self.num_batches_tracked += 1
        return output


def keep_normalisation(module: nn.Module) -> None:
    """Set every batch normalisation to eval mode; its affine parameters still learn.

    Parameters
    ----------
    module : Module

    Examples
    --------
    >>> from sklearn_speechsent.nn import ResidualBlock
    >>> from sklearn_speechsent.nn.blocks import keep_normalisation
    >>> block = ResidualBlock(4, 4)
    >>> keep_normalisation(block)
    >>> block.training, block.bn1.training
    (True, False)
    """
    for part in module.modules():
        if isinstance(part, MaskedBatchNorm2d):
            part.eval()


def convolve_and_normalise(
    conv: nn.Conv2d, bn: nn.Module, x: Tensor, lengths: Tensor | None
) -> Tensor:
    """Apply a convolution without bias and its batch normalisation.

    Out of training the two are one convolution, which saves passes over the maps.
    See also `folded`, which makes them one permanently.

    Parameters
    ----------
    conv : Conv2d
        Convolution without bias.
    bn : MaskedBatchNorm2d or Identity
        Its batch normalisation, or the identity that `folded` leaves.
    x : Tensor of shape (B, C, F, T)
        Maps, zero in the padding.
    lengths : Tensor of shape (B,), int64, or None
        Valid frames of each utterance after the convolution; training needs them.

    Returns
    -------
    Tensor of shape (B, C', F', T')
        Normalised maps; padding is unspecified.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn.blocks import MaskedBatchNorm2d, convolve_and_normalise
    >>> conv, bn = torch.nn.Conv2d(1, 4, 3, bias=False), MaskedBatchNorm2d(4)
    >>> convolve_and_normalise(conv, bn, torch.rand(2, 1, 5, 6), torch.tensor([2, 4])).shape
    torch.Size([2, 4, 3, 4])
    """
    if not isinstance(bn, MaskedBatchNorm2d):
        return conv(x)
    if bn.training:
        return bn(conv(x), lengths)
    scale = bn.weight * (bn.running_var + bn.eps).rsqrt()
    weight = conv.weight * scale[:, None, None, None]
    return F.conv2d(x, weight, bn.bias - bn.running_mean * scale, conv.stride, conv.padding)


class SqueezeExcitation(nn.Module):
    """Channel attention from the mean over valid frames and frequencies.

    Parameters
    ----------
    channels : int
        Channels of the maps.
    ratio : int, default=8
        The bottleneck has ``channels // ratio`` units, at least one.

    References
    ----------
    J. Hu, L. Shen and G. Sun, "Squeeze-and-excitation networks", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SqueezeExcitation
    >>> SqueezeExcitation(32)(torch.rand(2, 32, 5, 6), torch.tensor([3, 6])).shape
    torch.Size([2, 32, 5, 6])
    """

    def __init__(self, channels: int, ratio: int = 8) -> None:
        super().__init__()
        bottleneck = max(channels // ratio, 1)
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def attention(self, x: Tensor, lengths: Tensor, squeeze: Squeeze | None = None) -> Tensor:
        """Return the scale of each channel, shape (B, C, 1, 1), for `forward`'s arguments."""
        mean = masked_mean(x, lengths).to(self.squeeze.weight.dtype)
        if squeeze is not None:
            mean = squeeze(mean)
        scale = self.excite(F.relu(self.squeeze(mean))).sigmoid()
        return scale[:, :, None, None].to(x.dtype)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Scale each channel by its attention.

        Parameters
        ----------
        x : Tensor of shape (B, C, F, T)
            Maps.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, C, F, T)
            Scaled maps; padding is unspecified.
        """
        return x * self.attention(x, lengths)


class ResidualBlock(nn.Module):
    """Basic block conv-BN-ReLU-conv-BN-SE, plus shortcut, ReLU, with 3x3 convolutions.

    Where the shape changes the shortcut is a 1x1 convolution with batch normalisation.

    Parameters
    ----------
    in_channels : int
        Channels of the incoming maps.
    channels : int
        Channels of the outgoing maps.
    stride : int, default=1
        Stride over frequency and time.
    se_ratio : int or None, default=8
        Reduction of the squeeze-excitation; None leaves it out, as WeSpeaker's ResNet does.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import ResidualBlock
    >>> maps, lengths = ResidualBlock(32, 64, 2)(torch.rand(2, 32, 9, 7), torch.tensor([3, 7]))
    >>> maps.shape, lengths
    (torch.Size([2, 64, 5, 4]), tensor([2, 4]))
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, se_ratio: int | None = 8
    ) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = MaskedBatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = MaskedBatchNorm2d(channels)
        self.se = None if se_ratio is None else SqueezeExcitation(channels, se_ratio)
        self.shortcut = nn.ModuleList()
        if stride != 1 or in_channels != channels:
            self.shortcut.append(nn.Conv2d(in_channels, channels, 1, stride, bias=False))
            self.shortcut.append(MaskedBatchNorm2d(channels))

    def forward(
        self, x: Tensor, lengths: Tensor, squeeze: Squeeze | None = None
    ) -> tuple[Tensor, Tensor]:
        """Apply the block.

        Parameters
        ----------
        x : Tensor of shape (B, C, F, T)
            Maps, zero in the padding as every block leaves them.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.
        squeeze : callable, optional
            Takes the mean of shape (B, channels) that squeeze-excitation is about to use, and gives
            what it uses instead.

        Returns
        -------
        maps : Tensor of shape (B, channels, ceil(F / stride), ceil(T / stride))
            Maps, zero in the padding.
        lengths : Tensor of shape (B,), int64
            Valid frames that are left.
        """
        out_lengths = strided_lengths(lengths, self.stride)
        maps = convolve_and_normalise(self.conv1, self.bn1, x, out_lengths)
        maps = F.relu(zero_padding_(maps, out_lengths), inplace=True)
        maps = convolve_and_normalise(self.conv2, self.bn2, maps, out_lengths)
        if self.shortcut:
            conv, bn = cast("tuple[nn.Conv2d, MaskedBatchNorm2d]", tuple(self.shortcut))
            if conv.in_channels < _SAFE_CHANNELS and torch.is_grad_enabled():
                x = F.conv2d(x[:, :, :: self.stride, :: self.stride], conv.weight)
                x = bn(x, out_lengths)
            else:
                x = convolve_and_normalise(conv, bn, x, out_lengths)
        if self.se is None:
            maps += x
        elif torch.is_grad_enabled():
            maps = torch.addcmul(x, maps, self.se.attention(maps, out_lengths, squeeze))
        else:
            torch.addcmul(x, maps, self.se.attention(maps, out_lengths, squeeze), out=maps)
        return F.relu(zero_padding_(maps, out_lengths), inplace=True), out_lengths
