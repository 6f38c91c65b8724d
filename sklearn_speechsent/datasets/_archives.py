"""Corpora from their official archives: verified, then unpacked completely or not at all."""

import errno
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from sklearn_speechsent.utils.download import check_checksum, download, writing_error

_DAY = 86400.0


@dataclass(frozen=True)
class Archive:
    """The official zip file of a corpus.

    Parameters
    ----------
    corpus : str
        Name for messages.
    file : str
        Name that the archive gets in the data home.
    urls : tuple of str
        Public addresses of this very file, tried one after the other.
    marker : str
        Folder directly below the corpus's own folder, by which the latter is found in the archive.
    n_files : int
        Recordings of the complete corpus that its loader takes.
    licence : str
        Terms of use.
    lookup : str
        Sentence that says where to look up a checksum.
    checksum : str, optional
        ``"sha256:..."`` or ``"md5:..."``; None if no copy was available to compute it from.
    size : int, optional
        Bytes of the file with that checksum.
    """

    corpus: str
    file: str
    urls: tuple[str, ...]
    marker: str
    n_files: int
    licence: str
    lookup: str
    checksum: str | None = None
    size: int | None = None


def fetch_archive(
    archive: Archive,
    folder: Path,
    *,
    count: Callable[[Path], int],
    checksum: str | None,
    progress: bool,
    keep_archive: bool,
) -> Path:
    """Download and unpack a corpus, unless it is there already.

    Parameters
    ----------
    archive : Archive
        What to download.
    folder : Path
        Where the corpus is expected. The archive lies next to it, maybe already.
    count : callable
        Number of the corpus's recordings in a folder.
    checksum : str or None
        Checksum that the archive must have, instead of ``archive.checksum``.
    progress : bool
        Whether to show a progress bar.
    keep_archive : bool
        Whether to keep the downloaded archive after unpacking. An archive that was there before
        stays in any case.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError
        If the folder holds anything but the complete corpus.
    ValueError
        If no checksum is known, the archive has another one, or holds something else.
    ConnectionError
        If no address could be reached.
    OSError
        If the archive or its contents cannot be written, or there is no room for them.
    """
    if folder.is_dir() and any(folder.iterdir()):
        n_there = count(folder)
        if n_there >= archive.n_files:
            return folder
        raise FileExistsError(
            f"{folder} is there already and is not overwritten, but it holds {n_there} of the "
            f"{archive.n_files} recordings of {archive.corpus}. Move it away and call again, or "
            "add the missing recordings by hand."
        )
    path = folder.with_name(archive.file)
    expected = checksum if checksum is not None else archive.checksum
    if expected is None:
        raise ValueError(
            f"No checksum is known for the archive of {archive.corpus}, {archive.file}, and "
            f"nothing from the network is trusted without one. {archive.lookup} Pass it as "
            "checksum='md5:...' or checksum='sha256:...'; or download the archive yourself from "
            f"{archive.urls[0]} and unpack it so that {folder / archive.marker} is there "
            f"(licence: {archive.licence})."
        )
    expected = check_checksum(expected)
    size = archive.size if expected == archive.checksum else None
    was_there = path.is_file()
    if was_there:
        _verify(path, expected)
    else:
        try:
            _check_room(folder, 2 * (size or 0))  # what has arrived is copied, then verified
        except OSError as exception:
            remedy = (
                "name another data home by data_home or the environment variable SPEECHSENT_DATA."
            )
            raise writing_error(exception, archive.corpus, folder, remedy) from None
        download(
            archive.urls,
            path,
            expected,
            size=size,
            name=archive.corpus,
            by_hand=(
                f"put {archive.file} with {expected} at {path} and call again, or unpack it so "
                f"that {folder / archive.marker} is there (licence: {archive.licence})"
            ),
            progress=progress,
        )
    _unpack(path, folder, archive)
    if not (keep_archive or was_there):
        path.unlink()
    return folder


def _check_room(folder: Path, n_bytes: int) -> None:
    """Raise an error before the disk of a folder is full."""
    disk = next(parent for parent in folder.parents if parent.is_dir())
    free = shutil.disk_usage(disk).free
    if free < n_bytes:
        megabytes = f"{n_bytes / 1e6:.0f} MB are needed in {disk} and {free / 1e6:.0f} MB are free"
        raise OSError(errno.ENOSPC, megabytes)


def _verify(path: Path, expected: str) -> None:
    import pooch

    algorithm, digits = expected.split(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != digits:
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) has {algorithm}:{found}, expected {expected}: "
            "the file is damaged, incomplete or another one. Delete it and call again."
        )


def _unpack(path: Path, folder: Path, archive: Archive) -> None:
    """Unpack next to the folder, then move the whole corpus there in one step."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        if time.time() - left.stat().st_mtime > _DAY:  # of an interrupted process
            shutil.rmtree(left, ignore_errors=True)
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            # In a subfolder: other users cannot open the temporary folder itself.
            everything = work / "everything"
            with zipfile.ZipFile(path) as file:
                _refuse_outsiders(file, path)
                _check_room(folder, sum(member.file_size for member in file.infolist()))
                file.extractall(everything)
            root = _corpus_root(everything, path, archive)
            if folder.is_dir():
                folder.rmdir()  # it is empty, and not every system replaces an empty folder
            root.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except zipfile.BadZipFile as exception:
        raise ValueError(
            f"{path} is not an intact zip file ({exception}), although its checksum is as "
            f"expected. Check that the checksum is that of {archive.urls[0]}."
        ) from exception
    except OSError as exception:
        remedy = (
            f"unpack {path} by hand so that {folder / archive.marker} is there. Only the archive "
            "is left, from which the next call resumes."
        )
        raise writing_error(exception, archive.corpus, folder, remedy) from exception


def _refuse_outsiders(file: zipfile.ZipFile, path: Path) -> None:
    """Refuse members that would be written outside the folder, on any system."""
    for name in file.namelist():
        member = PureWindowsPath(name)  # takes both kinds of slashes, and drives
        if member.drive or member.root or ".." in member.parts:
            raise ValueError(
                f"{path} holds {name!r}, which would be written outside its folder: this is not "
                "the official archive, and nothing has been unpacked. Delete it."
            )


def _corpus_root(everything: Path, path: Path, archive: Archive) -> Path:
    """Folder that holds the marker, below any number of others in the archive."""
    found = [member for member in everything.rglob(archive.marker) if member.is_dir()]
    if not found:
        raise ValueError(
            f"{path} does not hold a folder {archive.marker}, which every archive of "
            f"{archive.corpus} has: it must be another one. Check that the checksum is that of "
            f"{archive.urls[0]}."
        )
    return min(found, key=lambda member: len(member.parts)).parent
