"""Sentiment network over the frames of a large speech encoder."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sklearn_speechsent.nn.base import HeadedNetwork
from sklearn_speechsent.nn.decoders import AttentiveDecoder
from sklearn_speechsent.nn.masking import frame_mask, zero_padding


class _ValueStatistics(nn.BatchNorm1d):
    """Mean and deviation of values: of the valid positions of a batch in training, else averages.

    They are what batch normalisation subtracts and divides by; whoever mixes values afterwards need
    not write all of them out.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_values: int) -> None:
        super().__init__(n_values, affine=False)
        self.momentum: float

    @torch.no_grad()
    def of(self, maps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute means and deviations of shape (C * F,) for maps (B, T, C, F)."""
        mean, variance = self.running_mean, self.running_var
        if self.training and lengths.sum() > 1:
            valid = maps[frame_mask(lengths, maps.shape[1])].flatten(1)
            variance, mean = torch.var_mean(valid, 0)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return mean, (variance + self.eps).sqrt()


class EncoderNetwork(HeadedNetwork):
    """Sentiment intensity and level of utterances from layers of a frozen speech encoder.

    Layers are mixed with weights that are learned [1]_ and projected; each head has an attentive
    statistics pooling [2]_ of its own. Before they are mixed, each value of each layer is
    standardised with its mean and deviation over the training data: a few values of a large
    encoder are hundreds of times as large as the others, and deeper layers larger than lower
    ones, so that weights would not compare.

    Parameters
    ----------
    in_channels : int, default=1
        Layers of the encoder.
    in_frequencies : int, default=512
        Values of a layer (its width).
    n_levels : int, default=7
        Levels of the ordinal head.
    heads : sequence of {"regression", "ordinal"}, default=("regression", "ordinal")
        Heads to build, each with its own decoder.
    ordinal : {"coral", "corn", "condor", "clm", "ce", "sord"}, default="coral"
        Kind of the ordinal head.
    hidden_size : int, default=128
        Values that a position is projected to, and of the vector of an utterance.
    attention_size : int, default=64
        Hidden units of the attention.
    dropout : float, default=0.3
        Dropout probability of the pooled statistics, and before the heads.
    embedding_size : int, default=0
        Values of the speaker embedding (SpE) that comes with each utterance; 0 for none.
    spe_size : int, default=128
        Values it is projected to before it joins the output of every decoder.

    Attributes
    ----------
    bn : BatchNorm1d
        Means and deviations of the values of all layers.
    layer_logits : Parameter of shape (in_channels,)
        Whose softmax is the weights.
    projection : Sequential
        Linear layer and ReLU, for each position.
    decoders : ModuleDict
        One attentive decoder per head.
    spe : Linear or None
        Projection of the speaker embedding.
    heads : ModuleDict
        The heads, by name.

    Raises
    ------
    ValueError
        If there is no head, or an unknown one.

    See Also
    --------
    SentimentNetwork : Residual blocks over mel frames or maps of speaker blocks.

    References
    ----------
    .. [1] S.-w. Yang et al., "SUPERB: speech processing universal performance benchmark",
       Interspeech 2021.
    .. [2] K. Okabe, T. Koshinaka and K. Shinoda, "Attentive statistics pooling for deep speaker
       embedding", Interspeech 2018.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import EncoderNetwork
    >>> net = EncoderNetwork(3, 512)
    >>> outputs = net(torch.rand(2, 30, 3, 512), torch.tensor([20, 30]))
    >>> {name: tuple(output.shape) for name, output in outputs.items()}
    {'regression': (2,), 'ordinal': (2, 6)}
    >>> net.layer_weights.detach()
    tensor([0.3333, 0.3333, 0.3333])
    """

    def __init__(
        self,
        in_channels: int = 1,
        in_frequencies: int = 512,
        n_levels: int = 7,
        *,
        heads: Sequence[str] = ("regression", "ordinal"),
        ordinal: str = "coral",
        hidden_size: int = 128,
        attention_size: int = 64,
        dropout: float = 0.3,
        embedding_size: int = 0,
        spe_size: int = 128,
    ) -> None:
        super().__init__(in_channels, in_frequencies)
        self.bn = _ValueStatistics(in_channels * in_frequencies)
        self.layer_logits = nn.Parameter(torch.zeros(in_channels))
        self.projection = nn.Sequential(nn.Linear(in_frequencies, hidden_size), nn.ReLU())
        self._add_heads(
            partial(
                AttentiveDecoder,
                hidden_size,
                hidden_size=hidden_size,
                dropout=dropout,
                attention_size=attention_size,
            ),
            heads,
            ordinal,
            n_levels,
            dropout=dropout,
            embedding_size=embedding_size,
            spe_size=spe_size,
        )

    @property
    def layer_weights(self) -> Tensor:
        """Weights of the layers, shape (in_channels,), with a sum of 1."""
        return self.layer_logits.softmax(0)

    def _encode(self, maps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        maps = zero_padding(maps.permute(0, 2, 3, 1), lengths).permute(0, 3, 1, 2)
        maps = maps.to(self.layer_logits.dtype)
        mean, deviation = (values.view(maps.shape[2:]) for values in self.bn.of(maps, lengths))
        # Σ w (x - mean) / deviation, layer by layer, so that nothing of the size of all is stored.
        scale = self.layer_weights[:, None] / deviation
        mixed = -(mean * scale).sum(0)
        for layer in range(self.in_channels):
            mixed = torch.addcmul(mixed, maps[:, :, layer], scale[layer])
        return self.projection(mixed).transpose(1, 2)[:, :, None], lengths
