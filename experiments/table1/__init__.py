"""Table of all systems in the same folds of speakers."""
