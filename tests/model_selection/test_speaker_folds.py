"""Folds with every speaker on one side and every level on both."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_validate

from sklearn_speechsent.metrics import round_to_levels
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold


@pytest.fixture
def corpus():
    """12 speakers of 20 utterances, each leaning to one side; continuous labels."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(12), 20)
    y = np.clip(rng.normal((speakers % 4) - 1.5, 1.2), -3, 3)
    order = rng.permutation(240)
    return rng.normal(size=(240, 3)), y[order], speakers[order]


@pytest.mark.parametrize("n_bins", [None, 2, 5])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.filterwarnings("ignore:Level:UserWarning")
def test_speakers_never_cross_and_every_row_is_tested_once(corpus, n_bins, shuffle):
    X, y, speakers = corpus
    seed = 3 if shuffle else None
    cv = StratifiedSpeakerKFold(4, n_bins=n_bins, shuffle=shuffle, random_state=seed)
    folds = list(cv.split(X, y, speakers))
    assert len(folds) == cv.get_n_splits(X, y, speakers) == 4
    for train, test in folds:
        assert not set(speakers[train]) & set(speakers[test])
        assert len(test) > 0
        assert sorted([*train, *test]) == list(range(240))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(240))
    again = list(cv.split(X, y, speakers))
    assert all((a[1] == b[1]).all() for a, b in zip(folds, again, strict=True))


def test_folds_are_those_of_scikit_learn_on_rounded_labels(corpus):
    X, y, speakers = corpus
    ours = StratifiedSpeakerKFold(3).split(X, y, speakers)
    theirs = StratifiedGroupKFold(3).split(X, np.rint(y), speakers)
    for (_, test), (_, expected) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(test, expected)


@pytest.mark.parametrize("n_bins", [None, 4])
def test_levels_are_spread_evenly(corpus, n_bins):
    X, y, speakers = corpus
    low = (speakers % 4 == 0).mean()
    cv = StratifiedSpeakerKFold(3, n_bins=n_bins)
    for _, test in cv.split(X, y, speakers):
        assert (speakers[test] % 4 == 0).mean() == pytest.approx(low)
        assert np.mean(y[test]) == pytest.approx(np.mean(y), abs=0.2)


