"""Trials and error rates of speaker verification.

A trial is a pair of utterances with a similarity score. Accepting every trial whose score reaches
a threshold misses some same-speaker trials and raises false alarms on some different-speaker ones.
"""

from numbers import Integral
from typing import Literal, overload

import numpy as np
import pandas as pd
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import det_curve
from sklearn.utils import column_or_1d

from sklearn_speechsent.metrics._checks import BoolArray, FloatArray, check_trials
from sklearn_speechsent.utils.validation import new_generator

RowArray = NDArray[np.intp]


def find_equal_error(false_alarm: FloatArray, miss: FloatArray) -> float:
    """Return the rate at which the curve of operating points meets miss = false alarm.

    The curve runs as that of :func:`sklearn.metrics.det_curve`: false alarms fall, misses rise.
    """
    excess = miss - false_alarm
    past = int(np.argmax(excess >= 0))
    if excess[past] == 0:
        return float(false_alarm[past])
    way = excess[past - 1] / (excess[past - 1] - excess[past])
    step = false_alarm[past] - false_alarm[past - 1]
    return float(false_alarm[past - 1] + way * step)


@overload
def equal_error_rate(
    y_true: ArrayLike, y_score: ArrayLike, *, return_threshold: Literal[False] = False
) -> float: ...
@overload
def equal_error_rate(
    y_true: ArrayLike, y_score: ArrayLike, *, return_threshold: Literal[True]
) -> tuple[float, float]: ...
@overload
def equal_error_rate(
    y_true: ArrayLike, y_score: ArrayLike, *, return_threshold: bool
) -> float | tuple[float, float]: ...
def equal_error_rate(
    y_true: ArrayLike, y_score: ArrayLike, *, return_threshold: bool = False
) -> float | tuple[float, float]:
    r"""Equal error rate (EER) of verification scores; lower is better.

    .. math::
        EER = P_{miss}(t) = P_{fa}(t), \quad
        P_{miss}(t) = P(s < t \mid same), \quad P_{fa}(t) = P(s \ge t \mid different)

    Few trials seldom have a threshold with equal rates. The rates of the two thresholds on
    either side are then interpolated linearly, which is where the curve of operating points [1]_
    crosses its diagonal. Chance is 0.5.

    Parameters
    ----------
    y_true : array-like of shape (n_trials,)
        True (or 1) for a trial of one speaker, False (or 0) for a trial of two.
    y_score : array-like of shape (n_trials,)
        Similarity of the two utterances, on any scale; higher is more alike.
    return_threshold : bool, default=False
        Whether to return a threshold as well.

    Returns
    -------
    eer : float
        Rate in [0, 1]; 0.0 if a threshold separates the two kinds, 0.5 if all scores are tied.
    threshold : float
        Only if `return_threshold`. Accepting ``y_score >= threshold`` gives the miss and false-
        alarm rate that differ least; of the two operating points around the crossing their mean
        is then the nearer to the EER. It is finite and lies midway between two scores, or is the
        lowest score if it has to accept all.

    Raises
    ------
    ValueError
        If lengths differ, a score is NaN or infinite, `y_true` is not true or false, or all
        trials are of one kind.

    See Also
    --------
    make_trials : Pairs of utterances.
    min_detection_cost : The same by what mistakes cost.

    References
    ----------
    .. [1] A. Martin, G. Doddington, T. Kamm, M. Ordowski and M. Przybocki (1997). "The DET curve
       in assessment of detection task performance". Proc. Eurospeech, 1895-1898.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import equal_error_rate
    >>> same = [True, True, True, True, False, False, False, False]
    >>> equal_error_rate(same, [0.9, 0.8, 0.7, 0.3, 0.5, 0.2, 0.1, 0.0])
    0.25
    >>> equal_error_rate([1, 1, 0, 0], [0.875, 0.625, 0.375, 0.25], return_threshold=True)
    (0.0, 0.5)
    """
    same, scores = check_trials(y_true, y_score)
    false_alarm, miss, thresholds = det_curve(same, scores, drop_intermediate=False)
    eer = find_equal_error(false_alarm, miss)
    if not return_threshold:
        return eer
    # The more the rates differ, the farther is their mean from the EER. They differ most where all
    # trials are rejected (at infinity); that comes last, so it is never taken.
    nearest = thresholds[np.abs(miss - false_alarm).argmin()]
    dtype = np.asarray(y_score).dtype
    return eer, _midway(scores, nearest, dtype if dtype.kind == "f" else np.dtype(np.float64))


