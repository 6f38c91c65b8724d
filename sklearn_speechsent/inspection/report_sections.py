"""Report of :func:`report`: its tables, and the sections of its page."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_speechsent._version import __version__
from sklearn_speechsent.audio import Recording, RecordingError
from sklearn_speechsent.inspection.calibration import ThresholdCalibration
from sklearn_speechsent.inspection.calibration_display import CalibrationDisplay
from sklearn_speechsent.inspection.card import SECTIONS, ModelCard
from sklearn_speechsent.inspection.explanation_display import ExplanationDisplay
from sklearn_speechsent.inspection.occlusion import Explanation
from sklearn_speechsent.inspection.out_of_fold import OutOfFold
from sklearn_speechsent.inspection.report_page import (
    Cell,
    Item,
    Section,
    Table,
    picture,
    player,
    render,
)
from sklearn_speechsent.metrics import LevelConfusionDisplay
from sklearn_speechsent.metrics.levels import level_index
from sklearn_speechsent.utils.versions import installed_versions

#: Names of rows of the table of scores.
MODEL, CONSTANT = "this model", "constant"
#: Measures of the table of scores and of the table of groups.
MEASURES = ("mae", "macro_mae", "qwk", "within_one")
GROUP_MEASURES = ("mae", "bias", "macro_mae", "qwk")
_HEADINGS = {
    "mae": "MAE",
    "macro_mae": "macro MAE",
    "qwk": "weighted kappa",
    "within_one": "within one level",
    "bias": "mean error",
}
_GROUP_HEADINGS = [_HEADINGS[name] for name in GROUP_MEASURES]
#: Longest recording that can be listened to (s), and speakers that are listed one by one.
_LONGEST, _SPEAKERS = 30.0, 24
_PACKAGES = ("numpy", "scipy", "scikit-learn", "skorch", "torch", "pandas", "soundfile", "soxr")


@dataclass(frozen=True)
class Report:
    """What a report says, as tables. :func:`report` makes it.

    Parameters
    ----------
    path : Path
        The page.
    predictions : DataFrame of n rows
        Of :func:`~sklearn_speechsent.inspection.cross_val_ordinal`, and ``duration`` (s; NaN of a
        recording that cannot be read).
    scores : DataFrame
        One row per system, with the columns of
        :func:`~sklearn_speechsent.inspection.group_report` and ``p_value``: how often a difference
        of MAE from the pipeline as large comes about by chance.
    groups : DataFrame
        Of :func:`~sklearn_speechsent.inspection.group_report`.
    worst : DataFrame
        The rows of ``predictions`` with the largest errors of the expected level, and ``row``,
        their positions in ``X``.
    calibration : ThresholdCalibration or None
        None of a pipeline without probabilities.
    explanations : dict of int to Explanation
        By position in ``X``: of the recording with the largest error, the median one and the
        smallest one, as far as they can be explained.
    card : ModelCard
        Of the same predictions.
    """

    path: Path
    predictions: pd.DataFrame
    scores: pd.DataFrame
    groups: pd.DataFrame
    worst: pd.DataFrame
    calibration: ThresholdCalibration | None
    explanations: Mapping[int, Explanation]
    card: ModelCard


@dataclass(frozen=True)
class Evaluation:
    """What the page is made of, next to the tables of a report.

    Parameters
    ----------
    recordings : list of Recording
    scale : ndarray of shape (n_levels,)
    truth, predicted : ndarray of shape (n,)
        Labels and predictions as numbers; levels of text are positions from 0.
    found : OutOfFold
    by : DataFrame of n rows
        Groupings.
    pipeline : estimator
    seconds : dict of str to float
        What took how long.
    audio : bool
        Whether voices go onto the page.
    """

    recordings: list[Recording]
    scale: NDArray[Any]
    truth: NDArray[np.floating]
    predicted: NDArray[np.floating]
    found: OutOfFold
    by: pd.DataFrame
    pipeline: Any
    seconds: Mapping[str, float]
    audio: bool


def page(report: Report, made: Evaluation, now: datetime) -> bytes:
    """Page of a report.

    Parameters
    ----------
    report : Report
    made : Evaluation
    now : datetime

    Returns
    -------
    bytes
        HTML.
    """
    texts = report.card.texts
    n, n_speakers = len(made.truth), report.predictions["speaker"].nunique()
    sections = [
        _data(report, made),
        _protocol(report, made),
        _scores(report, n_speakers),
        _confusion(report, made),
        _calibration(report),
        _groups(report),
        _worst(report, made),
        _explanations(report, made),
        _known(texts),
        _making(made, now),
    ]
    where = f" of {texts['dataset']}" if "dataset" in texts else ""
    return render(
        title=texts.get("title", "Sentiment from speech: a report"),
        subtitle=(
            f"{n} recordings of {n_speakers} speakers{where}, {now:%Y-%m-%d}, "
            f"sklearn-speechsent {__version__}"
        ),
        tiles=list(_tiles(report)),
        sections=sections,
    )


def _tiles(report: Report) -> Iterable[tuple[str, str, list[str]]]:
    """What is read first: measures, intervals, and the constant's."""
    row, constant = report.scores.loc[MODEL], report.scores.loc[CONSTANT]
    for name, better in (("mae", "lower"), ("qwk", "higher"), ("within_one", "higher")):
        notes = [f"interval {_interval(row, name)}", f"constant {constant[name]:.2f}"]
        yield f"{_HEADINGS[name]}, {better} is better", f"{row[name]:.2f}", notes
    if report.calibration is not None:
        error, perfect = report.calibration.error, report.calibration.perfect
        perfectly = f"a perfect forecaster would have {perfect:.3f}"
        yield "calibration error, lower is better", f"{error:.3f}", [perfectly]


