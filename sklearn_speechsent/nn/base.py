"""Base of the sentiment networks: checks of the input, speaker embeddings, decoders, heads."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.heads import ORDINAL_HEADS, RegressionHead
from sklearn_speechsent.nn.masking import is_symbolic


class HeadedNetwork(nn.Module):
    """Network from padded utterances to the outputs of heads, each behind a decoder of its own.

    A subclass builds its layers, calls :meth:`_add_heads`, and says in :meth:`_encode` what the
    decoders see.

    Parameters
    ----------
    in_channels : int
        Channels of the input: 1 for frames, C for maps, or the layers of an encoder.
    in_frequencies : int
        Values of a frame, of each channel, or of each layer.

    Attributes
    ----------
    decoders : ModuleDict
        One per head, with ``out_features``.
    heads : ModuleDict
        The heads, by name.
    spe : Linear or None
        Projection of the speaker embedding.
    dropout : Dropout
        Before the heads.
    """

    spe: nn.Linear | None
    decoders: nn.ModuleDict
    heads: nn.ModuleDict

    def __init__(self, in_channels: int, in_frequencies: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.in_frequencies = in_frequencies

    def _add_heads(
        self,
        make_decoder: Callable[[], Any],
        names: Sequence[str],
        ordinal: str,
        n_levels: int,
        *,
        dropout: float,
        embedding_size: int,
        spe_size: int,
    ) -> None:
        """Build the projection of the speaker embedding, and a decoder and a head per name."""
        if isinstance(names, str) or not names or set(names) - {"regression", "ordinal"}:
            raise ValueError(
                f"heads must be one or both of 'regression' and 'ordinal', got {names!r}."
            )
        if ordinal not in ORDINAL_HEADS:
            raise ValueError(f"ordinal must be one of {list(ORDINAL_HEADS)}, got {ordinal!r}.")
        self.dropout = nn.Dropout(dropout)
        self.embedding_size = embedding_size
        self.spe = nn.Linear(embedding_size, spe_size) if embedding_size else None
        self.decoders = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        for name in names:
            decoder = make_decoder()
            self.decoders[name] = decoder
            in_features = decoder.out_features + (spe_size if embedding_size else 0)
            self.heads[name] = (
                RegressionHead(in_features)
                if name == "regression"
                else ORDINAL_HEADS[ordinal](in_features, n_levels)
            )

    def _encode(self, maps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Turn maps (B, T, C, F), with anything in the padding, into the input of the decoders."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, lengths: Tensor, embeddings: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the output of every head.

        Parameters
        ----------
        x : Tensor of shape (B, T, D) or (B, T, C, F)
            Frames (then ``in_channels`` is 1), maps of frozen blocks, or layers of an encoder,
            time first, of any floating type; padding may hold anything.
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
            If `x`, `lengths` or `embeddings` does not have the shape the network was built for.
        """
        maps = self._as_maps(x, lengths)
        speakers = self._as_speakers(embeddings, x.shape[0])
        maps, lengths = self._encode(maps, lengths)
        return {
            name: head(
                self.dropout(torch.cat([self.decoders[name](maps, lengths), *speakers], dim=1))
            )
            for name, head in self.heads.items()
        }

    def _as_speakers(self, embeddings: Tensor | None, n: int) -> list[Tensor]:
        """Check and project the speaker embeddings; an empty list where there are none."""
        shape = None if embeddings is None else tuple(embeddings.shape)
        if shape != ((n, self.embedding_size) if self.embedding_size else None):
            wanted = f"shape ({n}, {self.embedding_size})" if self.embedding_size else "none"
            raise ValueError(f"The network was built for embeddings of {wanted}, got {shape}.")
        if self.spe is None or embeddings is None:
            return []
        # Unit length times the root of the size: values of about 1, like those of the decoders.
        unit = F.normalize(embeddings.to(self.spe.weight.dtype), dim=1)
        return [self.spe(unit * self.embedding_size**0.5)]

    def _as_maps(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Check shapes and return (B, T, C, F)."""
        expected = f"(B, T, {self.in_channels}, {self.in_frequencies})"
        if self.in_channels == 1:
            expected = f"(B, T, {self.in_frequencies}) or {expected}"
        maps = x[:, :, None] if x.ndim == 3 else x
        if maps.ndim != 4 or maps.shape[2:] != (self.in_channels, self.in_frequencies):
            raise ValueError(
                f"The network was built for x of shape {expected}, got {tuple(x.shape)}."
            )
        if lengths.ndim != 1 or lengths.shape[0] != x.shape[0]:
            raise ValueError(
                f"lengths must have shape ({len(x)},) for x of shape {tuple(x.shape)}, got "
                f"{tuple(lengths.shape)}."
            )
        if not is_symbolic() and not ((lengths >= 1) & (lengths <= x.shape[1])).all():
            raise ValueError(
                f"lengths must be in 1 … {x.shape[1]} for x of shape {tuple(x.shape)}, got "
                f"{lengths.tolist()}."
            )
        return maps