def _midway(scores: FloatArray, accepted: float, dtype: np.dtype) -> float:
    """Return a threshold that accepts the same scores as `accepted`, with room on both sides.

    NumPy compares float32 scores with a float in float32, so it has to hold after that rounding.
    """
    rejected = scores[scores < accepted]
    if not len(rejected):
        return float(accepted)
    lower = rejected.max()
    middle = dtype.type(lower / 2 + accepted / 2)
    return float(middle if middle > lower else accepted)


def min_detection_cost(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_false_alarm: float = 1.0,
) -> float:
    r"""Minimum normalised detection cost (minDCF) of verification scores; lower is better.

    .. math::
        \min_t \frac{C_{miss} P_{target} P_{miss}(t) + C_{fa} (1 - P_{target}) P_{fa}(t)}
                    {\min(C_{miss} P_{target},\; C_{fa} (1 - P_{target}))}

    with the rates of :func:`equal_error_rate`. The denominator is the cost of rejecting or of
    accepting every trial, whichever is cheaper [1]_, so that 1 means scores of no use. Where
    same-speaker trials are rare, as by default, false alarms weigh most.

    Parameters
    ----------
    y_true : array-like of shape (n_trials,)
        True (or 1) for a trial of one speaker, False (or 0) for a trial of two.
    y_score : array-like of shape (n_trials,)
        Similarity of the two utterances, on any scale; higher is more alike.
    p_target : float, default=0.01
        Probability of a same-speaker trial in use, in (0, 1); not its share of `y_true`.
    c_miss, c_false_alarm : float, default=1.0
        Positive cost of a miss and of a false alarm.

    Returns
    -------
    float
        Cost in [0, 1]; 0 if a threshold separates the two kinds.

    Raises
    ------
    ValueError
        If lengths differ, a score is NaN or infinite, `y_true` is not true or false, all trials
        are of one kind, `p_target` is not in (0, 1) or a cost is not positive and finite.

    See Also
    --------
    make_trials : Pairs of utterances.
    equal_error_rate : The same without costs.

    References
    ----------
    .. [1] NIST (2016). "NIST 2016 Speaker Recognition Evaluation Plan", version 1.3.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import min_detection_cost
    >>> same = [True, True, True, True, False, False, False, False]
    >>> scores = [0.9, 0.8, 0.7, 0.3, 0.75, 0.2, 0.1, 0.0]
    >>> min_detection_cost(same, scores)
    0.5
    >>> min_detection_cost(same, scores, p_target=0.5)
    0.25
    """
    if not 0 < p_target < 1:
        raise ValueError(
            f"p_target must be a probability above 0 and below 1, got {p_target!r}; use the "
            "0.01 of most reports."
        )
    for name, cost in (("c_miss", c_miss), ("c_false_alarm", c_false_alarm)):
        if not 0 < cost < np.inf:
            raise ValueError(f"{name} must be a positive, finite cost, got {cost!r}; use 1.0.")
    same, scores = check_trials(y_true, y_score)
    false_alarm, miss, _ = det_curve(same, scores, drop_intermediate=False)
    reject_all, accept_all = c_miss * p_target, c_false_alarm * (1 - p_target)
    cost = reject_all * miss + accept_all * false_alarm
    return float(cost.min() / min(reject_all, accept_all))


