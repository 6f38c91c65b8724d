"""Sentiment blocks (StExt) on top of the speaker blocks."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from sklearn_speechsent.nn.blocks import ResidualBlock, keep_normalisation

#: Stages of the variants of the paper, each (residual blocks, channels).
_VARIANTS = {16: ((2, 64), (1, 64)), 34: ((6, 128), (3, 256))}

Stages = int | Sequence[Sequence[int]]


def stages_of(stages: Stages) -> tuple[tuple[int, int], ...]:
    """Residual blocks and channels of each stage of the sentiment blocks.

    Parameters
    ----------
    stages : {16, 34} or sequence of (int, int)
        Variant of the paper, or the stages themselves.

    Returns
    -------
    tuple of (int, int)

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> from sklearn_speechsent.nn.stext import stages_of
    >>> stages_of(34)
    ((6, 128), (3, 256))
    """
    if isinstance(stages, Sequence):
        found: Any = tuple(tuple(stage) if isinstance(stage, Sequence) else () for stage in stages)
    else:
        found = _VARIANTS.get(stages)
    whole = found and all(isinstance(value, Integral) for stage in found for value in stage)
    if not whole or any(len(stage) != 2 or min(stage) < 1 for stage in found):
        raise ValueError(
            f"stext must be one of the variants {sorted(_VARIANTS)} or a sequence of stages, each "
            f"(residual blocks, channels), got {stages!r}."
        )
    return found


class SentimentBlocks(nn.Module):
    """Stages of residual blocks, each beginning with stride 2.

    Parameters
    ----------
    in_channels : int
        Channels of the incoming maps.
    in_frequencies : int
        Frequencies of the incoming maps.
    stages : {16, 34} or sequence of (int, int), default=16
        16: 2 blocks of 64 channels and 1 of 64; 34: 6 of 128 and 3 of 256. Or blocks and channels
        of each stage, such as ``((6, 128),)`` for the first stage of 34 alone.
    se_ratio : int or None, default=8
        Reduction of the squeeze-excitation; None leaves it out.
    freeze_batch_norm : bool, default=False
        See `SpeakerBlocks`.

    Attributes
    ----------
    out_channels : int
        Channels of the maps.
    out_frequencies : int
        Frequencies of the maps.

    Raises
    ------
    ValueError
        If `stages` is neither 16 nor 34, nor stages.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SentimentBlocks
    >>> maps, lengths = SentimentBlocks(64, 40)(torch.rand(2, 64, 40, 9), torch.tensor([4, 9]))
    >>> maps.shape, lengths
    (torch.Size([2, 64, 10, 3]), tensor([1, 3]))
    """

    def __init__(
        self,
        in_channels: int,
        in_frequencies: int,
        stages: Stages = 16,
        se_ratio: int | None = 8,
        freeze_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.stages = stages_of(stages)
        self.freeze_batch_norm = freeze_batch_norm
        self.blocks = nn.ModuleList()
        self.out_frequencies = in_frequencies
        for depth, channels in self.stages:
            for i in range(depth):
                self.blocks.append(
                    ResidualBlock(in_channels, channels, 2 if i == 0 else 1, se_ratio)
                )
                in_channels = channels
            self.out_frequencies = -(-self.out_frequencies // 2)
        self.out_channels = in_channels
        self.train()

    def train(self, mode: bool = True) -> "SentimentBlocks":
        """Set the mode; batch normalisation that is frozen stays in eval mode.

        Parameters
        ----------
        mode : bool, default=True
            Training (True) or evaluation.

        Returns
        -------
        SentimentBlocks
            The module itself.
        """
        super().train(mode)
        if self.freeze_batch_norm:
            keep_normalisation(self)
        return self

    def speaker_keys(self, n_below: int) -> dict[str, str]:
        """Name the tensors as a speaker network does whose blocks these are.

        Parameters
        ----------
        n_below : int
            Blocks of the speaker network below the first stage.

        Returns
        -------
        dict of str to str
            From key of the state dict to key in that of a `SpeakerResNet`.

        Examples
        --------
        >>> from sklearn_speechsent.nn import SentimentBlocks
        >>> keys = SentimentBlocks(64, 40, ((2, 128), (1, 256))).speaker_keys(2)
        >>> [keys[f"blocks.{i}.conv1.weight"] for i in range(3)]
        ['layer3.0.conv1.weight', 'layer3.1.conv1.weight', 'layer4.0.conv1.weight']
        """
        names = [
            f"layer{layer}.{block}"
            for layer, (depth, _) in enumerate(self.stages, start=n_below + 1)
            for block in range(depth)
        ]
        split = {key: key.split(".", 2) for key in self.state_dict()}
        return {key: f"{names[int(block)]}.{rest}" for key, (_, block, rest) in split.items()}

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the blocks.

        Parameters
        ----------
        x : Tensor of shape (B, in_channels, in_frequencies, T)
            Maps, zero in the padding as the speaker blocks leave them.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        maps : Tensor of shape (B, out_channels, out_frequencies, ceil(T / 2 ** n_stages))
            Maps, zero in the padding.
        lengths : Tensor of shape (B,), int64
            Valid frames that are left.
        """
        for block in self.blocks:
            x, lengths = block(x, lengths)
        return x, lengths
