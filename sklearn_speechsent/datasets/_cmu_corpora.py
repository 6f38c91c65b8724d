"""CMU-MOSEI and CMU-MOSI in words: folds, levels, traits, licence and citation."""

import textwrap
from dataclasses import dataclass

import pandas as pd

from sklearn_speechsent.metrics.levels import round_to_levels

SPLITS = ("train", "valid", "test")
LEVEL_NAMES = {
    -3.0: "highly negative",
    -2.0: "negative",
    -1.0: "weakly negative",
    0.0: "neutral",
    1.0: "weakly positive",
    2.0: "positive",
    3.0: "highly positive",
}
JOINS = {
    "video": "whole videos and the times of the labels",
    "time": "one file per segment; its number was looked up in the transcripts by time",
    "clip_id": (
        "one file per segment, taken by clip_id as no transcripts were found: right only if "
        "audio and labels number the clips alike"
    ),
}
DESCR = """\
{name}
{underline}

Segments of monologues from {origin}, who give their opinions.
Each was rated for sentiment by several people from -3 (highly negative) to +3 (highly positive);
the target is their mean, a real number.

:Rows: {n_rows} of {n_videos} videos ({splits})
:Levels and counts (nearest level): {counts}
:Audio: {joined}
:Groups: videos. Who speaks is not known: one person may speak in several videos
:Split: the official folds
:Known traits: {traits}
:Licence: for research; neither audio nor labels may be passed on, and none come with this package
:Source: {source}

.. rubric:: References

{reference}
"""


@dataclass(frozen=True)
class Corpus:
    """What tells one corpus from the other.

    Parameters
    ----------
    name : str
    folder : str
        Of the data home.
    origin, traits, source, reference : str
        Parts of the description.
    """

    name: str
    folder: str
    origin: str
    traits: str
    source: str
    reference: str


MOSEI = Corpus(
    name="CMU-MOSEI",
    folder="cmu_mosei",
    origin="about 1000 speakers on YouTube",
    traits=(
        "consecutive segments of a video overlap; 223 start below 0 s (0 is taken); 6 lack times; "
        "two test videos have no labels; one training video is in no official fold; the times of "
        "some videos are known not to fit their sound"
    ),
    source="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    reference=(
        "Zadeh A, Liang PP, Poria S, Cambria E, Morency LP (2018). Multimodal Language Analysis\n"
        "in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph. ACL, 2236-2246.\n"
        "https://doi.org/10.18653/v1/P18-1208"
    ),
)
MOSI = Corpus(
    name="CMU-MOSI",
    folder="cmu_mosi",
    origin="89 speakers in 93 videos on YouTube",
    traits=(
        "one segment has no length; two segments are labelled twice, unlike (whole videos leave "
        "these five rows out)"
    ),
    source="http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/",
    reference=(
        "Zadeh A, Zellers R, Pincus E, Morency LP (2016). Multimodal Sentiment Intensity Analysis\n"
        "in Videos: Facial Gestures and Verbal Messages. IEEE Intelligent Systems 31(6), 82-88.\n"
        "https://doi.org/10.1109/MIS.2016.94"
    ),
)


def describe(corpus: Corpus, rows: pd.DataFrame, joined: str) -> str:
    """Describe what was loaded of a corpus.

    Parameters
    ----------
    corpus : Corpus
    rows : DataFrame
        Columns ``label, split, video_id``.
    joined : str
        What labels and files were joined on: a key of ``JOINS``.

    Returns
    -------
    str
    """
    levels = pd.Series(round_to_levels(rows["label"], list(LEVEL_NAMES)))
    counts = levels.value_counts().reindex(list(LEVEL_NAMES), fill_value=0)
    splits = rows["split"].value_counts().reindex(SPLITS, fill_value=0)
    text = DESCR.format(
        **vars(corpus),
        underline="=" * len(corpus.name),
        n_rows=len(rows),
        n_videos=rows["video_id"].nunique(),
        splits=", ".join(f"{name}: {n}" for name, n in splits.items()),
        counts=", ".join(f"{level:g}: {n}" for level, n in counts.items()),
        joined=JOINS[joined],
    )
    lines = [textwrap.fill(line, 100, subsequent_indent="    ") for line in text.splitlines()]
    return "\n".join(lines) + "\n"
