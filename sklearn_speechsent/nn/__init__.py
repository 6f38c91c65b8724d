"""Torch modules of the networks, whose results do not depend on padding."""

from sklearn_speechsent.nn.augment import SpecAugment
from sklearn_speechsent.nn.blocks import MaskedBatchNorm2d, ResidualBlock, SqueezeExcitation
from sklearn_speechsent.nn.decoders import (
    DECODERS,
    AttentiveDecoder,
    CGDDecoder,
    StatisticsDecoder,
)
from sklearn_speechsent.nn.encoder_network import EncoderNetwork
from sklearn_speechsent.nn.folding import folded
from sklearn_speechsent.nn.heads import (
    ORDINAL_HEADS,
    CondorHead,
    CoralHead,
    CornHead,
    CumulativeLinkHead,
    OrdinalHead,
    RegressionHead,
    SoftLabelHead,
    SoftmaxHead,
)
from sklearn_speechsent.nn.losses import (
    SummedLoss,
    clm_loss,
    condor_loss,
    coral_loss,
    corn_loss,
    cross_entropy,
    sord_loss,
)
from sklearn_speechsent.nn.masking import frame_mask, strided_lengths
from sklearn_speechsent.nn.network import SentimentNetwork
from sklearn_speechsent.nn.pieces import pieces
from sklearn_speechsent.nn.pooling import (
    AttentiveStatisticsPooling,
    GeM,
    average_bands,
    masked_mean,
    statistics_pooling,
)
from sklearn_speechsent.nn.probabilities import class_probabilities, cumulative_probabilities
from sklearn_speechsent.nn.resnet import SpeakerBlocks, SpeakerResNet
from sklearn_speechsent.nn.stext import SentimentBlocks
from sklearn_speechsent.nn.unet import SpeechUNet
from sklearn_speechsent.nn.verification import AAMSoftmax, SpeakerClassifierNetwork
from sklearn_speechsent.nn.whisper import WhisperEncoder

__all__ = [
    "DECODERS",
    "ORDINAL_HEADS",
    "AAMSoftmax",
    "AttentiveDecoder",
    "AttentiveStatisticsPooling",
    "CGDDecoder",
    "CondorHead",
    "CoralHead",
    "CornHead",
    "CumulativeLinkHead",
    "EncoderNetwork",
    "GeM",
    "MaskedBatchNorm2d",
    "OrdinalHead",
    "RegressionHead",
    "ResidualBlock",
    "SentimentBlocks",
    "SentimentNetwork",
    "SoftLabelHead",
    "SoftmaxHead",
    "SpeakerBlocks",
    "SpeakerClassifierNetwork",
    "SpeakerResNet",
    "SpecAugment",
    "SpeechUNet",
    "SqueezeExcitation",
    "StatisticsDecoder",
    "SummedLoss",
    "WhisperEncoder",
    "average_bands",
    "class_probabilities",
    "clm_loss",
    "condor_loss",
    "coral_loss",
    "corn_loss",
    "cross_entropy",
    "cumulative_probabilities",
    "folded",
    "frame_mask",
    "masked_mean",
    "pieces",
    "sord_loss",
    "statistics_pooling",
    "strided_lengths",
]
