"""Sentiment blocks (StExt) on top of the speaker blocks."""

from torch import Tensor, nn

from sklearn_speechsent.nn.blocks import ResidualBlock

# (residual blocks, channels) of each stage; every stage begins with stride 2.
_STAGES = {16: ((2, 64), (1, 64)), 34: ((6, 128), (3, 256))}


class SentimentBlocks(nn.Module):
    """Two stages of residual blocks, each beginning with stride 2.

    Parameters
    ----------
    in_channels : int
        Channels of the incoming maps.
    in_frequencies : int
        Frequencies of the incoming maps.
    variant : {16, 34}, default=16
        16: 2 blocks of 64 channels and 1 of 64; 34: 6 of 128 and 3 of 256.
    se_ratio : int or None, default=8
        Reduction of the squeeze-excitation; None leaves it out.

    Attributes
    ----------
    out_channels : int
        Channels of the maps.
    out_frequencies : int
        Frequencies of the maps.

    Raises
    ------
    ValueError
        If `variant` is neither 16 nor 34.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SentimentBlocks
    >>> maps, lengths = SentimentBlocks(64, 40)(torch.rand(2, 64, 40, 9), torch.tensor([4, 9]))
    >>> maps.shape, lengths
    (torch.Size([2, 64, 10, 3]), tensor([1, 3]))
    """

    def __init__(
        self, in_channels: int, in_frequencies: int, variant: int = 16, se_ratio: int | None = 8
    ) -> None:
        super().__init__()
        if variant not in _STAGES:
            raise ValueError(f"variant must be one of {sorted(_STAGES)}, got {variant!r}.")
        self.blocks = nn.ModuleList()
        self.out_frequencies = in_frequencies
        for depth, channels in _STAGES[variant]:
            for i in range(depth):
                self.blocks.append(
                    ResidualBlock(in_channels, channels, 2 if i == 0 else 1, se_ratio)
                )
                in_channels = channels
            self.out_frequencies = -(-self.out_frequencies // 2)
        self.out_channels = in_channels

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
        maps : Tensor of shape (B, out_channels, out_frequencies, ceil(T / 4))
            Maps, zero in the padding.
        lengths : Tensor of shape (B,), int64
            Valid frames that are left.
        """
        for block in self.blocks:
            x, lengths = block(x, lengths)
        return x, lengths
