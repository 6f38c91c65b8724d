"""Cards of models: what one was measured to do, and blanks for what only a person knows."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from sklearn_speechsent._version import __version__
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.audio.conditions import (
    CONDITIONS,
    Voices,
    check_conditions,
    draw_copy,
    has_babble,
)
from sklearn_speechsent.frames import DomainWarning, NoSpeechWarning
from sklearn_speechsent.inference.scoring import fitted_levels
from sklearn_speechsent.inspection.markdown import literal, prose, yaml
from sklearn_speechsent.inspection.measured import MEASURES, Measured
from sklearn_speechsent.metrics import LevelConfusionDisplay
from sklearn_speechsent.utils.files import atomic_write
from sklearn_speechsent.utils.repeats import without_warnings

#: Texts that only a person can give: heading of a section, and what is to be filled in.
SECTIONS = {
    "summary": ("", "one paragraph: what the model hears, and in whose voices"),
    "intended_use": ("Intended use", "what it is for, and for whom"),
    "not_for": ("Not for", "what it must not be used for"),
    "training_data": (
        "Training data",
        "recordings, speakers, languages, how they were labelled, consent, licence",
    ),
    "limitations": ("Limits", "where it fails, and what was not tried"),
    "attribution": ("Licence and attribution", "licence of the model, whom to name and how"),
}
#: Texts in the header.
_HEADER = {
    "title": "name of the model",
    "dataset": "name of the corpus that it was measured on",
    "license": "licence, as an identifier such as cc-by-4.0",
    "language": "codes of languages, such as en",
}
#: File of the card in a folder, and of its picture.
_CARD, _PICTURE = "README.md", "confusion.png"
#: Of what is drawn for degraded copies.
_SEED = 0


@dataclass(frozen=True)
class ModelCard:
    """Card of a model: measured on held-out data, completed by a person.

    ``str(card)`` is Markdown with a header that the Hugging Face hub reads. What only a person
    knows is a marked blank, ``[to be filled in: ...]``, until :meth:`fill` gives it. Make a card
    with :meth:`from_pipeline` or :meth:`from_predictions`.

    Parameters
    ----------
    measured : dict of str to str
        Markdown of the measured sections, by heading.
    figures : dict of str to float
        Keys ``mae, macro_mae, qwk, spearman, within_one``, see
        :func:`~sklearn_speechsent.metrics.ordinal_report`.
    confusion : DataFrame of shape (n_levels, n_levels)
        Counts of recordings, true levels in rows.
    texts : dict of str to str
        What a person gave, see :meth:`fill`.

    See Also
    --------
    sklearn_speechsent.save_model : Saves a model with its card.

    Examples
    --------
    >>> from sklearn_speechsent.inspection import ModelCard
    >>> card = ModelCard.from_predictions(
    ...     [-1, 0, 1, 1], [-1, 0, 0, 1], levels=[-1, 0, 1], groups=["a", "a", "b", "b"],
    ...     title="Four recordings", license="cc-by-4.0")
    >>> round(card.figures["mae"], 2)
    0.25
    >>> print(str(card)[:60])
    ---
    library_name: "sklearn-speechsent"
    license: "cc-by-4.0"
    """

    measured: Mapping[str, str]
    figures: Mapping[str, float]
    confusion: pd.DataFrame
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: Any,
        X: Any,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        by: Any = None,
        conditions: Mapping[str, Any] | Sequence[str] = (),
        **texts: str,
    ) -> ModelCard:
        """Measure a fitted pipeline on recordings that it has not seen.

        Parameters
        ----------
        pipeline : estimator
            Fitted; takes recordings.
        X : array-like of paths, DataFrame, sequence of arrays or of ``(rate, array)``
            Recordings of speakers that the pipeline was not fitted on.
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            Their labels; of votes the median is the truth.
        groups : array-like of shape (n,), optional
            Speakers, which intervals are drawn over; without them there are no intervals.
        by : DataFrame or dict of str to array-like of shape (n,), optional
            Columns, such as sex and speaker: scores by each of their values.
        conditions : sequence of str, or dict of str to dict, default=()
            How recordings suffer, for scores on degraded speech: names of conditions of
            :class:`~sklearn_speechsent.WaveformPerturbation`, or perturbations by a name of
            yours, such as ``{"noise, 10 dB": {"noise": "pink", "snr_db": 10}}``. Babble is made of
            other speakers of ``X``.
        **texts : str
            See :meth:`fill`.

        Returns
        -------
        ModelCard

        Raises
        ------
        ValueError
            If lengths differ, a label is missing or off the pipeline's scale, a condition is
            unknown, or nothing was predicted.
        RecordingError
            If a recording cannot be used and the pipeline's ``on_error`` is ``"raise"``.

        Examples
        --------
        >>> from sklearn_speechsent import make_sentiment_pipeline
        >>> from sklearn_speechsent.datasets import make_speech_sentiment
        >>> from sklearn_speechsent.inspection import ModelCard
        >>> corpus = make_speech_sentiment(4, 2, levels=(-1, 1), random_state=0)
        >>> X, y, speakers = corpus.data, corpus.target, corpus.groups
        >>> pipeline = make_sentiment_pipeline(weights=None).fit(X[:4], y[:4])
        >>> card = ModelCard.from_pipeline(pipeline, X[4:], y[4:], groups=speakers[4:])
        >>> card.blanks
        ['summary', 'intended_use', 'not_for', 'training_data', 'limitations', 'attribution',
        'title', 'dataset', 'license', 'language']
        """
        if not isinstance(conditions, Mapping):
            check_conditions(conditions)
            conditions = {name: CONDITIONS[name] for name in conditions}
        check_conditions(list(conditions.values()))
        probabilistic = hasattr(pipeline, "predict_proba")
        recordings = as_recordings(X)
        check_consistent_length(recordings, y, groups)
        prediction = pipeline.predict(X)
        degraded = {}
        with without_warnings([NoSpeechWarning, DomainWarning, "no prediction"]):
            proba = pipeline.predict_proba(X) if probabilistic else None
            for name, condition in conditions.items():
                voices = Voices(recordings, groups) if has_babble([condition]) else None
                copies = [draw_copy(r, condition, _SEED, voices) for r in recordings]
                degraded[name] = pipeline.predict(copies)
        return cls.from_predictions(
            y,
            prediction,
            proba=proba,
            degraded=degraded,
            levels=fitted_levels(pipeline) if probabilistic else None,
            groups=groups,
            by=by,
            **texts,
        )

    @classmethod
    def from_predictions(
        cls,
        y: ArrayLike,
        prediction: ArrayLike,
        *,
        proba: ArrayLike | None = None,
        degraded: Mapping[str, ArrayLike] | None = None,
        levels: ArrayLike | range | None = None,
        groups: ArrayLike | None = None,
        by: Any = None,
        **texts: str,
    ) -> ModelCard:
        """Measure predictions, such as those of speakers that were held out in turn.

        A recording without a prediction (NaN) counts as the constant's, and the card tells how
        many there are.

        Parameters
        ----------
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            True intensities or levels; of votes the median.
        prediction : array-like of shape (n,)
            Predicted ones.
        proba : array-like of shape (n, n_levels), optional
            Probabilities of levels, in the order of ``classes_``, for calibration.
        degraded : dict of str to array-like of shape (n,), optional
            Predictions from degraded copies of the recordings, by what was done to them.
        levels : array-like of shape (n_levels,), optional
            The scale; by default the order of a category, or the whole numbers that labels span.
        groups : array-like of shape (n,), optional
        by : DataFrame or dict of str to array-like of shape (n,), optional
            As in :meth:`from_pipeline`.
        **texts : str
            See :meth:`fill`.

        Returns
        -------
        ModelCard

        Raises
        ------
        ValueError
            If lengths differ, a label is missing or off the scale, or nothing was predicted.

        Examples
        --------
        >>> from sklearn_speechsent.inspection import ModelCard
        >>> card = ModelCard.from_predictions([-1, 0, 1], [-1, 0, 0], by={"sex": ["f", "m", "m"]})
        >>> "m | 2 |" in str(card)
        True
        """
        measured = Measured(y, prediction, levels, groups)
        sections = {"Scores": measured.overview(), "Confusion": measured.confusion_table()}
        for name, column in {} if by is None else dict(by).items():
            sections[f"By {literal(name)}"] = measured.by(column, literal(name))
        if degraded:
            sections["On degraded speech"] = measured.degraded(degraded)
        if proba is not None:
            sections["Calibration"] = measured.calibration(proba)
        return cls(sections, measured.figures, measured.confusion()).fill(**texts)

    def fill(self, **texts: str) -> ModelCard:
        """Fill in what only a person knows.

        Parameters
        ----------
        **texts : str
            Markdown of the sections ``summary, intended_use, not_for, training_data, limitations,
            attribution``, in which HTML is shown as it is; plain text of ``title`` and
            ``dataset``; ``license``, an identifier such as ``"cc-by-4.0"``, and ``language``, codes
            such as ``"en"`` or ``"en, de"``.

        Returns
        -------
        ModelCard
            Another card.

        Raises
        ------
        ValueError
            If a name is unknown or a text is empty.

        Examples
        --------
        >>> from sklearn_speechsent.inspection import ModelCard
        >>> card = ModelCard.from_predictions([-1, 0, 1], [-1, 0, 0])
        >>> "Research on acting." in str(card.fill(intended_use="Research on acting."))
        True
        """
        known = [*SECTIONS, *_HEADER]
        for name, text in texts.items():
            if name not in known:
                raise ValueError(f"A card has no text {name!r}; it has {', '.join(known)}.")
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name}={text!r} must be a text. Leave it out for a blank.")
        return replace(self, texts={**self.texts, **texts})

    @property
    def blanks(self) -> list[str]:
        """Names of the texts that are still to be filled in."""
        return [name for name in (*SECTIONS, *_HEADER) if name not in self.texts]

    def __str__(self) -> str:
        return self._markdown()

    def save(self, path: str | os.PathLike[str], *, picture: bool = True) -> Path:
        """Write the card and next to it the picture of the confusion of levels.

        Each file is written completely or not at all.

        Parameters
        ----------
        path : str or Path
            File, or a folder that exists, for a file README.md.
        picture : bool, default=True
            Whether to draw the confusion (``confusion.png``), which needs matplotlib.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        OSError
            If a file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from sklearn_speechsent.inspection import ModelCard
        >>> card = ModelCard.from_predictions([-1, 0, 1], [-1, 0, 0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     card.save(folder, picture=False).name
        'README.md'
        """
        path = Path(path)
        path = path / _CARD if path.is_dir() else path
        if picture:
            atomic_write(path.with_name(_PICTURE), self._draw())
        link = f"![Confusion of levels]({_PICTURE})" if picture else ""
        atomic_write(path, self._markdown(link).encode())
        return path

    def _draw(self) -> bytes:
        """PNG of the confusion."""
        try:
            from matplotlib.figure import Figure
        except ImportError as exception:
            raise ImportError(
                "The picture of a card needs matplotlib: pip install sklearn-speechsent[plot], or "
                "save(path, picture=False)."
            ) from exception
        figure = Figure(layout="tight")
        LevelConfusionDisplay(self.confusion.to_numpy(), display_labels=self.confusion.index).plot(
            ax=figure.subplots()
        )
        content = io.BytesIO()
        # Without the version of matplotlib, the same picture has the same bytes.
        figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
        return content.getvalue()

    def _markdown(self, picture: str = "") -> str:
        parts = [f"---\n{yaml(self._header())}\n---", f"# {literal(self._text('title'))}"]
        for name, (heading, _) in SECTIONS.items():
            if name == "limitations":  # what was measured stands before its limits
                parts += [part for item in self._measured(picture) for part in item]
            parts += [f"## {heading}"] * bool(heading) + [prose(self._text(name))]
        return "\n\n".join(parts) + "\n"

    def _measured(self, picture: str) -> list[list[str]]:
        first = f"Measured by sklearn-speechsent {__version__} on {literal(self._text('dataset'))}."
        sections = [["## Measured", first]]
        for heading, text in self.measured.items():
            sections.append([f"### {heading}", text, *[picture] * (heading == "Confusion")])
        return [[part for part in section if part] for section in sections]

    def _text(self, name: str) -> str:
        asked = _HEADER[name] if name in _HEADER else SECTIONS[name][1]
        return self.texts.get(name, f"[to be filled in: {asked}]")

    def _header(self) -> dict[str, Any]:
        """What the hub reads; of texts only those that were given."""
        texts = self.texts
        header: dict[str, Any] = {"library_name": "sklearn-speechsent"}
        for name in ("license", "language"):
            if name in texts:
                given = [part.strip() for part in texts[name].split(",")]
                header[name] = given if len(given) > 1 else given[0]
        header["pipeline_tag"] = "audio-classification"
        header["tags"] = ["speech", "sentiment-analysis", "ordinal", "scikit-learn"]
        header["metrics"] = [name for _, _, name, _ in MEASURES.values()]
        if "dataset" not in texts:
            return header
        header["datasets"] = [texts["dataset"]]
        result = {
            "task": {"type": "audio-classification", "name": "Sentiment from speech"},
            "dataset": {"type": texts["dataset"], "name": texts["dataset"]},
            "metrics": [
                {"type": kind, "name": heading, "value": round(self.figures[key], 4)}
                for key, (heading, _, kind, _) in MEASURES.items()
            ],
        }
        header["model-index"] = [{"name": self._text("title"), "results": [result]}]
        return header
