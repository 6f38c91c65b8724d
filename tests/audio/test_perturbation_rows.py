"""Training on perturbed copies: which rows, groups and weights the wrapped Pipeline is given."""

import numpy as np
import pandas as pd
import pytest
from perturbation_spies import (
    PATHS,
    Plain,
    Spy,
    Through,
    Y,
    perturbations,
    quick,
    spied,
    with_copies,
)
from sklearn import config_context
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline

from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    SpeechSentimentClassifier,
    WaveformPerturbation,
)
from sklearn_speechsent.model_selection import StratifiedSpeakerKFold
from sklearn_speechsent.sentiment import net as sentiment_net

# -- what the estimator is fitted on ---------------------------------------------------------------


def test_rows_that_are_fitted():
    model = with_copies(spied(), speeds=(0.9, 1.1), snr_db=(15, 5.0), gain_db=[6])
    spy = model.fit(PATHS, Y).estimator_["net"]
    expected = [
        (file, *how)
        for how in (
            (1.0, 0.0, None),
            (0.9, 0.0, None),
            (1.1, 0.0, None),
            (1.0, 6.0, None),
            (1.0, 0.0, 15.0),
            (1.0, 0.0, 5.0),
        )
        for file in PATHS
    ]
    assert perturbations(spy.X_) == expected
    np.testing.assert_array_equal(spy.y_, Y * 6)
    np.testing.assert_array_equal(spy.groups_, [0, 1, 2] * 6)
    assert spy.sample_weight_ is None
    noisy = spy.X_[12:]
    assert len({recording.seed for recording in noisy}) == 6


@pytest.mark.parametrize("prefixed", [False, True])
def test_groups_and_weights_follow_their_recordings(prefixed):
    groups, weight = pd.Series(["u", "v", "u"], index=[7, 8, 9]), [0.5, 1.0, 2.0]
    prefix = "net__" if prefixed else ""
    model = with_copies(spied(), speeds=(0.9,), snr_db=())
    model.fit(PATHS, Y, **{f"{prefix}groups": groups, f"{prefix}sample_weight": weight})
    spy = model.estimator_["net"]
    np.testing.assert_array_equal(spy.groups_, ["u", "v", "u"] * 2)
    np.testing.assert_array_equal(spy.sample_weight_, weight * 2)


@pytest.mark.parametrize("wrap", [lambda p: p["net"], lambda p: make_pipeline(Through(), p)])
def test_final_steps_are_found_in_and_out_of_pipelines(wrap):
    model = with_copies(wrap(spied()), speeds=(0.9,), snr_db=())
    fitted = model.fit(PATHS, Y, sample_weight=[1, 2, 3]).estimator_
    spy = fitted if isinstance(fitted, Spy) else fitted[-1]["net"]
    np.testing.assert_array_equal(spy.groups_, [0, 1, 2] * 2)
    np.testing.assert_array_equal(spy.sample_weight_, [1, 2, 3] * 2)


def test_row_numbers_go_only_where_groups_are_taken():
    model = with_copies(spied(Plain()), speeds=(0.9,), snr_db=()).fit(PATHS, Y)
    assert model.estimator_["net"].groups_ is None
    with pytest.raises(TypeError, match="groups"):
        model.fit(PATHS, Y, groups=PATHS)


def test_routed_metadata():
    groups, weight = ["u", "v", "u"], [0.5, 1.0, 2.0]
    with config_context(enable_metadata_routing=True):
        spy = Spy().set_fit_request(groups=True, sample_weight=True)
        model = with_copies(spied(spy), speeds=(0.9,), snr_db=())
        fitted = clone(model).fit(PATHS, Y, groups=groups, sample_weight=weight).estimator_["net"]
        np.testing.assert_array_equal(fitted.groups_, groups * 2)
        np.testing.assert_array_equal(fitted.sample_weight_, weight * 2)
        fitted = clone(model).fit(PATHS, Y).estimator_["net"]
        np.testing.assert_array_equal(fitted.groups_, [0, 1, 2] * 2)
        assert fitted.sample_weight_ is None
        with pytest.raises(TypeError, match=r"unexpected argument.*speakers"):
            model.fit(PATHS, Y, speakers=groups)


def test_copies_are_grouped_where_routing_is_not_set_up():
    """Copies must not cross an inner split, also if the estimator requests no groups."""
    with config_context(enable_metadata_routing=True):
        model = with_copies(spied(), speeds=(0.9,), snr_db=()).fit(PATHS, Y)
        np.testing.assert_array_equal(model.estimator_["net"].groups_, [0, 1, 2] * 2)
        assert model.estimator["net"].get_metadata_routing().fit.requests["groups"] is None
        plain = with_copies(spied(Plain()), speeds=(0.9,), snr_db=()).fit(PATHS, Y)
        assert plain.estimator_["net"].groups_ is None
        with pytest.raises(ValueError, match=r"groups.* not explicitly set as requested"):
            model.fit(PATHS, Y, groups=PATHS)


def test_requests_are_made_on_the_estimator_and_for_the_score():
    assert not hasattr(WaveformPerturbation, "set_fit_request")
    with config_context(enable_metadata_routing=True):
        model = with_copies(spied(Spy().set_fit_request(sample_weight=True)))
        result = cross_validate(
            model.set_score_request(sample_weight=True),
            PATHS * 2,
            Y * 2,
            params={"sample_weight": np.array([1, 2, 3, 0, 0, 0])},
            cv=[(np.arange(3), np.arange(3))],
            return_estimator=True,
        )
    spy = result["estimator"][0].estimator_["net"]
    np.testing.assert_array_equal(spy.sample_weight_, [1, 2, 3] * 4)
    # Levels 0, 1, 2 are predicted in order, of which the last, with half of the weight, is right.
    assert result["test_score"] == pytest.approx(0.5)


