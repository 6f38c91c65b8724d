"""Ratings of several annotators become tables of votes in the order of the recordings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent.datasets import count_votes, load_manifest, pivot_ratings


@pytest.fixture
def ratings():
    """Three annotators, one of whom lacks a rating, in a random order."""
    rows = [("a", "ann", -1), ("a", "ben", 0), ("b", "ann", 1), ("b", "ben", 1), ("b", "cem", 0)]
    table = pd.DataFrame(rows, columns=["file", "annotator", "label"])
    return table.sample(frac=1, random_state=0).set_index(np.arange(7, 12))


def test_the_order_is_that_of_the_recordings(ratings):
    wide = pivot_ratings(ratings, [Path("b"), "a", "b"])[["ann", "ben", "cem"]]
    np.testing.assert_array_equal(wide, [[1, 1, 0], [-1, 0, np.nan], [1, 1, 0]])
    votes = count_votes(wide)
    assert votes.columns.tolist() == [-1, 0, 1]
    assert votes.to_numpy().tolist() == [[0, 1, 2], [1, 1, 0], [0, 1, 2]]


@pytest.mark.parametrize(
    ("change", "recordings", "says"),
    [
        (lambda t: t, ["a", "c"], "1 of 2 recordings have no rating.*row 1 .'c'.*such as '[ab]'"),
        (lambda t: t, [["a", "b"]], r"shape \(1, 2\)"),
        (lambda t: t.rename(columns={"annotator": "who"}), ["a"], "lacks the columns.*annotator="),
        (
            lambda t: pd.concat([t, t[t["label"] == -1]]),
            ["a"],
            r"'ann' rated 'a' in rows .\d, 5",
        ),
        (lambda t: t.assign(annotator=[None] + ["x"] * 4), ["a"], "no recording or annotator in r"),
    ],
    ids=range(5),
)
def test_what_does_not_fit(ratings, change, recordings, says):
    with pytest.raises(ValueError, match=says):
        pivot_ratings(change(ratings), recordings)


def test_categories_and_text():
    names = ["low", "medium", "high"]
    table = pd.DataFrame({"ann": ["high", "low"], "ben": ["high", None]})
    expected = [[0, 0, 2], [1, 0, 0]]
    votes = count_votes(table, names)
    assert votes.to_numpy().tolist() == expected and votes.columns.tolist() == names
    assert votes.columns.ordered
    category = pd.CategoricalDtype(names, ordered=True)
    assert count_votes(table.astype(category)).to_numpy().tolist() == expected
    with pytest.raises(ValueError, match="column 'ann' holds text, whose order is not known"):
        count_votes(table)
    other = pd.CategoricalDtype(["low", "high"], ordered=True)
    with pytest.raises(ValueError, match="categories of different levels"):
        count_votes(table.astype({"ann": category, "ben": other}))


@pytest.mark.parametrize(
    ("ratings", "levels", "says"),
    [
        ([[1, 2], [9, 1]], range(3), "Annotator 0 rated row 1 as 9, off the scale"),
        ([[1, 2], [np.nan, np.nan]], range(3), "Row 1 of the ratings .1 of 2. hold no rating"),
    ],
)
def test_ratings_that_cannot_be_counted(ratings, levels, says):
    with pytest.raises(ValueError, match=says):
        count_votes(ratings, levels)


def test_real_ratings_count_as_the_nearest_level_and_names_may_repeat():
    votes = count_votes(pd.DataFrame([[0.4, 0.6, 1.9]], columns=["x", "x", "y"]))
    assert votes.to_dict("records") == [{0: 1, 1: 1, 2: 1}]


@pytest.fixture
def manifest(tmp_path, rng):
    """Table of three recordings and three annotators."""
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(8000), 16000)
    path = tmp_path / "labels.csv"
    path.write_text(
        "file,speaker,ann,ben,cem\na.wav,x,1,2,\nb.wav,y,-1,,\nc.wav,z,,,\n", encoding="utf-8"
    )
    return path


def test_manifest_with_annotators(manifest):
    with pytest.warns(UserWarning, match="no label"):
        mine = load_manifest(manifest, annotators=["ann", "ben", "cem"])
    assert mine.levels.tolist() == [-1, 0, 1, 2] == mine.target.columns.tolist()
    assert mine.target.to_numpy().tolist() == [[0, 0, 1, 1], [1, 0, 0, 0]]
    assert mine.frame["label"].tolist() == [1.5, -1.0] and len(mine.data) == 2
    assert "2: 1" in mine.DESCR
    with pytest.warns(UserWarning, match="no label"):
        _, y = load_manifest(
            manifest, annotators=["ann", "ben"], levels=range(-2, 3), return_X_y=True
        )
    assert y.shape == (2, 5)


@pytest.mark.parametrize(
    ("annotators", "levels", "says"),
    [
        (["ann", "dan"], None, r"lacks 'dan'"),
        ("ann", None, "list of names"),
        ([], None, "list of names"),
        (["ann", "ben"], [-1, 0, 1], "column 'ben': 2.0 in row 0 .*off the scale"),
        (["ann", "speaker"], None, "column 'speaker': 'x' in row 0"),
    ],
)
def test_annotators_that_are_not_there(manifest, annotators, levels, says):
    with pytest.raises(ValueError, match=says):
        load_manifest(manifest, annotators=annotators, levels=levels)
