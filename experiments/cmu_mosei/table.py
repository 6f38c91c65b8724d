"""Table of the CMU-MOSEI experiment: figures next to published numbers, and pictures."""

from sklearn.metrics import mean_absolute_error

from experiments._harness.pictures import draw_confusion
from experiments._harness.tables import duration, save, table_of
from sklearn_speechsent.metrics import (
    nonnegative_accuracy_score,
    pearson_score,
    polarity_accuracy_score,
    rounded_accuracy_score,
    rounded_f1_score,
    threshold_accuracy_score,
)

LEVELS = (-3, -2, -1, 0, 1, 2, 3)
#: Segments of the official test fold, as in tables of the literature.
N_TEST = 4659

#: MAE, Acc-7, F1-7 and "Acc 2-class" as the paper prints them, by system and reading.
PUBLISHED = {
    ("2/2SREx-SEResNet-16 + C + R", "intensities"): (".715", "42.56", "42.55", "87.94"),
    ("2/2SREx-SEResNet-16 + C + R", "levels"): ("–", "41.68", "41.68", "87.97"),
    ("1/2SREx-SEResNet-16 + C + R", "intensities"): (".737", "42.32", "42.316", "87.91"),
    ("1/2SREx-SEResNet-16 + C + R", "levels"): ("41.865*", "41.86", "41.865", "86.59"),
    ("1/2SREx-SEResNet-16 + R", "intensities"): (".851", "36.36", "36.36", "86.50"),
    ("1/2SREx-SEResNet-16 + C", "levels"): (".888", "34.80", "34.796", "86.74"),
    ("1/2SREx-SEResNet-34 + SpE + C", "levels"): (".712", "43.16", "43.10", "88.15"),
}
#: The networks of the paper, in the order of its table.
NETWORKS = tuple(dict.fromkeys(name for name, _ in PUBLISHED))
#: MAE, Acc-7 and Acc-2 that the paper cites for the sound alone.
ELSEWHERE = {
    "TFN acoustic (2017)": ("1.23", "–", "65.1"),
    "MulT audio (2019)": (".764", "41.4", "65.6"),
    "ICCN audio (2019)": (".785", "38.59", "58.75"),
}

#: Key of a figure, its heading, whether it is in percent.
COLUMNS = (
    ("mae", "MAE", False),
    ("pearson", "r", False),
    ("acc7", "Acc-7", True),
    ("f1_7_micro", "F1-7 micro", True),
    ("threshold_accuracy", "threshold acc.", True),
    ("polarity_accuracy", "polarity, ≠ 0", True),
    ("nonnegative_accuracy", "polarity, ≥ 0", True),
)
#: The columns that have a published one on their right, and its heading; as in PUBLISHED.
PAPER = {
    "mae": "paper",
    "acc7": "paper",
    "f1_7_micro": "paper",
    "threshold_accuracy": 'paper, "Acc-2"',
}


def score(y, predictions, polarity):
    """Figures of one row.

    Parameters
    ----------
    y : ndarray of shape (n,)
        True intensities, not rounded.
    predictions : ndarray of shape (n,)
        Intensities or levels.
    polarity : ndarray of shape (n,)
        Its sign is the predicted polarity.

    Returns
    -------
    dict of str to float
    """
    return {
        "mae": float(mean_absolute_error(y, predictions)),
        "pearson": pearson_score(y, predictions),
        "acc7": rounded_accuracy_score(y, predictions, LEVELS),
        "f1_7_micro": rounded_f1_score(y, predictions, LEVELS, average="micro"),
        "threshold_accuracy": threshold_accuracy_score(y, predictions, LEVELS),
        "polarity_accuracy": polarity_accuracy_score(y, polarity),
        "nonnegative_accuracy": nonnegative_accuracy_score(y, polarity),
    }


def _cells(row):
    """Figures of a row as text, each followed by the published one where there is such a column."""
    published = PUBLISHED.get((row["system"], row["reading"]), ("",) * len(PAPER))
    published = dict(zip(PAPER, published, strict=True))
    for key, _, percent in COLUMNS:
        yield f"{100 * row[key]:.2f}" if percent else f"{row[key]:.3f}"
        if key in published:
            yield published[key]


def as_markdown(document):
    """Lines of the table, and of the text that explains it.

    Parameters
    ----------
    document : dict
        ``command, settings, corpus, notes, rows, failed``.

    Returns
    -------
    list of str
    """
    heads = [h for key, h, _ in COLUMNS for h in (h, PAPER.get(key)) if h is not None]
    rows = []
    for row in document["rows"]:
        name = row["system"] + (f", {row['reading']}" if row["reading"] else "")
        rows.append([name, *_cells(row), duration(row["fit_seconds"])])
    lines = table_of(["system", *heads, "fit"], rows)
    corpus, settings = document["corpus"], document["settings"]
    parts = ", ".join(
        f"{name} {part['segments']} segments of {part['videos']} videos ({part['hours']:.2f} h)"
        for name, part in corpus["parts"].items()
    )
    of_settings = ", ".join(f"{name} {value}" for name, value in settings.items())
    lines += [f"**{note}**\n" for note in document["notes"]]
    lines += [
        f"{parts}. Fitted on train, validated on valid, scored once on test. {of_settings}. "
        f"`{document['command']}`",
        "",
        "MAE and Pearson's r on predictions as they are; Acc-7, F1-7 and threshold accuracy (mean "
        "accuracy over the six thresholds) rounded and clipped to -3 … 3. Polarity, ≠ 0: negative "
        "against positive where the truth is not 0, an exact 0 counting as negative (always "
        f"positive: {100 * corpus['always_positive']:.2f}); ≥ 0: negative against the rest, over "
        "all segments. Polarity of an ordinal head is that of P(y > 0) - P(y < 0). A system with "
        "two heads is fitted once and read twice. Fit: training and prediction, with features "
        "that were computed before. Segments in which nobody speaks are left out of training, and "
        "count as the median of train in test.",
        "",
        "Columns of the paper are comparable with the column on their left, if the test fold is "
        f"whole ({N_TEST} segments, here {corpus['parts']['test']['segments']}) and the sound is "
        'that of CMU-MOSEI. What it calls "Acc 2-class" is comparable with threshold accuracy, '
        "not with polarity: a constant reaches 86.43 there, and 62.85 in polarity. r and polarity "
        "are not in the paper. *As printed; evidently a slip.",
        "",
        "Sound alone, other papers (as cited there; their Acc-2 is polarity):",
        "",
        *table_of(
            ("system", "MAE", "Acc-7", "Acc-2"),
            [[name, *figures] for name, figures in ELSEWHERE.items()],
        ),
    ]
    if document["failed"]:
        lines += [*(f"- failed: {name}: {why}" for name, why in document["failed"].items())]
    return lines


def write_table(folder, document):
    """Write table.md and table.json.

    Parameters
    ----------
    folder : Path
    document : dict
    """
    save(folder / "table.json", document, as_markdown(document), show=False)


def draw_best(folder, rows, results, y):
    """Draw the confusion of levels of the system with the lowest error.

    Parameters
    ----------
    folder : Path
    rows : list of dict
        Of the table.
    results : dict of str to (dict or None)
        Readings of each system.
    y : ndarray of shape (n,)
    """
    rows = [row for row in rows if row["system"] in results]
    if rows:
        best = min(rows, key=lambda row: row["mae"])
        predictions, _ = results[best["system"]]["readings"][best["reading"]]
        title = f"{best['system']}, {best['reading']}"
        draw_confusion(folder / "confusion.png", y, predictions, LEVELS, title)
