"""Results of a step out of a store, once what it lacks has been computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_speechsent.frames.container import UtteranceFrames
from sklearn_speechsent.store import Shelf, as_key_array, digest, fill, utterance_keys
from sklearn_speechsent.store.compute import Function
from sklearn_speechsent.store.keys import KEY_SIZE

#: Key of what stands for utterances that could not be computed.
_REPLACED = bytes(KEY_SIZE)


def kept_or_failed(
    shelf: Shelf,
    keys: NDArray[np.uint8],
    take: Callable[[list[int]], Any],
    function: Function,
    *,
    replacement: NDArray[Any] | None = None,
    **progress: Any,
) -> tuple[UtteranceFrames | None, dict[int, Any]]:
    """Frames of all rows, but for those that have a problem.

    Parameters
    ----------
    shelf : Shelf
    keys : ndarray of uint8 of shape (n, KEY_SIZE)
        Of the input of each row.
    take : callable
        Gives the batch of a list of rows.
    function : callable
        Gives the frames of each item of a batch, or an exception that says why there are none.
    replacement : ndarray of shape (1, ...), optional
        Frames of rows with a problem; None leaves them out.
    **progress : dict
        ``n_jobs``, ``verbose`` and ``description`` of :func:`~sklearn_speechsent.store.fill`.

    Returns
    -------
    frames : UtteranceFrames or None
        As they lie in the files of the store, in the order of the rows; None if there are none.
    problems : dict of int to Exception
        By row.
    """
    names = [key.tobytes() for key in keys]
    failed = fill(shelf, names, take, function, **progress)
    problems = {row: failed[name] for row, name in enumerate(names) if name in failed}
    if failed and replacement is not None:
        fill(shelf, [_REPLACED], lambda rows: [replacement], iter)
        names = [_REPLACED if name in failed else name for name in names]
    good = [name for name in names if name not in failed]
    if not good:
        return None, problems
    base, starts, stops = shelf.frames(good)
    # The name of the folder stands for the step and all settings.
    label = shelf.folder.name.encode()
    made = as_key_array(digest(label, name) for name in good)
    return UtteranceFrames(base, starts, stops, keys=made), problems


def kept(
    shelf: Shelf,
    frames: UtteranceFrames,
    function: Function,
    *,
    take: Callable[[list[int]], Any] | None = None,
    **progress: Any,
) -> UtteranceFrames:
    """What a step makes of frames; settings and embeddings go along with it.

    Parameters
    ----------
    shelf : Shelf
    frames : UtteranceFrames
    function : callable
        Gives what is made of each utterance of a batch.
    take : callable, optional
        Gives the batch of a list of rows; these rows of ``frames`` by default.
    **progress : dict
        ``n_jobs``, ``verbose`` and ``description`` of :func:`~sklearn_speechsent.store.fill`.

    Returns
    -------
    UtteranceFrames
    """
    take = take or frames.__getitem__
    made, problems = kept_or_failed(shelf, utterance_keys(frames), take, function, **progress)
    if made is None or problems:
        raise next(iter(problems.values()))
    made.frame_settings.update(frames.frame_settings)
    return made.with_embeddings(frames.embeddings)
