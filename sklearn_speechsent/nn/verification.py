"""Speaker classification for training: embedder and additive angular margin loss."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sklearn_speechsent.nn.resnet import SpeakerResNet


class AAMSoftmax(nn.Module):
    """Additive angular margin softmax over speakers (ArcFace).

    Each speaker has a direction; the angle between an embedding and its own speaker's direction
    must be smaller by `margin` than without the margin.

    Parameters
    ----------
    in_features : int
        Values of an embedding.
    n_speakers : int
        Speakers of the training data.
    margin : float, default=0.2
        Margin in radians.
    scale : float, default=32.0
        Factor of the cosines before the softmax.

    References
    ----------
    J. Deng, J. Guo, N. Xue and S. Zafeiriou, "ArcFace: additive angular margin loss for deep face
    recognition", CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import AAMSoftmax
    >>> head = AAMSoftmax(8, 3)
    >>> head.loss(torch.rand(2, 8), torch.tensor([0, 2])).shape
    torch.Size([2])
    """

    def __init__(
        self, in_features: int, n_speakers: int, margin: float = 0.2, scale: float = 32.0
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.directions = nn.Parameter(torch.empty(n_speakers, in_features))
        nn.init.xavier_uniform_(self.directions)

    def loss(self, embeddings: Tensor, speakers: Tensor) -> Tensor:
        """Cross-entropy with the margin.

        Parameters
        ----------
        embeddings : Tensor of shape (B, in_features)
            Of any length; only their directions count.
        speakers : Tensor of shape (B,), int64
            Index of each utterance's speaker.

        Returns
        -------
        Tensor of shape (B,)
        """
        # In float32: the arc's derivative is steep near a cosine of 1.
        cosines = F.linear(
            F.normalize(embeddings.float(), dim=1), F.normalize(self.directions.float(), dim=1)
        )
        own = cosines.gather(1, speakers[:, None])
        sine = (1.0 - own.square()).clamp_min(1e-7).sqrt()
        harder = own * math.cos(self.margin) - sine * math.sin(self.margin)
        # Beyond pi - margin the cosine would rise again: there a falling line replaces it.
        falls = own > math.cos(math.pi - self.margin)
        harder = torch.where(falls, harder, own - self.margin * math.sin(self.margin))
        logits = cosines.scatter(1, speakers[:, None], harder)
        return F.cross_entropy(self.scale * logits, speakers, reduction="none")


class SpeakerClassifierNetwork(nn.Module):
    """Speaker embedder with a classifier of the training speakers.

    Parameters
    ----------
    n_speakers : int, default=2
        Speakers of the training data.
    embedding_size : int, default=256
        Values of an embedding.
    n_mels : int, default=80
        Mel bins of a frame.
    widths : sequence of int, default=(32, 64, 128, 256)
        Channels of each block.
    depths : sequence of int, default=(3, 4, 6, 3)
        Residual blocks within each block.
    se_ratio : int or None, default=8
        Reduction of the squeeze-excitation; None leaves it out, as in WeSpeaker's ResNet34.
    margin, scale : float, default=0.2, 32.0
        See `AAMSoftmax`.

    Attributes
    ----------
    embedder : SpeakerResNet
        The part that is used after training.
    heads : ModuleDict
        ``"speaker"``: the AAM-softmax.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SpeakerClassifierNetwork
    >>> net = SpeakerClassifierNetwork(3, 16, widths=(4, 8), depths=(1, 1))
    >>> net(torch.rand(2, 9, 80), torch.tensor([3, 9]))["speaker"].shape
    torch.Size([2, 16])
    """

    def __init__(
        self,
        n_speakers: int = 2,
        embedding_size: int = 256,
        *,
        n_mels: int = 80,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (3, 4, 6, 3),
        se_ratio: int | None = 8,
        margin: float = 0.2,
        scale: float = 32.0,
    ) -> None:
        super().__init__()
        self.embedder = SpeakerResNet(
            embedding_size, n_mels=n_mels, widths=widths, depths=depths, se_ratio=se_ratio
        )
        self.heads = nn.ModuleDict(
            {"speaker": AAMSoftmax(embedding_size, n_speakers, margin, scale)}
        )
        self.to(memory_format=torch.channels_last)  # see SentimentNetwork

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Embed utterances.

        Parameters
        ----------
        x : Tensor of shape (B, T, n_mels)
            Log-mel frames of any numeric type; padding may hold anything.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance.

        Returns
        -------
        dict of str to Tensor
            ``"speaker"``: embeddings of shape (B, embedding_size), not normalised.
        """
        return {"speaker": self.embedder(x.to(next(self.parameters()).dtype), lengths)}