def make_trials(
    speakers: ArrayLike,
    *,
    n_trials: int | None = None,
    random_state: int | RandomState | None = None,
) -> tuple[RowArray, RowArray, BoolArray]:
    """Pairs of utterances to verify speakers with.

    Parameters
    ----------
    speakers : array-like of shape (n_utterances,)
        Speaker of each utterance, names or numbers. Every speaker has two utterances or more.
    n_trials : int, default=None
        None makes all n (n - 1) / 2 pairs. Otherwise at most this number, at least 2, drawn without
        replacement from two strata, because same-speaker pairs are rare in a large corpus:
        ``n_trials // 2`` of the same-speaker pairs (all, if there are fewer), and the rest of
        the different-speaker pairs (again all, if there are fewer; the total is then smaller).
        Within its stratum every pair is equally likely.
    random_state : int or RandomState instance, default=None
        Seed of the drawing; pass an int for the same trials in every call.

    Returns
    -------
    first, second : ndarray of intp of shape (n_trials,)
        Rows of the two utterances, ``first < second``, in lexicographic order.
    same : ndarray of bool of shape (n_trials,)
        Whether the two are of one speaker.

    Raises
    ------
    ValueError
        If a speaker is missing or has a single utterance, there are fewer than two speakers, or
        `n_trials` is not an integer of at least 2.

    See Also
    --------
    equal_error_rate : Scores the trials.
    min_detection_cost : Scores them by what mistakes cost.
    VerificationDetDisplay : Draws them.

    Examples
    --------
    >>> from sklearn_speechsent.metrics import make_trials
    >>> first, second, same = make_trials(["ann", "bob", "ann", "bob"])
    >>> first
    array([0, 0, 0, 1, 1, 2])
    >>> second
    array([1, 2, 3, 2, 3, 3])
    >>> same
    array([False,  True, False, False,  True, False])
    >>> first, second, same = make_trials([0, 1] * 10_000, n_trials=1000, random_state=0)
    >>> len(first), int(same.sum())
    (1000, 500)
    """
    if n_trials is not None and not (isinstance(n_trials, Integral) and n_trials >= 2):
        raise ValueError(
            f"n_trials must be None or an integer of at least 2, one trial of each kind, got "
            f"{n_trials!r}."
        )
    codes, counts = _count_speakers(speakers)
    if n_trials is None:
        first, second = np.triu_indices(len(codes), k=1)
        return first, second, codes[first] == codes[second]
    # With utterances sorted by speaker, those after each one are of the same speaker up to the end
    # of its block and of others from there: a pair follows from its number.
    rng = new_generator(random_state)
    order = np.argsort(codes, kind="stable")
    ends, n = np.repeat(np.cumsum(counts), counts), len(codes)
    own = _draw_pairs(np.arange(1, n + 1), ends, n_trials // 2, rng)
    other = _draw_pairs(ends, np.full(n, n), n_trials - len(own), rng)
    pairs = np.sort(order[np.concatenate([own, other])], axis=1)
    first, second = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].T.copy()
    return first, second, codes[first] == codes[second]


def _count_speakers(speakers: ArrayLike) -> tuple[RowArray, RowArray]:
    """Return the number of each utterance's speaker and their counts; ValueError as make_trials."""
    codes, names = pd.factorize(column_or_1d(speakers))
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise ValueError(
            f"speakers holds {len(missing)} missing value(s), the first in row {missing[0]}: leave "
            "these rows out."
        )
    if len(names) < 2:
        raise ValueError(
            f"speakers holds {len(names)} speaker(s) {names.tolist()}, which makes no "
            "different-speaker trial: pass the utterances of two or more."
        )
    counts = np.bincount(codes)
    single = names[counts == 1]
    if len(single):
        more = ", …" if len(single) > 5 else ""
        listed = ", ".join(repr(name) for name in single[:5].tolist()) + more
        raise ValueError(
            f"{len(single)} of {len(names)} speakers have a single utterance ({listed}) and can be "
            "in no same-speaker trial: leave these rows out."
        )
    return codes, counts


def _draw_pairs(starts: RowArray, stops: RowArray, size: int, rng: RandomState) -> RowArray:
    """Draw different pairs (i, j) with starts[i] <= j < stops[i], every such pair equally likely.

    The result has shape (n_pairs, 2); there are fewer than `size` only if that is all there are.
    """
    up_to = np.cumsum(stops - starts)
    n_pairs = int(up_to[-1])
    if 2 * size >= n_pairs:
        drawn = rng.permutation(n_pairs)[:size]
    else:  # draw again what came up twice; memory does not depend on the number of pairs
        drawn = np.empty(0, dtype=np.int64)
        while len(drawn) < size:
            drawn = np.append(drawn, rng.randint(n_pairs, size=size, dtype=np.int64))
            drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        drawn = drawn[:size]
    i = np.searchsorted(up_to, drawn, side="right")
    return np.column_stack([i, stops[i] - (up_to[i] - drawn)])
