"""Time, memory and disk of large corpora."""
