"""Tools that all scripts share: stored results, tables, pictures, corpora, systems."""
