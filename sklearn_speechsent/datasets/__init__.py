"""Corpora of labelled speech, real ones in the data home and synthetic ones."""

from sklearn_speechsent.datasets.annotations import count_votes, pivot_ratings
from sklearn_speechsent.datasets.cmu import load_cmu_mosei, load_cmu_mosi
from sklearn_speechsent.datasets.crema_d import load_crema_d
from sklearn_speechsent.datasets.emodb import fetch_emodb, load_emodb
from sklearn_speechsent.datasets.label_display import LabelDistributionDisplay
from sklearn_speechsent.datasets.manifest import load_manifest
from sklearn_speechsent.datasets.ravdess import fetch_ravdess, load_ravdess
from sklearn_speechsent.datasets.segments import from_segment_index, to_segment_index
from sklearn_speechsent.datasets.synthetic import make_speech_sentiment
from sklearn_speechsent.utils.files import get_data_home

__all__ = [
    "LabelDistributionDisplay",
    "count_votes",
    "fetch_emodb",
    "fetch_ravdess",
    "from_segment_index",
    "get_data_home",
    "load_cmu_mosei",
    "load_cmu_mosi",
    "load_crema_d",
    "load_emodb",
    "load_manifest",
    "load_ravdess",
    "make_speech_sentiment",
    "pivot_ratings",
    "to_segment_index",
]