def _interval(row: Any, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "–" if np.isnan(low) else f"{_signed(name, low)} to {_signed(name, high)}"


def _signed(name: str, value: float) -> str:
    """Number with a minus sign; a bias with a plus, too, unless it rounds to 0."""
    value = round(value, 2) + 0.0
    plus = "+" if name == "bias" and value > 0 else ""
    return f"{plus}{value:.2f}".replace("-", "−")


def _score(row: Any, name: str) -> Cell:
    """Score, and below it its interval, if there is one."""
    interval = _interval(row, name)
    value = "–" if np.isnan(row[name]) else _signed(name, row[name])
    return value if interval == "–" else (value, interval)


def _time(seconds: float) -> str:
    """Duration as people read it."""
    if np.isnan(seconds):
        return "unknown"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _data(report: Report, made: Evaluation) -> Section:
    frame = report.predictions
    durations, speakers = frame["duration"], frame["speaker"]
    index = level_index(made.truth, np.unique(_values(made)))
    rows: list[list[Cell]] = []
    for k, level in enumerate(made.scale.tolist()):
        own = index == k
        seconds = durations[own].sum() if own.any() else 0.0
        counts = [f"{own.sum()}", f"{own.mean():.0%}", f"{speakers[own].nunique()}"]
        rows.append([_level(level), *counts, _time(seconds)])
    each = speakers.value_counts()
    known = durations.dropna()
    of_each = " to ".join(map(str, sorted({each.min(), each.max()})))
    texts = [
        f"{len(frame)} recordings of {len(each)} speakers, {of_each} of each, "
        f"{_time(durations.sum())} in all."
    ]
    if len(known):
        low, middle, high = known.quantile([0, 0.5, 1])
        texts[0] += f" They last {_time(low)} to {_time(high)}, half of them under {_time(middle)}."
    if unread := int(durations.isna().sum()):
        texts.append(f"{unread} of them cannot be read.")
    if not np.isin(made.truth, _values(made)).all():
        texts.append("Labels between levels count as the nearest one in this table.")
    headings = ["level", "recordings", "share", "speakers", "duration"]
    return Section("data", "Data", texts, tables=[Table("Recordings by level", headings, rows)])


def _values(made: Evaluation) -> NDArray[np.floating]:
    """Levels as numbers."""
    scale = made.scale
    return np.arange(float(len(scale))) if scale.dtype.kind == "U" else scale.astype(np.float64)


def _level(level: Any) -> str:
    """Level as it is written: a number with a minus sign, or text."""
    return f"{level:g}".replace("-", "−") if isinstance(level, Real) else str(level)


def _protocol(report: Report, made: Evaluation) -> Section:
    speakers, folds = report.predictions["speaker"], made.found.folds
    if len(folds) == 1:
        text = (
            "The model was fitted before, and is asked about all recordings. Whether it has met "
            "their speakers in training cannot be seen here. The other rows of the table of scores "
            "are cross-validated by speaker."
        )
        return Section("protocol", "Protocol", [text])
    text = (
        f"Cross-validation by speaker in {len(folds)} folds: each recording is predicted by a "
        "model that was fitted without its speaker. All that follows rests on these predictions. "
        "Intervals (95 %) are by bootstrap over speakers: they say how the same might look with "
        "other speakers, recorded and labelled in the same way, and nothing about other languages, "
        "microphones or occasions."
    )
    rows = []
    for number, (train, test) in enumerate(folds):
        names = [str(name) for name in sorted(speakers.iloc[test].unique(), key=str)]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        rows.append([str(number), str(len(train)), str(len(test)), shown])
    headings = ["fold", "recordings in training", "held out", "speakers held out"]
    return Section(
        "protocol", "Protocol", [text], tables=[Table("Folds", headings, rows, text=True)]
    )


def _scores(report: Report, n_speakers: int) -> Section:
    unanswered = bool(report.scores["unanswered"].any())
    rows = []
    for name, row in report.scores.iterrows():
        cells = [_score(row, measure) for measure in MEASURES]
        p_value = row["p_value"]
        cells.append("–" if np.isnan(p_value) else f"{p_value:.3f}")
        rows.append([str(name), *cells, *[f"{row['unanswered']:.0f}"] * unanswered])
    headings = [
        *(_HEADINGS[name] for name in MEASURES),
        "p value",
        *["without an answer"] * unanswered,
    ]
    texts = [
        "MAE is the mean distance from the label, macro MAE its mean over levels, each of which "
        "counts alike. Lower is better; of the other two, higher. The constant always answers the "
        "median label of its training part: a model that is not better than that has learned "
        "nothing. The p value is how often a difference of MAE from this model as large comes "
        "about when the two exchange their predictions for some of the speakers by chance."
    ]
    if unanswered:
        texts.append("Recordings without an answer count as the median label.")
    if n_speakers < 8:
        texts.append(f"{n_speakers} speakers are few: other voices may differ by more.")
    caption = "Scores on held-out speakers, with intervals"
    return Section("scores", "Scores", texts, tables=[Table(caption, ["system", *headings], rows)])


def _confusion(report: Report, made: Evaluation) -> Section:
    counts = report.card.confusion
    names = [_level(level) for level in counts.index.tolist()]
    within = report.scores.loc[MODEL, "within_one"]
    exact = np.trace(counts.to_numpy()) / counts.to_numpy().sum()

    def draw() -> Any:
        from matplotlib import pyplot

        figure, ax = pyplot.subplots(figsize=(5.2, 4.4), layout="constrained")
        LevelConfusionDisplay(counts.to_numpy(), display_labels=names).plot(ax=ax)
        return figure

    said = (
        f"{exact:.0%} of the recordings get their own level, and {within:.0%} that or a neighbour."
    )
    alt = f"Confusion of levels, true ones in rows. {said} The table has the counts."
    rows = [
        [name, *map(str, row)] for name, row in zip(names, counts.to_numpy().tolist(), strict=True)
    ]
    table = Table("Recordings by true (rows) and predicted level (columns)", ["true", *names], rows)
    texts = [f"{said} Cells are shaded by their share of the true level."]
    return Section("confusion", "Confusion", texts, [picture(draw, alt)], [table], pairs=True)


def _calibration(report: Report) -> Section:
    found = report.calibration
    if found is None:
        return Section(
            "calibration",
            "Calibration",
            ["The model gives no probabilities, so there is nothing that could be calibrated."],
        )

    def draw() -> Any:
        from matplotlib import pyplot

        figure, ax = pyplot.subplots(figsize=(4.8, 4.8), layout="constrained")
        CalibrationDisplay({"all thresholds": found}).plot(ax)
        return figure

    texts = [
        "A probability is calibrated if it comes true as often as it says. Of all pairs of a "
        "recording and a threshold of the scale, the table has the mean predicted probability that "
        "the level lies above, and how often it does.",
        f"Expected calibration error: {found.error:.3f}; a perfect forecaster of as many "
        f"recordings has {found.perfect:.3f}. Ranked probability "
        f"error: {found.ranked_probability_error:.3f}.",
    ]
    rows = [
        [f"{predicted:.2f}", f"{observed:.2f}", f"{n:.0f}"]
        for predicted, observed, n in found.reliability.itertuples(index=False)
    ]
    table = Table("Predicted and observed", ["predicted", "observed", "pairs"], rows)
    alt = (
        "Observed share over predicted probability, next to the diagonal of perfect calibration. "
        "The table has the same points."
    )
    return Section("calibration", "Calibration", texts, [picture(draw, alt)], [table], pairs=True)


def _groups(report: Report) -> Section:
    texts = [
        "Mean error: predicted less true; above 0 the model hears more positive than is. A "
        "difference is that of the MAE of the group from the MAE of all other recordings. With "
        "many groups, one in twenty intervals of differences leaves out 0 by chance."
    ]
    tables = []
    for name, rows in report.groups.iloc[1:].groupby(level="group", sort=False):
        rows = rows.droplevel("group")
        if name == "speaker":
            tables.append(_by_speaker(rows))
            continue
        headings = [name, "recordings", "speakers", *_GROUP_HEADINGS, "difference of MAE"]
        cells = [
            [str(value), *_counts(row), *_group_scores(row), _difference(row)]
            for value, row in rows.iterrows()
        ]
        tables.append(Table(f"By {name}", headings, cells))
    return Section("groups", "Groups and speakers", texts, tables=tables)


def _by_speaker(rows: pd.DataFrame) -> Table:
    caption = "By speaker, the largest MAE first"
    if len(rows) > _SPEAKERS:
        caption += f": {_SPEAKERS} of {len(rows)} speakers"
    shown = rows.sort_values("mae", ascending=False, kind="stable").head(_SPEAKERS)
    cells = [[str(name), _counts(row)[0], *_group_scores(row)] for name, row in shown.iterrows()]
    return Table(caption, ["speaker", "recordings", *_GROUP_HEADINGS], cells)


def _counts(row: Any) -> list[str]:
    return [f"{row['n']:.0f}", f"{row['speakers']:.0f}"]


def _group_scores(row: Any) -> list[Cell]:
    return [_score(row, name) for name in GROUP_MEASURES]


def _difference(row: Any) -> Cell:
    """Difference of a group's MAE from that of all others."""
    if np.isnan(row["mae_difference"]):
        return "–"
    low, high = row["mae_difference_low"], row["mae_difference_high"]
    value = _signed("bias", row["mae_difference"])
    interval = f"{_signed('bias', low)} to {_signed('bias', high)}"
    return value if np.isnan(low) else (value, interval)


def _worst(report: Report, made: Evaluation) -> Section:
    rows, durations = report.worst["row"].tolist(), report.worst["duration"].tolist()
    voices = [None] * len(rows)
    if made.audio:
        voices = [_voice(made.recordings[r], s) for r, s in zip(rows, durations, strict=True)]
    items = [
        Item(_name(made.recordings[row]), _said(report, row), voice)
        for row, voice in zip(rows, voices, strict=True)
    ]
    texts = [
        "The recordings with the largest errors of the expected level. Listen to them first: some "
        "labels may be wrong, some recordings damaged, and some voices unlike all others."
    ]
    if not made.audio:
        texts.append("Voices were left out of this page.")
    elif silent := voices.count(None):
        texts.append(
            f"{silent} of them cannot be listened to here: they last more than {_LONGEST:.0f} s, "
            "or cannot be read."
        )
    return Section("worst", "Largest errors", texts, recordings=items)


def _voice(recording: Recording, seconds: float) -> Any:
    """Recording for a player, or None if it is too long or cannot be read."""
    try:
        return player(recording) if seconds <= _LONGEST else None
    except RecordingError:
        return None


def _name(recording: Recording) -> str:
    """Row, and the file without its folders."""
    if isinstance(recording.source, str):
        recording = replace(recording, source=os.path.basename(recording.source))
    return str(recording)


def _said(report: Report, row: int) -> str:
    """Truth, prediction and circumstances of a recording."""
    # Not as one row, which would turn whole numbers into real ones.
    found = {name: column.iloc[row] for name, column in report.predictions.items()}
    level = "" if report.calibration is None else f"predicted {_level(found['level'])}, "
    return (
        f"label {_level(found['truth'])}, {level}expected level {_signed('', found['expected'])} · "
        f"speaker {found['speaker']}, fold {found['fold']}, {_time(found['duration'])}"
    )


def _explanations(report: Report, made: Evaluation) -> Section:
    pictures = []
    for row, found in report.explanations.items():
        time, band = (_strongest(rows) for rows in (found.time, found.frequency))
        said = (
            f"{_name(made.recordings[row])}: {_said(report, row)}. The largest parts: "
            f"{time['start']:.1f} to {time['end']:.1f} s adds {_signed('bias', time['change'])}, "
            f"{band['low']:.0f} to {band['high']:.0f} Hz {_signed('bias', band['change'])}."
        )
        alt = f"Spectrogram of {_name(made.recordings[row])}, and what its parts add."
        pictures.append(picture(_drawn(found), alt, said))
    texts = [
        "What parts of a recording add to its prediction, by taking each of them away: below the "
        "spectrogram windows of time, on its right bands of frequency. Blue parts make the "
        "prediction more positive, red ones less. Outermost is what they add to the probability "
        "that the level lies above each threshold. What is explained is the prediction, not the "
        "speaker."
    ]
    if not pictures:
        texts.append("No recording is long enough to be explained.")
    elif len(pictures) == 3:
        texts.append("The recording with the largest error, the median one and the smallest one.")
    return Section("explanations", "Explanations", texts, pictures)


def _drawn(found: Explanation) -> Any:
    return lambda: ExplanationDisplay(found).plot().figure_


def _strongest(rows: pd.DataFrame) -> Any:
    return rows.loc[rows["change"].abs().idxmax()]


def _known(texts: Mapping[str, str]) -> Section:
    """What only a person knows."""
    asked = {name: heading or "Summary" for name, (heading, _) in SECTIONS.items()}
    given = [(heading, texts[name]) for name, heading in asked.items() if name in texts]
    given += [(name.capitalize(), texts[name]) for name in ("language", "license") if name in texts]
    said = ["What no measurement tells, in the words of those who made this."]
    if lacking := [heading.lower() for name, heading in asked.items() if name not in texts]:
        said.append(f"Not filled in: {', '.join(lacking)}.")
    return Section("known", "What it is for", said, given=given)


def _making(made: Evaluation, now: datetime) -> Section:
    """Versions, seeds and times."""
    params = made.pipeline.get_params() if hasattr(made.pipeline, "get_params") else {}
    facts = {**installed_versions(_PACKAGES), "system": platform.platform()}
    facts |= {k: repr(v) for k, v in params.items() if k.split("__")[-1] == "random_state"}
    facts |= {f"{name}, time": _time(seconds) for name, seconds in made.seconds.items()}
    facts["written"] = f"{now:%Y-%m-%d %H:%M} UTC"
    rows = [[name, value] for name, value in facts.items()]
    table = Table("Versions, seeds and times", ["what", "found"], rows, text=True)
    texts = ["Where a random_state is None, another run may give slightly different numbers."]
    return Section("making", "How it was made", texts, tables=[table], code=repr(made.pipeline))
