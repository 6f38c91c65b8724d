"""The error of bundles."""


class BundleError(ValueError):
    """A model cannot be saved in a bundle, or a bundle is damaged, hostile or too new."""
