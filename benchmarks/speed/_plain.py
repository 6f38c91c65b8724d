"""Network and training loop in the style of PyTorch's tutorials: standard modules and loader.

Names are those of our network, so that one state dict serves both and outputs can be compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

#: Times that a bias of CORAL moves as far as other weights.
REACH = 20


def mask_of(lengths: Tensor, n_frames: int) -> Tensor:
    """Ones for valid frames, of shape (B, 1, 1, n_frames)."""
    frames = torch.arange(n_frames, device=lengths.device)
    return (frames < lengths[:, None]).float()[:, None, None]


class SqueezeExcitation(nn.Module):
    """Channel attention from the mean over valid frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 8)
        self.excite = nn.Linear(channels // 8, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Scale maps (B, C, F, T), zero in the padding."""
        mean = x.sum((2, 3)) / (x.shape[2] * mask.sum((1, 2, 3)))[:, None]
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        return x * scale[:, :, None, None]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, n_in: int, channels: int, stride: int, attention: bool) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(n_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        if attention:
            self.se = SqueezeExcitation(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the block to maps that are zero in the padding."""
        lengths = (lengths + self.stride - 1) // self.stride
        out = self.bn1(self.conv1(x))
        mask = mask_of(lengths, out.shape[-1])
        out = self.bn2(self.conv2(F.relu(out * mask))) * mask
        if hasattr(self, "se"):
            out = self.se(out, mask)
        return F.relu((out + self.shortcut(x)) * mask), lengths


class SpeakerBlocks(nn.Module):
    """Stem and two blocks of WeSpeaker's ResNet34, with fixed batch normalisation."""

    def __init__(self, n_frozen: int) -> None:
        super().__init__()
        self.n_frozen = n_frozen
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.layer1 = nn.ModuleList(BasicBlock(32, 32, 1, False) for _ in range(3))
        self.layer2 = nn.ModuleList(
            BasicBlock(32 if i == 0 else 64, 64, 2 if i == 0 else 1, False) for i in range(4)
        )
        for frozen in (self.conv1, self.bn1, self.layer1, self.layer2)[: 2 + n_frozen]:
            frozen.requires_grad_(False)

    def train(self, mode: bool = True) -> SpeakerBlocks:
        """Keep the statistics of the weights in any mode."""
        return super().train(False)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the maps of frames (B, T, 80)."""
        with torch.no_grad():
            maps = x.transpose(1, 2)[:, None] * mask_of(lengths, x.shape[1])
            maps = F.relu(self.bn1(self.conv1(maps))) * mask_of(lengths, x.shape[1])
            for block in self.layer1:
                maps, lengths = block(maps, lengths)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.n_frozen < 2):
            for block in self.layer2:
                maps, lengths = block(maps, lengths)
        return maps, lengths


class SentimentBlocks(nn.Module):
    """Three blocks of 64 channels, two of them with stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(BasicBlock(64, 64, stride, True) for stride in (2, 1, 2))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the maps of maps."""
        for block in self.blocks:
            x, lengths = block(x, lengths)
        return x, lengths


class GeM(nn.Module):
    """Generalised mean over valid frames."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Pool maps (B, C, F, T) to (B, C)."""
        powers = x.clamp(min=1e-6).pow(self.p) * mask
        return (powers.sum((2, 3)) / (x.shape[2] * mask.sum((1, 2, 3)))[:, None]).pow(1 / self.p)


class Branch(nn.Module):
    """Linear, ReLU, batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)
        self.bn = nn.BatchNorm1d(64, affine=False, eps=1e-3)

    def forward(self, h: Tensor) -> Tensor:
        """Transform vectors."""
        return self.bn(F.relu(self.linear(h)))


class Decoder(nn.Module):
    """Generalised mean and mean, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.gem = GeM()
        self.gem_branch = Branch()
        self.mean_branch = Branch()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Describe maps that are zero in the padding."""
        mask = mask_of(lengths, x.shape[-1])
        mean = x.sum((2, 3)) / (x.shape[2] * lengths)[:, None]
        return torch.cat([self.gem_branch(self.gem(x, mask)), self.mean_branch(mean)], 1)


class CoralHead(nn.Module):
    """One weight vector, a bias per threshold that moves `REACH` times as far in a step."""

    def __init__(self, n_levels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(128, 1, bias=False)
        self.small_bias = nn.Parameter(torch.zeros(n_levels - 1))

    def forward(self, h: Tensor) -> Tensor:
        """Log-odds of exceeding each threshold."""
        return self.linear(h) + REACH * self.small_bias


class RegressionHead(nn.Module):
    """One linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(128, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Intensities."""
        return self.linear(h).squeeze(1)


class Network(nn.Module):
    """SREx-SEResNet-16 on mel frames.

    Parameters
    ----------
    n_frozen : {1, 2}
        Frozen of the two speaker blocks.
    n_levels : int
    names : sequence of {"regression", "ordinal"}
        Heads.
    """

    def __init__(
        self, n_frozen: int, n_levels: int, names: Sequence[str] = ("regression", "ordinal")
    ) -> None:
        super().__init__()
        self.srext = SpeakerBlocks(n_frozen)
        self.stext = SentimentBlocks()
        every = {"regression": RegressionHead(), "ordinal": CoralHead(n_levels)}
        heads = {name: every[name] for name in names}
        self.decoders = nn.ModuleDict({name: Decoder() for name in heads})
        self.heads = nn.ModuleDict(heads)

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Output of each head for frames (B, T, 80)."""
        maps, lengths = self.stext(*self.srext(x, lengths))
        decoded = {name: decoder(maps, lengths) for name, decoder in self.decoders.items()}
        return {name: head(decoded[name]) for name, head in self.heads.items()}


class Chunks(Dataset[tuple[Tensor, float, int]]):
    """Random chunk of an utterance per item, masked by SpecAugment if asked to.

    Parameters
    ----------
    frames : list of ndarray of shape (n_frames, 80)
    y : ndarray of shape (n,)
        Levels as numbers 0 … K - 1.
    chunk : int
        Frames of a chunk.
    augment : bool
    """

    def __init__(
        self, frames: list[NDArray[np.float32]], y: NDArray[Any], chunk: int, augment: bool
    ) -> None:
        self.frames = frames
        self.y = y
        self.chunk = chunk
        self.augment = augment
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, row: int) -> tuple[Tensor, float, int]:
        frames = self.frames[row]
        start = self.rng.integers(max(len(frames) - self.chunk, 0) + 1)
        x = torch.from_numpy(frames[start : start + self.chunk])
        if self.augment:
            x = x.clone()
            for cells, widest in ((x, 10), (x.T, 5)):
                for _ in range(self.rng.integers(3)):
                    width = min(self.rng.integers(widest + 1), len(cells))
                    first = self.rng.integers(len(cells) - width + 1)
                    cells[first : first + width] = 0
        return x, float(self.y[row]), int(self.y[row])


def pad_collate(items: list[tuple[Tensor, float, int]]) -> tuple[Tensor, ...]:
    """Pad chunks to the longest."""
    chunks, intensities, levels = zip(*items, strict=True)
    return (
        nn.utils.rnn.pad_sequence(list(chunks), batch_first=True),
        torch.tensor([len(chunk) for chunk in chunks]),
        torch.tensor(intensities),
        torch.tensor(levels),
    )


def loss_of(outputs: dict[str, Tensor], y: Tensor, levels: Tensor) -> Tensor:
    """Absolute error plus CORAL, of the heads that there are."""
    losses = []
    if "regression" in outputs:
        losses.append((outputs["regression"] - y).abs().mean())
    if "ordinal" in outputs:
        logits = outputs["ordinal"]
        thresholds = torch.arange(logits.shape[1], device=logits.device)
        exceeded = (levels[:, None] > thresholds).float()
        coral = F.binary_cross_entropy_with_logits(logits, exceeded, reduction="none").sum(1)
        losses.append(coral.mean())
    return torch.stack(losses).sum()


def endless(dataset: Chunks, batch_size: int, pin_memory: bool = False) -> Iterator[Any]:
    """Shuffled batches without end, pinned for a GPU if asked to."""
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        collate_fn=pad_collate,
        drop_last=True,
        pin_memory=pin_memory,
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


def trainer(
    network: Network,
    batches: Iterator[Any],
    n_steps: int,
    lr: float,
    *,
    fast: bool = False,
    device: str = "cpu",
) -> Callable[[], None]:
    """Training loop, as a function that does the next steps.

    Parameters
    ----------
    network : Network
    batches : iterator
        Of `endless`.
    n_steps : int
        Per call.
    lr : float
    fast : bool, default=False
        In bfloat16 by autocast, and channels-last.
    device : str, default="cpu"

    Returns
    -------
    callable
    """
    layout = torch.channels_last if fast else torch.contiguous_format
    network = network.train().to(device, memory_format=layout)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=lr)

    def steps() -> None:
        for batch in itertools.islice(batches, n_steps):
            x, lengths, y, levels = (part.to(device, non_blocking=True) for part in batch)
            optimizer.zero_grad()
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=fast):
                outputs = network(x, lengths)
            loss = loss_of({k: v.float() for k, v in outputs.items()}, y, levels)
            loss.backward()
            optimizer.step()

    return steps
