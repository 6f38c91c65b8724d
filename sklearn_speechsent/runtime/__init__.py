"""Scores of exported models, with NumPy, onnxruntime, soundfile and soxr alone.

Neither torch nor scikit-learn is imported, and nothing else of this package.
"""

from sklearn_speechsent.runtime.sentiment import OnnxSentiment, Score

__all__ = ["OnnxSentiment", "Score"]
