"""Pieces of long utterances, for networks whose output at a frame depends on frames near it."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np


def pieces(
    n_frames: int, *, step: int, context: int, longest: int
) -> Iterator[tuple[slice, slice]]:
    """Cut an utterance into pieces of nearly equal length.

    Parameters
    ----------
    n_frames : int
        Frames of the utterance.
    step : int
        Pieces begin at multiples of this number of frames, where the strides of a network begin.
    context : int
        Frames on either side of a piece that its output depends on.
    longest : int
        Frames of the longest piece, up to `step`; an utterance of no more is one piece.

    Yields
    ------
    piece : slice
        Frames whose output is wanted. The pieces are all frames of the utterance, in order.
    seen : slice
        The piece and its context, beginning at a multiple of `step`.

    Examples
    --------
    >>> from sklearn_speechsent.nn import pieces
    >>> [(p.start, p.stop) for p, _ in pieces(101, step=4, context=6, longest=50)]
    [(0, 32), (32, 68), (68, 101)]
    >>> [(s.start, s.stop) for _, s in pieces(101, step=4, context=6, longest=50)]
    [(0, 38), (24, 74), (60, 101)]
    """
    n_pieces = -(-n_frames // longest)
    edges = step * np.linspace(0, n_frames / step, n_pieces + 1).round().astype(int)
    edges[-1] = n_frames
    before = -(-context // step) * step
    for start, stop in pairwise(edges.tolist()):
        seen = slice(max(start - before, 0), min(stop + context, n_frames))
        yield slice(start, stop), seen
