"""Results of unknown lengths, held once: what a step without a store makes of them."""

import numpy as np
import pytest

from sklearn_speechsent.store import FrameRows, NullStore


class Numbers(FrameRows):
    """Rows that are numbers of frames."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def take(self, rows):
        return [self.lengths[row] for row in rows]


def frames(lengths):
    for length in lengths:
        yield ValueError("none") if length < 0 else np.full((length, 2), length, np.float32)


@pytest.mark.parametrize("lengths", [[3], [3, 5, 1], [1, 100, 2, 400, 7], list(range(1, 200))])
def test_frames_lie_one_behind_the_other(lengths):
    made, problems = NullStore().compute("x", {}, Numbers(lengths), frames)
    assert made.lengths.tolist() == lengths and not problems
    assert len(made.base) == sum(lengths)
    for length, utterance in zip(lengths, made, strict=True):
        assert (utterance == length).all()


def test_rows_with_problems_are_left_out_or_replaced():
    rows = Numbers([-1, 3, -1, 2])
    made, problems = NullStore().compute("x", {}, rows, frames)
    assert made.lengths.tolist() == [3, 2] and list(problems) == [0, 2]
    blank = np.full((1, 2), np.nan)
    made, problems = NullStore().compute("x", {}, rows, frames, replacement=blank)
    assert made.lengths.tolist() == [1, 3, 1, 2] and list(problems) == [0, 2]
    assert np.isnan(made[0]).all() and np.isnan(made[2]).all() and (made[3] == 2).all()
    assert NullStore().compute("x", {}, Numbers([-1]), frames)[0] is None
    assert NullStore().compute("x", {}, Numbers([-1]), frames, replacement=blank)[0] is None
