"""Speaker-verification ResNet34 and its lower blocks (SRExt)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.blocks import (
    MaskedBatchNorm2d,
    ResidualBlock,
    Squeeze,
    convolve_and_normalise,
    keep_normalisation,
)
from sklearn_speechsent.nn.masking import zero_padding, zero_padding_
from sklearn_speechsent.nn.pooling import statistics_pooling


class SpeakerBlocks(nn.Module):
    """Stem and first blocks of a speaker network: from log-mel frames to maps.

    State-dict keys follow WeSpeaker (``conv1, bn1, layer1.0.conv1, …``), so the lower blocks of
    a `SpeakerResNet` load by name.

    Parameters
    ----------
    n_blocks : int, default=2
        Blocks to build, 1 to ``len(depths)``.
    n_mels : int, default=80
        Mel bins of a frame.
    widths : sequence of int, default=(32, 64, 128, 256)
        Channels of each block; the stem has those of the first.
    depths : sequence of int, default=(3, 4, 6, 3)
        Residual blocks within each block. The first has stride 1, the others stride 2.
    se_ratio : int or None, default=8
        Reduction of the squeeze-excitation; None leaves it out.
    n_frozen_blocks : int, default=0
        If positive, the stem and this many blocks stay in eval mode without gradient, also
        under ``train()``.
    freeze_batch_norm : bool, default=False
        Keep every batch normalisation in eval mode, also under ``train()``; its affine
        parameters still learn. Weights with folded statistics need it.

    Attributes
    ----------
    out_channels : int
        Channels of the maps.
    out_frequencies : int
        Frequencies of the maps.
    time_stride : int
        Frames per column of the maps.
    half_width : int
        Frames before and after its own that a column depends on, next to squeeze-excitation, which
        looks at all of them.
    has_gates : bool
        Whether there is squeeze-excitation.

    Raises
    ------
    ValueError
        If there are fewer blocks to build or to freeze than asked for.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SpeakerBlocks
    >>> maps, lengths = SpeakerBlocks(2)(torch.rand(2, 7, 80), torch.tensor([3, 7]))
    >>> maps.shape, lengths
    (torch.Size([2, 64, 40, 4]), tensor([2, 4]))
    """

    def __init__(
        self,
        n_blocks: int = 2,
        *,
        n_mels: int = 80,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (3, 4, 6, 3),
        se_ratio: int | None = 8,
        n_frozen_blocks: int = 0,
        freeze_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths):
            raise ValueError(f"widths {widths} and depths {depths} differ in length.")
        if not 1 <= n_blocks <= len(depths):
            raise ValueError(f"n_blocks must be in 1 … {len(depths)}, got {n_blocks}.")
        if not 0 <= n_frozen_blocks <= n_blocks:
            raise ValueError(
                f"n_frozen_blocks must be in 0 … n_blocks = {n_blocks}, got {n_frozen_blocks}."
            )
        self.n_blocks = n_blocks
        self.n_mels = n_mels
        self.n_frozen_blocks = n_frozen_blocks
        self.freeze_batch_norm = freeze_batch_norm
        self.conv1 = nn.Conv2d(1, widths[0], 3, padding=1, bias=False)
        self.bn1 = MaskedBatchNorm2d(widths[0])
        self.has_gates = se_ratio is not None
        self.half_width = 1  # of the stem
        in_channels, frequencies = widths[0], n_mels
        for i in range(n_blocks):
            stride = 1 if i == 0 else 2
            # All convolutions look one column to either side; the first still at full resolution.
            self.half_width += 2**i * (2 * depths[i] - 1) + 2**i // stride
            layer = nn.ModuleList()
            for j in range(depths[i]):
                layer.append(
                    ResidualBlock(in_channels, widths[i], stride if j == 0 else 1, se_ratio)
                )
                in_channels = widths[i]
            frequencies = -(-frequencies // stride)
            self.add_module(f"layer{i + 1}", layer)
        self.out_channels = in_channels
        self.out_frequencies = frequencies
        self.time_stride = 2 ** (n_blocks - 1)
        for module in self._frozen_modules():
            module.requires_grad_(False)
        self.train()

    def _layers(self) -> list[nn.ModuleList]:
        return [self.get_submodule(f"layer{i + 1}") for i in range(self.n_blocks)]  # type: ignore[misc]

    def _frozen_modules(self) -> Iterator[nn.Module]:
        if self.n_frozen_blocks:
            yield from (self.conv1, self.bn1, *self._layers()[: self.n_frozen_blocks])

    def train(self, mode: bool = True) -> "SpeakerBlocks":
        """Set the mode; frozen parts stay in eval mode.

        Parameters
        ----------
        mode : bool, default=True
            Training (True) or evaluation.

        Returns
        -------
        SpeakerBlocks
            The module itself.
        """
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        if self.freeze_batch_norm:
            keep_normalisation(self)
        return self

    def maps(
        self, x: Tensor, lengths: Tensor, squeeze: Squeeze | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the maps of the last block.

        Parameters
        ----------
        x : Tensor of shape (B, T, n_mels)
            Log-mel frames; padding may hold anything.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.
        squeeze : callable, optional
            See `ResidualBlock`; called in each block, in order.

        Returns
        -------
        maps : Tensor of shape (B, out_channels, out_frequencies, ceil(T / time_stride))
            Maps, zero in the padding.
        lengths : Tensor of shape (B,), int64
            Valid columns of the maps.
        """
        maps = zero_padding(x.transpose(1, 2), lengths)[:, None].to(self.conv1.weight.dtype)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.n_frozen_blocks):
            maps = convolve_and_normalise(self.conv1, self.bn1, maps, lengths)
            maps = F.relu(zero_padding_(maps, lengths), inplace=True)
        for i, layer in enumerate(self._layers()):
            learns = i >= self.n_frozen_blocks
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
                for block in layer:
                    maps, lengths = block(maps, lengths, squeeze)
        return maps, lengths

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the maps of the last block, see `maps`."""
        return self.maps(x, lengths)


class SpeakerResNet(SpeakerBlocks):
    """ResNet34 speaker embedder: all blocks, statistics pooling, one linear layer.

    With ``se_ratio=None`` layout and keys are those of WeSpeaker's ResNet34.

    Parameters
    ----------
    embedding_size : int, default=256
        Values of an embedding.
    n_mels : int, default=80
        Mel bins of a frame.
    widths : sequence of int, default=(32, 64, 128, 256)
        Channels of each block.
    depths : sequence of int, default=(3, 4, 6, 3)
        Residual blocks within each block.
    se_ratio : int or None, default=8
        Reduction of the squeeze-excitation; None leaves it out.

    See Also
    --------
    SpeakerBlocks : Its lower blocks.
    AAMSoftmax : The loss that it is trained with.

    References
    ----------
    H. Wang et al., "WeSpeaker: A research and production oriented speaker embedding learning
    toolkit", ICASSP 2023.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SpeakerResNet
    >>> net = SpeakerResNet(depths=(1, 1, 1, 1), se_ratio=None)
    >>> net(torch.rand(2, 9, 80), torch.tensor([3, 9])).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        embedding_size: int = 256,
        *,
        n_mels: int = 80,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (3, 4, 6, 3),
        se_ratio: int | None = 8,
    ) -> None:
        super().__init__(
            len(depths), n_mels=n_mels, widths=widths, depths=depths, se_ratio=se_ratio
        )
        #: Arguments that build the same network again.
        self.architecture = {
            "n_mels": n_mels,
            "widths": tuple(widths),
            "depths": tuple(depths),
            "se_ratio": se_ratio,
            "embedding_size": embedding_size,
        }
        self.seg_1 = nn.Linear(2 * self.out_channels * self.out_frequencies, embedding_size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        """Embed utterances.

        Parameters
        ----------
        x : Tensor of shape (B, T, n_mels)
            Log-mel frames; padding may hold anything.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        Tensor of shape (B, embedding_size)
            Speaker embeddings, not normalised.
        """
        return self.seg_1(statistics_pooling(*self.maps(x, lengths)))
