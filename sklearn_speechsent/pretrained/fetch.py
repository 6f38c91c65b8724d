"""Downloads of registered weights into the data home."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sklearn_speechsent.pretrained.registry import (
    RegisteredWeights,
    by_hand,
    find_registered,
    get_weights,
    weights_path,
    whole_path,
)
from sklearn_speechsent.utils.download import download
from sklearn_speechsent.utils.files import atomic_write, file_sha256


def fetch_weights(name: str, *, sha256: str | None = None, progress: bool = False) -> Path:
    """Download pre-trained weights into the data home, unless they are there already.

    Weights that ship with the package are never downloaded. Nothing else in this package downloads
    anything. The file appears under its name only once it is complete and its checksum is right.
    If the connection fails, what has arrived stays next to it as ``.part``, from which the next
    attempt or call resumes if the server allows. Of Whisper's files only the encoder stays.

    Parameters
    ----------
    name : str
        Name in the registry.
    sha256 : str, optional
        Checksum the file must have, in hexadecimal. Needed where the registry has none.
    progress : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    pathlib.Path
        Path of the file. If it was there already, it has only been verified, without network.

    Raises
    ------
    ValueError
        If the name is unknown, no checksum is known, ``sha256`` contradicts the registry's, or
        the file that is there or the downloaded one has another checksum.
    FileNotFoundError
        If no public address of the file is known, or weights that ship with the package are
        missing from it; the message says what to do.
    ConnectionError
        If no address could be reached; the message says where to put the file by hand.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_weights : Read the file.

    Examples
    --------
    >>> from sklearn_speechsent.pretrained import fetch_weights
    >>> fetch_weights("speechsent-seresnet").name  # ships with the package
    'speechsent-seresnet.safetensors'
    >>> path = fetch_weights("wespeaker-voxceleb-resnet34", progress=True)  # doctest: +SKIP
    """
    entry = get_weights(name)
    expected = _expected(entry, sha256)
    if entry.shipped:
        path = find_registered(entry)
        file_sha256(path, expected, f"Please {by_hand(entry)}.")
        return path
    path = weights_path(entry)
    if path.is_file():
        file_sha256(path, expected, "Delete it and call fetch_weights again.")
        return path
    if expected is None and entry.whole_sha256 is None:
        raise ValueError(
            f"No checksum is known for {name!r}, and a file of tensors from the network is not "
            f"trusted without one. Look it up where you trust it ({', '.join(entry.urls)}) and "
            f"call fetch_weights({name!r}, sha256=...), or {by_hand(entry)}."
        )
    if entry.whole_sha256 is not None:
        _keep_encoder(entry, progress)
        return path
    if not entry.urls:
        raise FileNotFoundError(
            f"No public address is known for {name!r}. Please {by_hand(entry, expected)}."
        )
    download(
        entry.urls,
        path,
        f"sha256:{expected}",
        name=name,
        by_hand=by_hand(entry, expected),
        progress=progress,
    )
    return path


def _keep_encoder(entry: RegisteredWeights, progress: bool) -> None:
    """Write the encoder out of a whole Whisper, which is downloaded unless it is there."""
    from sklearn_speechsent.pretrained.encoder import encoder_file  # imports torch

    whole, checksum = whole_path(entry), str(entry.whole_sha256)
    given = whole.is_file()
    if given:
        file_sha256(whole, checksum, "Delete it and call fetch_weights again.")
    else:
        download(
            entry.urls,
            whole,
            f"sha256:{checksum}",
            name=entry.name,
            by_hand=by_hand(entry),
            progress=progress,
        )
    try:
        content = encoder_file(whole, entry)
    finally:
        if not given:
            whole.unlink()
    if entry.sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise ValueError(
            f"The encoder of {entry.name!r} is not the registered one, with sha256 "
            f"{entry.sha256}. Please report this, with the version of safetensors."
        )
    atomic_write(weights_path(entry), content)


def _expected(entry: RegisteredWeights, sha256: str | None) -> str | None:
    if sha256 is None:
        return entry.sha256
    given = str(sha256).strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", given):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {sha256!r}.")
    if entry.sha256 not in (None, given):
        raise ValueError(
            f"sha256={given} is not the one of {entry.name!r}, {entry.sha256}, without which "
            "the file would not load. Leave sha256 out."
        )
    return given
