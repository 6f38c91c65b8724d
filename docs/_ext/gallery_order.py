"""Order of the gallery: as one would teach it."""

from pathlib import Path

ORDER = (
    "first_model",
    "steps",
    "speakers_never_cross",
    "metrics",
    "search",
    "learning_curve",
    "calibration",
    "voice_activity",
    "perturbation",
    "which_block",
    "ordinal_heads",
    "speakers",
    "timeline",
    "stream",
    "preferences",
    "onnx",
)


class Taught:
    """Sort key of examples; those without a place come last, by name."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, filename: str) -> tuple[int, str]:
        """Place of a file."""
        name = Path(filename).stem.removeprefix("plot_")
        return ORDER.index(name) if name in ORDER else len(ORDER), name
