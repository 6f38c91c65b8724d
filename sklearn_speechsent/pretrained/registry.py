"""Pre-trained speaker networks by name: where they lie, what they are, what they expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sklearn_speechsent.utils.files import get_data_home

#: Folder of the installed package.
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class RegisteredWeights:
    """One entry of the registry.

    Parameters
    ----------
    name : str
    path : str
        Place below the data home, or below this package if the file ships with it. The suffix
        tells the layout of the file: ``.onnx``, ``.pt``, ``.pth`` or ``.safetensors``.
    sha256 : str or None
        Checksum of the file; None where no copy was at hand to compute it from.
    licence, attribution : str
    frame_settings : mapping
        Settings of the frames the network was trained on, in the words of
        ``UtteranceFrames.frame_settings``.
    architecture : mapping
        Arguments that :class:`~sklearn_speechsent.nn.SpeakerBlocks` and
        :class:`~sklearn_speechsent.nn.SpeakerResNet` share: ``n_mels``, ``widths``, ``depths`` and
        ``se_ratio``.
    embedding_size : int
        Values of an embedding.
    urls : tuple of str, default=()
        Public addresses of this very file, tried in turn.
    shipped : bool, default=False
        Whether the file is part of the installed package, so that nothing is ever downloaded.
    """

    name: str
    path: str
    sha256: str | None
    licence: str
    attribution: str
    frame_settings: Mapping[str, Any] = field(hash=False)
    architecture: Mapping[str, Any] = field(hash=False)
    embedding_size: int
    urls: tuple[str, ...] = ()
    shipped: bool = False


#: What WeSpeaker's recipes train on: Kaldi's filter bank, a Hamming window, mean normalisation.
WESPEAKER_FRAME_SETTINGS: Mapping[str, Any] = {
    "sample_rate": 16000,
    "n_mels": 80,
    "frame_length": 0.025,
    "frame_shift": 0.01,
    "window": "hamming",
    "low_freq": 20.0,
    "high_freq": 8000.0,
    "preemphasis": 0.97,
    "scale": 32768.0,
    "cmn": "utterance",
}

_RESNET34: Mapping[str, Any] = {
    "n_mels": 80,
    "widths": (32, 64, 128, 256),
    "depths": (3, 4, 6, 3),
    "se_ratio": None,
}

_SERESNET: Mapping[str, Any] = {**_RESNET34, "depths": (2, 2, 2, 2), "se_ratio": 8}

#: Name of the network that ships with the package, and the default wherever one is needed.
SHIPPED = "speechsent-seresnet"

_WESPEAKER = (
    "WeSpeaker (H. Wang et al., ICASSP 2023), ResNet34 trained on VoxCeleb2 dev "
    "(J. S. Chung et al., Interspeech 2018)"
)

REGISTRY = {
    weights.name: weights
    for weights in [
        RegisteredWeights(
            name=SHIPPED,
            path=f"pretrained/weights/{SHIPPED}.safetensors",
            sha256="9e7fc9f0c21986360e9f06de35cd679b9f32d4f20c2989ffb581987a3ad43ad6",
            licence="CC BY 4.0",
            attribution=(
                "the developers of sklearn-speechsent, by their recipe "
                "benchmarks/train_speaker.py: trained on LibriSpeech train-clean-100 "
                "(V. Panayotov et al., ICASSP 2015, CC BY 4.0), distilled from WeSpeaker's "
                "ResNet34 (H. Wang et al., ICASSP 2023, CC BY 4.0)"
            ),
            frame_settings=WESPEAKER_FRAME_SETTINGS,
            architecture=_SERESNET,
            embedding_size=256,
            shipped=True,
        ),
        RegisteredWeights(
            name="wespeaker-voxceleb-resnet34",
            path="models/wespeaker-voxceleb-resnet34.onnx",
            sha256="5ef208a9da1453335308a6b6f4e6dfbd7e183a38b604de0a57664f45d257fe94",
            licence="CC BY 4.0",
            attribution=_WESPEAKER,
            frame_settings=WESPEAKER_FRAME_SETTINGS,
            architecture=_RESNET34,
            embedding_size=256,
            # WeSpeaker's own copy on the Hugging Face hub lacks the metadata that k2-fsa added,
            # and so has another checksum: it cannot stand here.
            urls=(
                "https://github.com/k2-fsa/sherpa-onnx/releases/download/"
                "speaker-recongition-models/wespeaker_en_voxceleb_resnet34.onnx",
            ),
        ),
        RegisteredWeights(
            name="wespeaker-voxceleb-resnet34-pt",
            path="models/wespeaker-voxceleb-resnet34.pt",
            sha256=None,
            licence=(
                "CC BY 4.0 according to WeSpeaker's docs/pretrained.md, which covers checkpoints "
                "and ONNX files alike; Apache 2.0 according to the model card of the file"
            ),
            attribution=_WESPEAKER,
            frame_settings=WESPEAKER_FRAME_SETTINGS,
            architecture=_RESNET34,
            embedding_size=256,
            urls=(
                "https://huggingface.co/Wespeaker/wespeaker-voxceleb-resnet34/resolve/main/"
                "avg_model.pt",
            ),
        ),
    ]
}


def get_weights(name: str) -> RegisteredWeights:
    """Entry of the registry.

    Parameters
    ----------
    name : str

    Returns
    -------
    RegisteredWeights

    Raises
    ------
    ValueError
        If there is no such entry; the message lists the names.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import get_weights
    >>> get_weights("wespeaker-voxceleb-resnet34").licence
    'CC BY 4.0'
    """
    try:
        return REGISTRY[name]
    except (KeyError, TypeError):
        raise ValueError(
            f"There are no pre-trained weights named {name!r}; known: {sorted(REGISTRY)}."
        ) from None


def weights_path(weights: RegisteredWeights) -> Path:
    """Where the file is expected on this machine, whether or not it is there.

    Parameters
    ----------
    weights : RegisteredWeights

    Returns
    -------
    pathlib.Path
    """
    return (_PACKAGE if weights.shipped else get_data_home()) / weights.path


def has_weights(name: str) -> bool:
    """Whether the file of pre-trained weights is on this machine.

    Parameters
    ----------
    name : str
        Name in the registry.

    Returns
    -------
    bool
        True if it lies in the data home, or within the package if it ships with it.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import has_weights
    >>> has_weights("speechsent-seresnet")
    True
    """
    return weights_path(get_weights(name)).is_file()


def by_hand(weights: RegisteredWeights, sha256: str | None = None) -> str:
    """Clause of error messages that says how to come by the file without a download."""
    if weights.shipped:
        return "reinstall the package sklearn-speechsent, which the file is part of"
    checksum = weights.sha256 or sha256
    stated = f"with sha256 {checksum}" if checksum else "(its checksum is not known)"
    return (
        f"put the file {stated} at {weights_path(weights)} ({weights.attribution}; licence: "
        f"{weights.licence}), or point the environment variable SPEECHSENT_DATA to the folder "
        f"that holds {weights.path}"
    )


def find_weights(weights: RegisteredWeights) -> Path:
    """Path of the file, which must be there: nothing is downloaded by who asks for it."""
    path = weights_path(weights)
    if path.is_file():
        return path
    remedy = by_hand(weights)
    if weights.shipped:
        raise FileNotFoundError(
            f"The weights {weights.name!r} ship with sklearn-speechsent but are not at {path}: "
            f"the installation is incomplete. Please {remedy}."
        )
    if weights.urls:
        checksum = "" if weights.sha256 else ", sha256=..."
        remedy = (
            "Download it with sklearn_speechsent.pretrained.fetch_weights("
            f"{weights.name!r}{checksum}), or {remedy}"
        )
    else:
        remedy = remedy[0].upper() + remedy[1:]
    raise FileNotFoundError(f"The weights {weights.name!r} are expected at {path}. {remedy}.")