def test_quantile_bins_follow_the_ranks_of_the_labels(corpus):
    X, y, speakers = corpus
    cv = StratifiedSpeakerKFold(3, n_bins=4)
    plain = [test for _, test in cv.split(X, y, speakers)]
    scaled = [test for _, test in cv.split(X, 1e-3 * y + 5, speakers)]
    for a, b in zip(plain, scaled, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(list(cv.split(X, np.zeros(240), speakers))) == 3


def test_any_container_with_a_length(corpus):
    _, y, speakers = corpus
    expected = [test for _, test in StratifiedSpeakerKFold(3).split(np.empty(240), y, speakers)]
    names = [f"actor {speaker}" for speaker in speakers]
    for X in (
        [Path(f"{i}.wav") for i in range(240)],
        pd.DataFrame({"file": ["a.wav"] * 240}),
        [np.zeros(i + 1) for i in range(240)],
        np.empty(240, dtype=object),
    ):
        folds = StratifiedSpeakerKFold(3).split(X, pd.Series(y), groups=pd.Series(speakers))
        for (_, test), known in zip(folds, expected, strict=True):
            np.testing.assert_array_equal(test, known)
    assert len(list(StratifiedSpeakerKFold(3).split(names, y, names))) == 3


def test_a_level_that_only_one_fold_has_is_named():
    speakers = np.repeat(np.arange(6), 6)
    y = np.tile([-1, 0, 1], 12)
    y[:2] = 3
    with pytest.warns(UserWarning, match=r"Level 3 is absent from the training part of fold \d"):
        list(StratifiedSpeakerKFold(3).split(y, y, speakers))
    with pytest.warns(UserWarning, match="The bin of labels 7 to 9 is absent"):
        high, low = np.tile([7.0, 8.0, 9.0], 12), np.tile(np.linspace(0, 1, 6), 6)
        y = np.where(speakers == 0, high, low)
        list(StratifiedSpeakerKFold(3, n_bins=6).split(y, y, speakers))


def test_few_utterances_of_a_level_do_not_warn():
    y, speakers = np.tile([-1, 0, 0, 1], 6), np.repeat(np.arange(6), 4)
    y[[0, 4]] = 3
    list(StratifiedSpeakerKFold(6).split(y, y, speakers))
    list(StratifiedSpeakerKFold(2).split([1] * 4, [0, 0, 1, 1], [0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        ([0, 1, 0, 1], None, "pass groups="),
        (None, [0, 1, 2, 3], "pass y"),
        ([0, 1, 0, 1], [0, 0, 1, 1], "n_splits=3 folds need as many speakers; groups has 2"),
        ([0, np.nan, 0, 1], [0, 1, 2, 3], "y contains NaN"),
        ([0, 1, 0], [0, 1, 2, 3], "inconsistent numbers of samples"),
        ([0, 1, 0, 1], [0, 1, 2], "inconsistent numbers of samples"),
        ([0, 1, 0, 1], ["a", "b", "c", None], "groups holds missing values"),
        ([0, 1, 2, 3], [0, 1, 2, 3], "fewer than n_splits=3 utterances"),
    ],
)
def test_errors_come_with_the_call(y, groups, message):
    with pytest.raises(ValueError, match=message):
        StratifiedSpeakerKFold(3).split(["a.wav"] * 4, y, groups)


@pytest.mark.parametrize("n_bins", [1, 2.0, "many"])
def test_n_bins_is_checked(n_bins):
    with pytest.raises(ValueError, match="n_bins must be"):
        StratifiedSpeakerKFold(n_bins=n_bins)


def test_n_splits_is_checked_by_scikit_learn():
    with pytest.raises(ValueError, match="at least one train/test split"):
        StratifiedSpeakerKFold(1)


def test_repr_names_every_parameter():
    assert " ".join(repr(StratifiedSpeakerKFold(4, n_bins=3)).split()) == (
        "StratifiedSpeakerKFold(levels=None, n_bins=3, n_splits=4, random_state=None, "
        "shuffle=False)"
    )


def test_levels_are_strata():
    """Labels of ±0.3 on a scale without zero are two levels, where rounding sees one."""
    speakers = np.repeat(np.arange(6), 4)
    y = np.tile([-0.3, -0.3, 0.3, 0.3], 6) * np.where(np.arange(24) < 12, 1, 5)
    levels = [-2, -1, 1, 2]
    ours = StratifiedSpeakerKFold(3, levels=levels).split(y, y, speakers)
    theirs = StratifiedGroupKFold(3).split(y, round_to_levels(y, levels), speakers)
    for (_, test), (_, expected) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(test, expected)
    y[0] = 9
    with pytest.warns(UserWarning, match=r"Level 3 is absent from the training part"):
        list(StratifiedSpeakerKFold(3, levels=[-1.5, 0, 3]).split(y, y.clip(0, 9), speakers))


def test_levels_are_checked():
    with pytest.raises(ValueError, match="levels must be two or more"):
        StratifiedSpeakerKFold(levels=[1, 0])
    with pytest.raises(ValueError, match="pass one of them"):
        StratifiedSpeakerKFold(levels=[0, 1], n_bins=2)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.filterwarnings("ignore:Level:UserWarning")
def test_groups_reach_it_inside_searches(corpus, routing):
    X, y, speakers = corpus
    cv = StratifiedSpeakerKFold(3)
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=cv)
    with sklearn.config_context(enable_metadata_routing=routing):
        clone(search).fit(X, y, groups=speakers)
        by = {"params": {"groups": speakers}} if routing else {"groups": speakers}
        result = cross_validate(Ridge(), X, y, cv=cv, return_indices=True, **by)
        with pytest.raises(ValueError, match="pass groups="):
            search.fit(X, y)
        if routing:
            nested = cross_validate(search, X, y, cv=cv, params={"groups": speakers})
            assert np.isfinite(nested["test_score"]).all()
    for train, test in zip(*result["indices"].values(), strict=True):
        assert not set(speakers[train]) & set(speakers[test])


def test_no_fold_is_empty_with_one_speaker_per_fold():
    speakers = np.repeat(np.arange(5), [7, 6, 9, 6, 6])
    y = np.array([-1, 0, 1, -1, 0])[speakers]
    with pytest.warns(UserWarning, match="Level 1 is absent"):
        folds = list(StratifiedSpeakerKFold(5).split(y, y, speakers))
    assert sorted(set(speakers[test]).pop() for _, test in folds) == [0, 1, 2, 3, 4]
    assert all(len(set(speakers[test])) == 1 for _, test in folds)


def test_named_levels_are_strata():
    """Text and categories are spread like their positions."""
    rng = np.random.default_rng(0)
    names, code, speakers = ["poor", "fair", "good"], rng.integers(0, 3, 60), np.arange(60) % 12
    text = np.array(names)[code]
    category = pd.Series(pd.Categorical.from_codes(code, names, ordered=True), index=code)
    expected = list(StratifiedSpeakerKFold(3).split(code, code, speakers))
    for y, levels in ((text, names), (category, None), (category, names)):
        folds = list(StratifiedSpeakerKFold(3, levels=levels).split(code, y, speakers))
        for (_, found), (_, test) in zip(folds, expected, strict=True):
            np.testing.assert_array_equal(found, test)
    with pytest.raises(ValueError, match="order is not known"):
        next(StratifiedSpeakerKFold(3).split(code, text, speakers))
    with pytest.raises(ValueError, match="Label 'good' in row"):
        next(StratifiedSpeakerKFold(3, levels=["poor", "fair"]).split(code, text, speakers))
    with pytest.raises(ValueError, match="n_bins needs numbers"):
        next(StratifiedSpeakerKFold(3, n_bins=2).split(code, category, speakers))
    with pytest.warns(UserWarning, match="Level good is absent"):
        list(StratifiedSpeakerKFold(3).split(code, category, np.where(code == 2, 0, speakers + 1)))
