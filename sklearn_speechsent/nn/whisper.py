"""Encoder of Whisper: a transformer over log-mel frames of speech."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Values that each head of attention looks at, in every size of Whisper.
_HEAD = 64


class _Attention(nn.Module):
    """Every position looks at all positions of its own utterance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.joined: nn.Linear | None = None

    @torch.no_grad()
    def join(self) -> None:
        """Make one product of matrices of three."""
        weight, width = self.out.weight, self.out.in_features
        joined = nn.Linear(width, 3 * width, device="meta", dtype=weight.dtype)
        self.joined = joined.to_empty(device=weight.device)  # without drawing weights
        parts = (self.query, self.key, self.value)
        self.joined.weight.copy_(torch.cat([part.weight for part in parts]))
        nothing = torch.zeros_like(self.query.bias)
        self.joined.bias.copy_(torch.cat([self.query.bias, nothing, self.value.bias]))
        del self.query, self.key, self.value

    def forward(self, x: Tensor) -> Tensor:
        if self.joined is None:
            parts = [self.query(x), self.key(x), self.value(x)]
        else:
            parts = list(self.joined(x).chunk(3, dim=-1))
        heads = (part.unflatten(-1, (-1, _HEAD)).transpose(-3, -2) for part in parts)
        seen = F.scaled_dot_product_attention(*heads)
        return self.out(seen.transpose(-3, -2).flatten(-2))


class _Block(nn.Module):
    """Attention over time, then two layers for each position by itself; both are added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = _Attention(width)
        self.attn_ln = nn.LayerNorm(width)
        wide = 4 * width
        self.mlp = nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        # The sum stays in single precision: it reaches hundreds, where bfloat16 counts in twos.
        kind = self.attn.out.weight.dtype
        x = x + self.attn(self.attn_ln(x).to(kind))
        return x + self.mlp(self.mlp_ln(x).to(kind))


class WhisperEncoder(nn.Module):
    """Encoder of Whisper [1]_, without the norm behind the last block.

    Two convolutions, the second of which halves the number of frames, then pre-norm transformer
    blocks with 50 positions per second. Utterances keep their own length: positions are cut, where
    Whisper itself pads with silence to 30 s.

    Parameters
    ----------
    n_mels : int, default=80
        Bins of a frame.
    width : int, default=512
        Values of a position, a multiple of 64.
    n_blocks : int, default=6
    n_positions : int, default=1500
        Most positions of an utterance: half of its frames.

    References
    ----------
    .. [1] A. Radford et al., "Robust speech recognition via large-scale weak supervision",
       ICML 2023.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import WhisperEncoder
    >>> encoder = WhisperEncoder(n_mels=8, width=64, n_blocks=2, n_positions=20).eval()
    >>> [tuple(layer.shape) for layer in encoder.layers(torch.zeros(1, 30, 8))]
    [(1, 15, 64), (1, 15, 64), (1, 15, 64)]
    """

    positional_embedding: Tensor

    def __init__(
        self, n_mels: int = 80, width: int = 512, n_blocks: int = 6, n_positions: int = 1500
    ) -> None:
        super().__init__()
        if width % _HEAD:
            raise ValueError(f"width={width} must be a multiple of {_HEAD}, the size of a head.")
        self.conv1 = nn.Conv1d(n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.zeros(n_positions, width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(n_blocks))

    @property
    def n_mels(self) -> int:
        """Bins of a frame."""
        return self.conv1.in_channels

    @property
    def width(self) -> int:
        """Values of a position."""
        return self.conv1.out_channels

    @property
    def n_positions(self) -> int:
        """Most positions of an utterance."""
        return len(self.positional_embedding)

    @property
    def architecture(self) -> dict[str, int]:
        """Arguments of this network."""
        return {
            "n_mels": self.n_mels,
            "width": self.width,
            "n_blocks": len(self.blocks),
            "n_positions": self.n_positions,
        }

    def prepare(self, precision: torch.dtype = torch.float32) -> WhisperEncoder:
        """Make the frozen network as fast as it can be; it can then no longer be trained.

        Parameters
        ----------
        precision : dtype, default=torch.float32
            Of convolutions and products of matrices. Norms, and the sums that blocks are added to,
            stay in float32.

        Returns
        -------
        self
        """
        for module in [*self.modules()]:
            if isinstance(module, _Attention):
                module.join()
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                module.to(precision)
        return self.requires_grad_(False).eval()

    def layers(self, frames: Tensor) -> Iterator[Tensor]:
        """What goes into the first block, and what comes out of each, one after the other.

        Parameters
        ----------
        frames : Tensor of shape (B, T, n_mels)
            Log-mel frames of utterances of one length, at most twice ``n_positions``.

        Yields
        ------
        Tensor of shape (B, (T + 1) // 2, width), float32
        """
        x = frames.transpose(1, 2).to(self.conv1.weight.dtype)
        x = F.gelu(self.conv2(F.gelu(self.conv1(x)))).transpose(1, 2).float()
        x = x + self.positional_embedding[: x.shape[1]]
        yield x
        for block in self.blocks:
            x = block(x)
            yield x

    def forward(self, frames: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """Chosen layers side by side; no block above the highest is computed.

        Parameters
        ----------
        frames : Tensor of shape (B, T, n_mels)
        layers : sequence of int, optional
            Layer k is what comes out of block k, layer 0 what goes into the first. By default the
            last.

        Returns
        -------
        Tensor of shape (B, (T + 1) // 2, n_layers, width)
        """
        wanted = [len(self.blocks)] if layers is None else list(layers)
        found = {}
        for number, layer in enumerate(self.layers(frames)):
            if number in wanted:
                found[number] = layer
            if number == max(wanted):
                break
        return torch.stack([found[number] for number in wanted], dim=2)