@pytest.mark.parametrize("routing", [False, True])
def test_early_stopping_holds_out_whole_recordings(speech, monkeypatch, routing):
    class Split(Exception):
        """Ends the fit where training would begin."""

    hold_out = sentiment_net.hold_out

    def spying(index, groups, *args):
        train, rows = hold_out(index, groups, *args)
        raise Split(groups[train], groups[rows])

    monkeypatch.setattr(sentiment_net, "hold_out", spying)
    net = SpeechSentimentClassifier(max_epochs=1, early_stopping=True, n_jobs=1, random_state=0)
    pipeline = Pipeline([("mfb", MelFilterBank()), ("net", net)])
    with config_context(enable_metadata_routing=routing):
        model = with_copies(pipeline, speeds=(1.1,), snr_db=())
        with pytest.raises(Split) as caught:
            model.fit(speech.data, speech.target)
    train, held_out = caught.value.args
    assert len(train) + len(held_out) == 48 and set(train) | set(held_out) == set(range(24))
    assert not set(train) & set(held_out)


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 2, 0]])
def test_lengths_are_compared_before_rows_are_repeated(rows):
    model = with_copies(spied())
    for name in ("groups", "sample_weight", "net__groups"):
        with pytest.raises(ValueError, match=rf"inconsistent numbers of samples: \[3, {len(rows)}"):
            model.fit(PATHS, Y, **{name: rows})
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(PATHS, rows)


# -- noise -----------------------------------------------------------------------------------------


def seeds(random_state, paths=PATHS, fits=1):
    model = with_copies(spied(), speeds=(), snr_db=(15,), random_state=random_state)
    for _ in range(fits):
        model.fit(paths, Y[: len(paths)])
    return {r.source: r.seed for r in model.estimator_["net"].X_ if r.snr_db is not None}


@pytest.mark.parametrize("random_state", [0, 1, 2**31 - 1])
def test_noise_of_a_recording_does_not_depend_on_its_row(random_state):
    everything = seeds(random_state)
    assert len(set(everything.values())) == 3
    assert seeds(random_state, ["c.wav", "a.wav"]) == {
        path: everything[path] for path in ("c.wav", "a.wav")
    }
    assert seeds(random_state, fits=2) == everything


def test_random_state_varies_the_noise():
    assert len({tuple(seeds(state).values()) for state in (0, 1, 2)}) == 3
    default = with_copies(spied()).fit(PATHS, Y).estimator_["net"]
    assert seeds(0) == {r.source: r.seed for r in default.X_ if r.snr_db is not None}
    once, twice = (seeds(np.random.RandomState(0), fits=n) for n in (1, 2))
    assert once == seeds(0) and once != twice


def test_none_gives_other_noise_in_every_fit():
    model = with_copies(spied(), speeds=(), random_state=None)
    drawn = {tuple(r.seed for r in model.fit(PATHS, Y).estimator_["net"].X_[3:]) for _ in range(3)}
    assert len(drawn) == 3


# -- a search goes around it -----------------------------------------------------------------------


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_searches_inside_are_refused(search, depth):
    inside = search(spied() if depth == 0 else Spy(), {"tag": [1, 2]})
    for _ in range(depth):
        inside = make_pipeline(Through(), OrdinalClassifier(inside) if depth == 2 else inside)
    name = search.__name__
    with pytest.raises(
        TypeError, match=rf"There is a {name} inside .*: {name}\(WaveformPerturbation\(pipeline\)"
    ):
        with_copies(inside).fit(PATHS, Y)


def test_a_frozen_search_is_accepted():
    inside = FrozenEstimator(GridSearchCV(Spy(), {"tag": [1, 2]}))
    pipeline = make_pipeline(Through(), Spy(tag=inside))
    assert with_copies(pipeline).fit(PATHS, Y).estimator_


def test_grid_search_around_it(speech, tmp_path):
    search = GridSearchCV(
        with_copies(quick(memory=tmp_path), snr_db=()),
        {"estimator__net__C": [0.1, 1.0], "speeds": [(), (1.1,)]},
        cv=StratifiedSpeakerKFold(2),
    )
    search.fit(speech.data, speech.target, groups=speech.groups)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert (
        best.estimator_["net"].C
        == best.estimator["net"].C
        == search.best_params_["estimator__net__C"]
    )
    assert search.predict(speech.data[:2]).shape == (2,)
    np.testing.assert_array_equal(search.classes_, [-1, 0, 1])


@pytest.mark.parametrize("random_state", [0, 3])
def test_cross_validation_decodes_each_copy_once(speech, tmp_path, decoded, random_state):
    model = WaveformPerturbation(
        quick(memory=tmp_path),
        speeds=(0.9, 1.1),
        snr_db=(10,),
        conditions=(),
        predict_speeds=(0.9, 1.0, 1.1),
        random_state=random_state,
    )
    result = cross_validate(
        model, speech.data, speech.target, groups=speech.groups, cv=StratifiedSpeakerKFold(4)
    )
    assert np.isfinite(result["test_score"]).all()
    assert len(decoded) == len(set(decoded)) == 4 * 24
    model.fit(
        np.flip(speech.data), np.flip(speech.target)
    )  # the order of rows is not part of a copy
    assert len(decoded) == 4 * 24
