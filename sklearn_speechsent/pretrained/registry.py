"""Registry of pre-trained networks: their files, frame settings, architectures and licences."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sklearn_speechsent.utils.files import file_sha256, get_data_home

#: Folder of the installed package.
_PACKAGE = Path(__file__).resolve().parents[1]
#: Kinds of networks.
SPEAKER, VAD, ENCODER = "speaker network", "voice activity detector", "speech encoder"


@dataclass(frozen=True)
class RegisteredWeights:
    """One entry of the registry.

    Parameters
    ----------
    name : str
    path : str
        Place below the data home, or below this package if the file ships with it. The suffix
        tells the format of the file: ``.onnx``, ``.pt``, ``.pth`` or ``.safetensors``.
    sha256 : str or None
        Checksum of the file; None if no copy was available to compute it from.
    licence, attribution : str
    frame_settings : mapping
        How the frames were made that the network was trained on, as
        ``UtteranceFrames.frame_settings``.
    architecture : mapping
        Arguments of the network, a :class:`~sklearn_speechsent.nn.SpeakerResNet`, a
        :class:`~sklearn_speechsent.nn.SpeechUNet` or a
        :class:`~sklearn_speechsent.nn.WhisperEncoder`.
    kind : str, default="speaker network"
        That, ``"voice activity detector"`` or ``"speech encoder"``.
    urls : tuple of str, default=()
        Public addresses of this very file, tried one after the other.
    whole_sha256 : str, optional
        Checksum of what the addresses give where that is a larger file, of which
        :func:`fetch_weights` keeps a part: the encoder of Whisper without its decoder.
    shipped : bool, default=False
        Whether the file is part of the installed package, so that nothing is ever downloaded.
    former : bool, default=False
        Whether it was so in an earlier version of the package: now it is in the repository, at
        the place that it has below the data home, and is found in a checkout or there.
    """

    name: str
    path: str
    sha256: str | None
    licence: str
    attribution: str
    frame_settings: Mapping[str, Any] = field(hash=False)
    architecture: Mapping[str, Any] = field(hash=False)
    kind: str = SPEAKER
    urls: tuple[str, ...] = ()
    whole_sha256: str | None = None
    shipped: bool = False
    former: bool = False


#: Frames of WeSpeaker's recipes: Kaldi's filter bank, a Hamming window, mean normalisation.
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
    "embedding_size": 256,
}

_SERESNET: Mapping[str, Any] = {
    **_RESNET34,
    "widths": (32, 64, 128, 208),
    "depths": (1, 3, 4, 2),
    "se_ratio": 8,
}

#: Networks that ship with the package, and the defaults wherever one is needed.
_SHIPPED_SPEAKER, _SHIPPED_VAD = "speechsent-seresnet", "speechsent-unet-vad"

_WESPEAKER = (
    "WeSpeaker (H. Wang et al., ICASSP 2023), ResNet34 trained on VoxCeleb2 dev "
    "(J. S. Chung et al., Interspeech 2018)"
)


def _whisper(
    size: str, width: int, n_blocks: int, sha256: str | None, whole_sha256: str
) -> RegisteredWeights:
    """Encoder of a multilingual Whisper."""
    return RegisteredWeights(
        name=f"whisper-{size}",
        path=f"models/whisper-{size}-encoder.safetensors",
        sha256=sha256,
        licence="MIT",
        attribution=f"OpenAI, Whisper {size} (A. Radford et al., ICML 2023)",
        frame_settings={"sample_rate": 16000, "n_mels": 80},
        architecture={"n_mels": 80, "width": width, "n_blocks": n_blocks, "n_positions": 1500},
        kind=ENCODER,
        urls=(f"https://openaipublic.azureedge.net/main/whisper/models/{whole_sha256}/{size}.pt",),
        whole_sha256=whole_sha256,
    )


_SPEAKER = RegisteredWeights(
    name=_SHIPPED_SPEAKER,
    path=f"pretrained/weights/{_SHIPPED_SPEAKER}.safetensors",
    sha256="0f46c6b225de79fdd2b1ae560e5985f0803ade0e4cd1cff3ef932935475540e6",
    licence="CC BY 4.0",
    attribution=(
        "the developers of sklearn-speechsent, by their recipe "
        "recipes/train_speaker.py: trained on LibriSpeech train-clean-100 "
        "(V. Panayotov et al., ICASSP 2015, CC BY 4.0), distilled from WeSpeaker's "
        "ResNet34 (H. Wang et al., ICASSP 2023, CC BY 4.0)"
    ),
    frame_settings=WESPEAKER_FRAME_SETTINGS,
    architecture=_SERESNET,
    shipped=True,
)

_VAD = RegisteredWeights(
    name=_SHIPPED_VAD,
    path=f"pretrained/weights/{_SHIPPED_VAD}.safetensors",
    sha256="0da6da65e5a491bae1bee80ce0d8aaa215e2dc51d55f04d980876f7b8b21da1f",
    licence="CC BY 4.0",
    attribution=(
        "the developers of sklearn-speechsent, by their recipes recipes/*_vad.py: "
        "trained on LibriSpeech train-clean-100 (V. Panayotov et al., ICASSP 2015, "
        "CC BY 4.0) with labels by silero-vad 6.2.3 (Silero Team, MIT)"
    ),
    frame_settings={**WESPEAKER_FRAME_SETTINGS, "cmn": None},
    architecture={"n_mels": 80, "widths": (48, 64, 72, 88, 104, 112)},
    kind=VAD,
    shipped=True,
)


#: Weights by name.
REGISTRY = {
    entry.name: entry
    for entry in [
        _SPEAKER,
        replace(
            _SPEAKER,
            name=f"{_SHIPPED_SPEAKER}-1",
            path=f"models/weights/{_SHIPPED_SPEAKER}-1.safetensors",
            sha256="9e7fc9f0c21986360e9f06de35cd679b9f32d4f20c2989ffb581987a3ad43ad6",
            architecture={**_SERESNET, "widths": (32, 64, 128, 256), "depths": (2, 2, 2, 2)},
            shipped=False,
            former=True,
        ),
        _VAD,
        replace(
            _VAD,
            name=f"{_SHIPPED_VAD}-1",
            path=f"models/weights/{_SHIPPED_VAD}-1.safetensors",
            sha256="f22315c6d3699c0dbac2a31f73cffa913538a17c999e27d30ff95c6a6b77347d",
            architecture={"n_mels": 80, "widths": (32, 48, 64, 96, 128, 128)},
            shipped=False,
            former=True,
        ),
        RegisteredWeights(
            name="wespeaker-voxceleb-resnet34",
            path="models/wespeaker-voxceleb-resnet34.onnx",
            sha256="5ef208a9da1453335308a6b6f4e6dfbd7e183a38b604de0a57664f45d257fe94",
            licence="CC BY 4.0",
            attribution=_WESPEAKER,
            frame_settings=WESPEAKER_FRAME_SETTINGS,
            architecture=_RESNET34,
            # WeSpeaker's own copy on the Hugging Face hub lacks the metadata that k2-fsa added,
            # so that its checksum is another one: it is not listed here.
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
                "CC BY 4.0 according to WeSpeaker's docs/pretrained.md, which covers torch and "
                "ONNX files alike; Apache 2.0 according to the model card of the file"
            ),
            attribution=_WESPEAKER,
            frame_settings=WESPEAKER_FRAME_SETTINGS,
            architecture=_RESNET34,
            urls=(
                "https://huggingface.co/Wespeaker/wespeaker-voxceleb-resnet34/resolve/main/"
                "avg_model.pt",
            ),
        ),
        _whisper(
            "tiny",
            384,
            4,
            None,
            "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        ),
        _whisper(
            "base",
            512,
            6,
            "7f2adfb1c667fe685346ad3c53780c5027534d535850d6d83a103b5295978543",
            "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        ),
        _whisper(
            "small",
            768,
            12,
            None,
            "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
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
        raise _unknown(name, sorted(REGISTRY)) from None


def weights_path(entry: RegisteredWeights) -> Path:
    """Path at which the file is expected on this machine, whether or not it is there.

    Parameters
    ----------
    entry : RegisteredWeights

    Returns
    -------
    pathlib.Path
    """
    in_checkout = _PACKAGE.parent / entry.path
    if entry.former and in_checkout.is_file():
        return in_checkout
    return (_PACKAGE if entry.shipped else get_data_home()) / entry.path


def whole_path(entry: RegisteredWeights) -> Path:
    """Path of the larger file that an entry with ``whole_sha256`` is taken from."""
    return weights_path(entry).with_name(f"{entry.name}.pt")


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


def find_file(
    source: Any, kind: str, suffixes: tuple[str, ...]
) -> tuple[Path, RegisteredWeights | None]:
    """Existing file of weights, by name or path. Nothing is downloaded.

    Parameters
    ----------
    source : str or path-like
        Name in the registry, or a path.
    kind : str
        What the file must hold.
    suffixes : tuple of str
        Those that a path may have.

    Returns
    -------
    path : Path
    entry : RegisteredWeights or None
        None for a path.

    Raises
    ------
    FileNotFoundError
        If the file is not there; the message says how to get it.
    ValueError
        If it is neither a name of this kind nor a path with one of the suffixes, or a registered
        file has another checksum.
    """
    known = sorted(name for name, entry in REGISTRY.items() if entry.kind == kind)
    if isinstance(source, str) and source in REGISTRY:
        entry = REGISTRY[source]
        if entry.kind != kind:
            raise ValueError(
                f"{source!r} is a {entry.kind} and not a {kind}; known: {', '.join(known)}."
            )
        path = find_registered(entry)
        remedy = f"Replace it: delete it and call fetch_weights({source!r})."
        if not entry.urls:
            remedy = f"Please {by_hand(entry)}."
        file_sha256(path, entry.sha256, remedy)
        return path, entry
    if not isinstance(source, (str, os.PathLike)) or (
        Path(source).suffix.lower() not in suffixes  # also refuses the empty string
    ):
        raise _unknown(source, known, kind, suffixes)
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{path} {problem}. Pass the path of a file of weights, or the name of a registered "
            f"{kind}: {', '.join(known)}."
        )
    return path, None


def find_registered(entry: RegisteredWeights) -> Path:
    """Existing file of an entry; an error that says how to get it. Nothing is downloaded."""
    path = weights_path(entry)
    if path.is_file():
        return path
    remedy = by_hand(entry)
    if entry.shipped:
        raise FileNotFoundError(
            f"The weights {entry.name!r} ship with sklearn-speechsent but are not at {path}: "
            f"the installation is incomplete. Please {remedy}."
        )
    if entry.urls:
        checksum = "" if entry.sha256 or entry.whole_sha256 else ", sha256=..."
        remedy = (
            "Download it with sklearn_speechsent.pretrained.fetch_weights("
            f"{entry.name!r}{checksum}), or {remedy}"
        )
    else:
        remedy = remedy[0].upper() + remedy[1:]
    shipped = ""
    if entry.kind != VAD:
        by_weights = f'weights="{_SHIPPED_SPEAKER}", or ' if entry.kind == SPEAKER else ""
        shipped = (
            f" The network that ships needs no download: {by_weights}"
            'make_sentiment_pipeline("small").'
        )
    raise FileNotFoundError(
        f"The weights {entry.name!r} are expected at {path}. {remedy}.{shipped}"
    )


def by_hand(entry: RegisteredWeights, sha256: str | None = None) -> str:
    """Clause of error messages that says how to get the file without a download."""
    if entry.shipped:
        return "reinstall the package sklearn-speechsent, which the file is part of"
    path, checksum, then = weights_path(entry), entry.sha256 or sha256, ""
    if entry.former:
        return f"copy {entry.path} of the package's repository to {path}"
    if entry.whole_sha256 is not None:
        path, checksum, then = whole_path(entry), entry.whole_sha256, " and call fetch_weights"
    stated = f"with sha256 {checksum}" if checksum else "(its checksum is not known)"
    return (
        f"put the file {stated} at {path} ({entry.attribution}; licence: {entry.licence}){then}, "
        f"or point the environment variable SPEECHSENT_DATA to the folder that holds {entry.path}"
    )


def _unknown(
    source: Any, known: list[str], kind: str = "network", suffixes: tuple[str, ...] = ()
) -> ValueError:
    message = f"There are no pre-trained weights named {source!r}; known: {', '.join(known)}."
    if suffixes:
        listed = " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))
        message += f" To read a {kind} from a file, pass its path with the suffix {listed}."
    if kind == ENCODER:
        message += " A model on the Hugging Face hub is named owner/name."
    return ValueError(message)
