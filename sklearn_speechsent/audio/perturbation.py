"""Training on perturbed copies of recordings, averaging over them at prediction."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
)

from sklearn_speechsent.audio.conditions import MIX, Voices, check_conditions, draw_copy, has_babble
from sklearn_speechsent.audio.inputs import (
    as_recordings,
    is_waveform_table,
    validated_waveforms,
)
from sklearn_speechsent.audio.recording import PERTURBATION_RANGES, Recording
from sklearn_speechsent.metrics.exact import level_accuracy
from sklearn_speechsent.metrics.labels import as_array, as_labels
from sklearn_speechsent.metrics.levels import nan_where
from sklearn_speechsent.metrics.scale import check_labels
from sklearn_speechsent.metrics.votes import is_votes, mean_votes
from sklearn_speechsent.utils.callbacks import reports_fit
from sklearn_speechsent.utils.estimators import EstimatorMixin, final_step
from sklearn_speechsent.utils.sklearn_compat import (
    BaseSearchCV,
    HasMethods,
    fit_context,
    routing_enabled,
    safe_indexing,
)
from sklearn_speechsent.utils.validation import new_generator


def find_search(estimator: Any) -> BaseSearchCV | None:
    """Search that is run when an estimator is fitted.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    BaseSearchCV or None
        The first that is found at any depth; a frozen one is not run and does not count.
    """
    inner = {"": estimator, **estimator.get_params(deep=True)}
    frozen = tuple(f"{k}__" for k, v in inner.items() if isinstance(v, FrozenEstimator))
    for name, value in inner.items():
        if isinstance(value, BaseSearchCV) and not name.startswith(frozen):
            return value
    return None


def rows_as_groups(estimator: Any, n: int) -> dict[str, NDArray[np.intp]]:
    """Parameters of ``fit`` that make every row a group of its own.

    Parameters
    ----------
    estimator : estimator
        With metadata routing, its last step is set to request them, as users do not
        request groups that they do not pass.
    n : int
        Number of rows.

    Returns
    -------
    dict
        Empty where groups are not taken.
    """
    prefix, final = final_step(estimator)
    takes_groups = has_fit_parameter(final, "groups")
    if not routing_enabled():
        return {f"{prefix}groups": np.arange(n)} if takes_groups else {}
    if takes_groups and hasattr(final, "set_fit_request"):
        final.set_fit_request(groups=True)
    consumed = get_routing_for_object(estimator).consumes("fit", ["groups"])
    return {"groups": np.arange(n)} if consumed else {}


def _takes_groups(estimator: Any) -> bool:
    """Whether fit of an estimator has a use for groups."""
    if routing_enabled():
        return bool(get_routing_for_object(estimator).consumes("fit", ["groups"]))
    return has_fit_parameter(final_step(estimator)[1], "groups")


#: Added to the seeds of conditions, which are then others than those of noise.
_FIRST_CONDITION = 1000
#: Metadata of fit that have one value per row.
_PER_ROW = ("groups", "sample_weight")


def _has_probabilities(model: WaveformPerturbation) -> bool:
    """Whether there are probabilities; if not, the error gives the reason."""
    getattr(getattr(model, "estimator_", model.estimator), "predict_proba")  # noqa: B009
    return True


class WaveformPerturbation(EstimatorMixin, MetaEstimatorMixin, BaseEstimator):
    """Train on perturbed copies of each recording, next to the recording itself.

    A voice played a little faster or slower, with noise or through a telephone, is another voice
    with the same sentiment: for a model that was trained on few speakers that is worth a lot, and a
    model that was trained on clean recordings alone fails on others. Inside of a
    Pipeline the number of rows cannot change, so this wraps the whole Pipeline. Copies are rows of
    X that say how to perturb a recording: they are made one at a time when it is read, and their
    features are cached like any others. With the defaults six times as many recordings are
    extracted in ``fit``, and three times as many at prediction.

    Parameters
    ----------
    estimator : estimator
        Takes recordings, like the Pipeline of
        :func:`~sklearn_speechsent.make_sentiment_pipeline`.
    speeds : sequence of float, default=(0.9,)
        One copy per factor; pitch and formants change along.
    snr_db : sequence of float, default=()
        One copy per signal-to-noise ratio in dB, with white noise.
    gain_db : sequence of float, default=()
        One copy per gain in dB. Features after mean normalisation hardly see it.
    conditions : sequence of str, dict, or sequence of these
        One copy per condition. By default four: telephone, pink noise, babble and room, each with a
        gain of -20 to 10 dB. A name: ``"telephone"`` (8 kHz, mu-law), ``"mp3"``, ``"ogg"`` (32
        kbit/s), ``"band limit"`` (3 to 7 kHz), ``"white noise"``, ``"pink noise"``, ``"babble"``
        (5 to 15 dB), ``"room"`` (reverberation time .2 to .8 s), ``"quiet"`` (-30 to -10 dB),
        ``"clipped"`` (5 to 25 dB, and clipped at full scale) or ``"silence"`` (digital, up to 2 s
        at either end). Or a dict of perturbations, the columns of
        :func:`~sklearn_speechsent.audio.as_recordings`: ``{"rt60": (0.2, 0.5), "noise": "pink",
        "snr_db": (5, 15)}``. Two numbers are a range: what is drawn differs between recordings
        and copies. Or a sequence of names and dicts, of which one is drawn for each recording.
        Babble is four other recordings of the training data at the same time, of other groups if
        ``fit`` is given groups, otherwise of other files.
    predict_speeds : sequence of float, default=(0.9, 1.0, 1.1)
        Predictions are averaged over the recording at these speeds: intensities of a regressor,
        threshold probabilities of a classifier, which must then have ``predict_proba``, and
        classes in ascending order of sentiment or their order in ``levels_``.
    random_state : int, RandomState instance or None, default=0
        Varies what is drawn. That also depends on the recording's name (or samples) and segment,
        but not on its row, so that cross-validation finds cached copies again: with an integer the
        same recording meets the same noise in every fold and every run. None or an instance give
        other noise in every fit.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on recordings and copies.
    classes_ : ndarray of shape (n_classes,)
        Only of a classifier.
    n_features_in_ : int
        Only if X was a 2-D array: samples per waveform.

    See Also
    --------
    make_sentiment_pipeline : The Pipeline to wrap.

    Notes
    -----
    A search goes around it, not inside: ``GridSearchCV(WaveformPerturbation(pipeline), ...)``.
    Inside, copies of one recording would be training and test data of each other. For the same
    reason the final estimator, if it takes groups (to hold out speakers for early stopping), gets
    the recordings as groups when no groups are given.

    Recordings that are already perturbed (columns of a DataFrame) are perturbed on top of it:
    speeds multiply, gains and silences add up, and of two noises, rooms and band limits the one
    that takes more away counts.

    References
    ----------
    .. [1] T. Ko, V. Peddinti, D. Povey and S. Khudanpur, "Audio augmentation for speech
       recognition", Interspeech 2015.

    Examples
    --------
    >>> from sklearn_speechsent import WaveformPerturbation, make_sentiment_pipeline
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> corpus = make_speech_sentiment(2, 4, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline(weights=None)
    >>> model = WaveformPerturbation(pipeline, conditions=["telephone"])
    >>> model.fit(corpus.data, corpus.target).predict(corpus.data).shape
    (8,)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "speeds": ["array-like"],
        "snr_db": ["array-like"],
        "gain_db": ["array-like"],
        "conditions": ["array-like", dict, str],
        "predict_speeds": ["array-like"],
        "random_state": ["random_state"],
    }
    # Routed to the estimator, whose own requests count.
    __metadata_request__fit = {"groups": UNUSED, "sample_weight": UNUSED}

    def __init__(
        self,
        estimator: Any,
        speeds: Any = (0.9,),
        snr_db: Any = (),
        gain_db: Any = (),
        conditions: Any = MIX,
        predict_speeds: Any = (0.9, 1.0, 1.1),
        random_state: Any = 0,
    ) -> None:
        self.estimator = estimator
        self.speeds = speeds
        self.snr_db = snr_db
        self.gain_db = gain_db
        self.conditions = conditions
        self.predict_speeds = predict_speeds
        self.random_state = random_state

    @reports_fit()
    # The estimator is checked by its own fit.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None, **fit_params: Any
    ) -> WaveformPerturbation:
        """Fit the estimator on recordings and copies.

        Parameters
        ----------
        X : array-like of paths, DataFrame, sequence of arrays or of ``(rate, array)``
            See :func:`~sklearn_speechsent.audio.as_recordings`.
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Intensities or levels, or votes where the estimator takes them; copies have those of
            their recording.
        groups, sample_weight : array-like of shape (n,), optional
            Repeated and passed to the final estimator, or routed if metadata routing is enabled.
            Babble is made of recordings of other groups; for that they are taken also if the final
            estimator does not take any.
        **fit_params : dict
            Passed on; ``step__groups`` and ``step__sample_weight`` are repeated.

        Returns
        -------
        self

        Raises
        ------
        RecordingError
            If a recording cannot be used.
        ValueError
            If ``y`` or a parameter does not fit.
        TypeError
            If there is a search inside ``estimator``.
        """
        self._refuse_search()
        self._check_values(self.estimator)
        recordings = self._recordings(X, reset=True)
        check_labels(y, len(recordings))
        category = isinstance(getattr(y, "dtype", None), pd.CategoricalDtype)
        if not category and not is_votes(y):  # which have an order
            y = column_or_1d(as_array(y), warn=True)
        given = {"groups": groups, "sample_weight": sample_weight, **fit_params}
        given = {name: value for name, value in given.items() if value is not None}
        for name, value in given.items():
            if name.rpartition("__")[2] in _PER_ROW:
                check_consistent_length(y, value)
        speakers = [v for name, v in given.items() if name.rpartition("__")[2] == "groups"]
        copies = recordings + self._perturbed(recordings, *speakers[:1])
        if has_babble(self.conditions) and not _takes_groups(self.estimator):
            given.pop("groups", None)  # they were for the babble
        params = self._addressed(given)
        estimator = clone(self.estimator)
        if not any(name.rpartition("__")[2] == "groups" for name in params):
            params |= rows_as_groups(estimator, len(recordings))
        times = len(copies) // len(recordings)
        for name, value in params.items():
            if name.rpartition("__")[2] in _PER_ROW:
                params[name] = np.concatenate([np.asarray(value)] * times)
        rows = np.tile(np.arange(len(recordings)), times)
        self.estimator_ = estimator.fit(copies, safe_indexing(y, rows), **params)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict, averaging over ``predict_speeds``.

        Parameters
        ----------
        X : array-like of paths, DataFrame, sequence of arrays or of ``(rate, array)``

        Returns
        -------
        ndarray of shape (n,)
            Intensities, or levels: the number of thresholds exceeded with an average probability
            above one half; where the estimator gives NaN, an error or NaN as its ``on_error`` says.
        """
        if len(self.predict_speeds) > 1 and is_classifier(self):
            proba = self._average("predict_proba", X)
            final = final_step(self.estimator_)[1]
            levels = getattr(final, "levels_", self.classes_)  # in ordinal order
            proba = proba[:, np.argsort(np.argsort(levels))]
            above = 1 - np.cumsum(proba, axis=1)[:, :-1]
            on_error = getattr(final, "on_error", "nan")
            levels = levels[(above > 0.5).sum(axis=1)]
            return nan_where(levels, np.isnan(proba).any(axis=1), on_error)
        return self._average("predict", X)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Probability of each level, averaged over ``predict_speeds``.

        Parameters
        ----------
        X : array-like of paths, DataFrame, sequence of arrays or of ``(rate, array)``

        Returns
        -------
        ndarray of shape (n, n_levels)
        """
        return self._average("predict_proba", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R² of a regressor, as anywhere in scikit-learn.

        Parameters
        ----------
        X : array-like of paths, DataFrame, sequence of arrays or of ``(rate, array)``
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Of votes the median level counts, for a regressor the mean.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float
        """
        predicted = as_labels(self.predict(X), "y_pred")[0]
        final = final_step(self.estimator_)[1]
        if is_classifier(self) and hasattr(final, "levels_"):
            given = getattr(final, "levels", None) is not None
            return level_accuracy(y, predicted, final.levels_, sample_weight, given=given)
        if is_classifier(self):
            return accuracy_score(y, predicted, sample_weight=sample_weight)
        true = mean_votes(y, getattr(final, "levels", None))
        return r2_score(true, predicted, sample_weight=sample_weight)

    @property
    def classes_(self) -> NDArray[Any]:
        """Levels in ascending order, shape (n_levels,)."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.classes_

    @property
    def _uses_groups(self) -> bool:
        """Whether groups given to ``fit`` are of use, for babble or to the estimator."""
        return has_babble(self.conditions) or _takes_groups(self.estimator)

    def _average(self, method: str, X: Any) -> NDArray[Any]:
        check_is_fitted(self, "estimator_")
        self._check_values(self.estimator_)
        recordings = self._recordings(X, reset=False)
        copies = [r.perturbed(speed=speed) for speed in self.predict_speeds for r in recordings]
        outputs = getattr(self.estimator_, method)(copies)
        if len(self.predict_speeds) == 1:
            return outputs
        return outputs.reshape(-1, len(recordings), *outputs.shape[1:]).mean(axis=0)

    def _recordings(self, X: Any, *, reset: bool) -> list[Recording]:
        """Recordings of X, with the numbers of their rows."""
        if reset:  # of an earlier fit on a table
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)
        if is_waveform_table(X):
            X = validated_waveforms(self, X, reset=reset)
        recordings = as_recordings(X)
        if not recordings:
            raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
        return [r if r.origin is not None else replace(r, origin=r.row) for r in recordings]

    def _perturbed(self, recordings: list[Recording], groups: Any = None) -> list[Recording]:
        copies = [r.perturbed(speed=speed) for speed in self.speeds for r in recordings]
        copies += [r.perturbed(gain_db=gain) for gain in self.gain_db for r in recordings]
        seed = new_generator(self.random_state).randint(np.iinfo(np.int32).max)
        for number, snr in enumerate(self.snr_db):
            copies += [r.perturbed(snr_db=snr, seed=seed + number) for r in recordings]
        voices = Voices(recordings, groups) if has_babble(self.conditions) else None
        for number, condition in enumerate(self.conditions, _FIRST_CONDITION):
            copies += [draw_copy(r, condition, seed + number, voices) for r in recordings]
        return copies

    def _check_values(self, estimator: Any) -> None:
        for name in ("speeds", "predict_speeds", "snr_db", "gain_db"):
            low, high = PERTURBATION_RANGES["speed" if "speeds" in name else name]
            for value in getattr(self, name):
                if not (isinstance(value, Real) and low <= float(value) <= high):
                    raise ValueError(f"{name}: {value!r} is not a number from {low:g} to {high:g}.")
        check_conditions(self.conditions)
        if len(self.predict_speeds) == 0:
            raise ValueError(
                "predict_speeds is empty: there would be nothing to predict from. Use (1,)."
            )
        averages = len(self.predict_speeds) > 1 and is_classifier(estimator)
        if averages and not hasattr(estimator, "predict_proba"):
            raise ValueError(
                "predict_speeds holds several speeds, but there are no probabilities to average: "
                f"{type(final_step(estimator)[1]).__name__} has no predict_proba. Use (1,)."
            )

    def _refuse_search(self) -> None:
        search = find_search(self.estimator)
        if search is not None:
            raise TypeError(
                f"There is a {type(search).__name__} inside WaveformPerturbation, which would test "
                "on copies of what it trains on. Turn it around: "
                f"{type(search).__name__}(WaveformPerturbation(pipeline), ...)."
            )

    def _addressed(self, params: dict[str, Any]) -> dict[str, Any]:
        """Parameters under the names that the estimator's ``fit`` knows them by."""
        if routing_enabled():
            return dict(process_routing(self, "fit", **params).estimator.fit)
        prefix, _ = final_step(self.estimator)
        return {f"{prefix}{k}" if k in _PER_ROW else k: v for k, v in params.items()}

    def get_metadata_routing(self) -> MetadataRouter:
        """Route what ``fit`` is given to the estimator.

        Returns
        -------
        MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.target_tags.multi_output = False
        tags.input_tags.string = True
        return tags
