"""Parity of exported models with the pipelines that they were made of."""
