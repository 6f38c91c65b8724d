"""Corpora of labelled speech: real ones from the data home, synthetic ones made on the spot."""

from sklearn_speechsent.datasets.ravdess import load_ravdess
from sklearn_speechsent.datasets.synthetic import make_speech_sentiment
from sklearn_speechsent.utils.data_home import get_data_home

__all__ = ["get_data_home", "load_ravdess", "make_speech_sentiment"]
