"""Mutated recordings and tables, in processes that may crash."""
