"""Features that are kept on disk, one entry per utterance."""
