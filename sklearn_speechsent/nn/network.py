"""Sentiment network: [speaker blocks] → sentiment blocks → decoders → heads."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from sklearn_speechsent.nn.base import HeadedNetwork
from sklearn_speechsent.nn.decoders import DECODERS
from sklearn_speechsent.nn.masking import zero_padding
from sklearn_speechsent.nn.resnet import SpeakerBlocks
from sklearn_speechsent.nn.stext import SentimentBlocks, Stages


class SentimentNetwork(HeadedNetwork):
    """Sentiment intensity and level of utterances from frames or maps.

    Parameters
    ----------
    in_channels : int, default=1
        Channels of the input: 1 for log-mel frames, C for maps of frozen blocks.
    in_frequencies : int, default=80
        Mel bins of the frames, or frequencies of the maps.
    n_levels : int, default=7
        Levels of the ordinal head.
    heads : sequence of {"regression", "ordinal"}, default=("regression", "ordinal")
        Heads to build, each with its own decoder.
    ordinal : {"coral", "corn", "condor", "clm", "ce", "sord"}, default="coral"
        Kind of the ordinal head.
    stext : {16, 34} or sequence of (int, int), default=16
        Variant of the sentiment blocks, or residual blocks and channels of each of their stages,
        such as ``((6, 128),)`` for the first stage of 34 alone.
    stext_init : {"speaker"} or None, default=None
        Initial values of the sentiment blocks. None draws them; with ``"speaker"`` they are those
        of the upper blocks of a speaker network, which the estimators copy from ``weights``, and
        their batch normalisation stays in eval mode.
    n_frozen_blocks : int, default=0
        Speaker blocks in the network that stay as they are; see `SpeakerBlocks`.
    n_tuned_blocks : int, default=0
        Speaker blocks above them that learn.
    widths : sequence of int, default=(32, 64, 128, 256)
        Channels of each speaker block.
    depths : sequence of int, default=(3, 4, 6, 3)
        Residual blocks within each speaker block.
    se_ratio : int or None, default=8
        Squeeze-excitation of the sentiment blocks.
    srext_se_ratio : int or None, default=8
        Squeeze-excitation of the speaker blocks; None for WeSpeaker's weights.
    freeze_batch_norm : bool, default=False
        Keep batch normalisation of the speaker blocks in eval mode.
    decoder : {"cgd", "stats", "attentive"}, default="cgd"
        Kind of the decoders: `CGDDecoder`, `StatisticsDecoder` or `AttentiveDecoder`.
    flatten_frequency : bool, default=False
        Pool over time only and flatten the frequency axis; of ``decoder="cgd"``.
    hidden_size : int, default=128
        Values of the descriptor; of the other decoders.
    dropout : float, default=0.0
        Dropout probability before the heads, and of the statistics that the other decoders pool.
    embedding_size : int, default=0
        Values of the speaker embedding (SpE) that comes with each utterance; 0 for none.
    spe_size : int, default=512
        Values it is projected to before it joins the output of every decoder.

    Attributes
    ----------
    srext : SpeakerBlocks or None
        None when the network has no speaker blocks.
    stext : SentimentBlocks
        Sentiment blocks.
    decoders : ModuleDict
        One per head.
    spe : Linear or None
        Projection of the speaker embedding.
    heads : ModuleDict
        The heads, by name.

    Raises
    ------
    ValueError
        If there is no head, speaker blocks are to see maps, or the name of a part is unknown.

    See Also
    --------
    SpeakerBlocks : Its first part.
    SentimentBlocks : Its second part.
    CGDDecoder : Its third part.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SentimentNetwork
    >>> net = SentimentNetwork(n_frozen_blocks=1, n_tuned_blocks=1)
    >>> outputs = net(torch.rand(2, 30, 80), torch.tensor([20, 30]))
    >>> {name: tuple(output.shape) for name, output in outputs.items()}
    {'regression': (2,), 'ordinal': (2, 6)}
    >>> net = SentimentNetwork(64, 40, heads=["regression"])
    >>> net(torch.rand(2, 15, 64, 40), torch.tensor([10, 15]))["regression"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        in_channels: int = 1,
        in_frequencies: int = 80,
        n_levels: int = 7,
        *,
        heads: Sequence[str] = ("regression", "ordinal"),
        ordinal: str = "coral",
        stext: Stages = 16,
        stext_init: str | None = None,
        n_frozen_blocks: int = 0,
        n_tuned_blocks: int = 0,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (3, 4, 6, 3),
        se_ratio: int | None = 8,
        srext_se_ratio: int | None = 8,
        freeze_batch_norm: bool = False,
        decoder: str = "cgd",
        flatten_frequency: bool = False,
        hidden_size: int = 128,
        dropout: float = 0.0,
        embedding_size: int = 0,
        spe_size: int = 512,
    ) -> None:
        super().__init__(in_channels, in_frequencies)
        if decoder not in DECODERS:
            raise ValueError(f"decoder must be one of {list(DECODERS)}, got {decoder!r}.")
        if stext_init not in (None, "speaker"):
            raise ValueError(f"stext_init must be None or 'speaker', got {stext_init!r}.")
        n_blocks = n_frozen_blocks + n_tuned_blocks
        channels, frequencies = in_channels, in_frequencies
        self.srext: SpeakerBlocks | None = None
        if n_blocks:
            if in_channels != 1:
                raise ValueError(
                    "Speaker blocks in the network take log-mel frames (in_channels=1), not "
                    f"maps of {in_channels} channels: leave n_frozen_blocks and n_tuned_blocks "
                    "at 0 for maps."
                )
            self.srext = SpeakerBlocks(
                n_blocks,
                n_mels=in_frequencies,
                widths=widths,
                depths=depths,
                se_ratio=srext_se_ratio,
                n_frozen_blocks=n_frozen_blocks,
                freeze_batch_norm=freeze_batch_norm,
            )
            channels, frequencies = self.srext.out_channels, self.srext.out_frequencies
        self.stext = SentimentBlocks(
            channels, frequencies, stext, se_ratio, freeze_batch_norm=stext_init is not None
        )
        channels, frequencies = self.stext.out_channels, self.stext.out_frequencies
        if decoder == "cgd":
            make = partial(DECODERS[decoder], channels, frequencies if flatten_frequency else None)
        else:
            make = partial(DECODERS[decoder], channels, frequencies, hidden_size, dropout)
        self._add_heads(
            make,
            heads,
            ordinal,
            n_levels,
            dropout=dropout,
            embedding_size=embedding_size,
            spe_size=spe_size,
        )
        # Convolutions on the CPU are up to a third faster on channels-last maps. Maps of a single
        # channel, such as frames, have no such order: that of the weights decides.
        self.to(memory_format=torch.channels_last)

    def _encode(self, maps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if self.srext is not None:
            maps, lengths = self.srext(maps.squeeze(2), lengths)
        else:
            maps = zero_padding(self._in_layout(maps), lengths)
        return self.stext(maps, lengths)

    def _in_layout(self, maps: Tensor) -> Tensor:
        """Turn (B, T, C, F) into (B, C, F, T) as the first convolutions compute with it."""
        # As the weights are. Two convolutions take these maps, and autocast would convert them for
        # each.
        device, dtype = maps.device.type, next(self.parameters()).dtype
        maps = maps.permute(0, 2, 3, 1).to(dtype, memory_format=torch.channels_last)
        low = torch.is_autocast_enabled(device)
        return maps.to(torch.get_autocast_dtype(device)) if low else maps
