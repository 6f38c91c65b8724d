"""Bundles in an environment with other versions of scikit-learn and torch.

    python -m experiments.versions --out results/versions.json

Systems are fitted on recordings of RAVDESS and saved as bundles, with frozen networks in float32
and in bfloat16. A new environment is made with pip, of the package and other minor versions; there
the bundles are loaded, and predict other recordings. Probabilities may differ by 1e-4 (float32) or
1e-2 (bfloat16), and levels where the probability of being above a threshold is that near one half.
--python takes an environment that is there instead. Writes FILE.json and FILE.md, and ends with
status 1 if anything differs by more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.command import choose, make_parser
from experiments._harness.tables import save, table_of
from sklearn_speechsent import make_sentiment_pipeline, save_model
from sklearn_speechsent.datasets import load_ravdess

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = ("small", "medium", "large", "finetuned")
LIMITS = {"float32": 1e-4, "bfloat16": 1e-2}
#: Code of the other environment, given bundles, recordings and a folder; prints versions.
CODE = """
import json, sys, warnings
import numpy as np, sklearn, torch
from sklearn_speechsent import load_model

names, data, folder = json.loads(sys.argv[1])
warnings.simplefilter("ignore")
for name in names:
    model = load_model(f"{folder}/{name}.zip")
    np.savez(f"{folder}/{name}.npz", proba=model.predict_proba(data), level=model.predict(data))
print(json.dumps({"scikit-learn": sklearn.__version__, "torch": torch.__version__}))
"""


def make_environment(folder: Path, packages: list[str]) -> str:
    """Make an environment with this package and some versions of others.

    Parameters
    ----------
    folder : Path
    packages : list of str
        As pip takes them.

    Returns
    -------
    str
        Path of its Python.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", *packages, str(ROOT)], check=True)
    return python


def make_bundles(
    names: list[str], precisions: list[str], X: Any, y: Any, test: Any, folder: Path
) -> dict[str, Any]:
    """Fit and save systems; probabilities and levels of test recordings by name and precision.

    Parameters
    ----------
    names, precisions : list of str
    X, y : array-like
        Training recordings and their levels.
    test : array-like
    folder : Path

    Returns
    -------
    dict of str to (ndarray, ndarray)
    """
    expected = {}
    for name in names:
        params: dict[str, Any] = {}
        if name == "finetuned":
            params = {"max_epochs": 1, "random_state": 0}
        for precision in precisions:
            params["srext__precision"] = precision
            if name == "large":
                params["encoder__precision"] = precision
            model = make_sentiment_pipeline(name, memory=folder / "store", **params)
            model.fit(X, y)
            save_model(model, folder / f"{name}-{precision}.zip")
            expected[f"{name}-{precision}"] = model.predict_proba(test), model.predict(test)
    return expected


def compare(expected: Any, found: Any, limit: float) -> dict[str, Any]:
    """Differences of probabilities and of levels.

    Parameters
    ----------
    expected, found : pair of ndarray
        Probabilities of shape (n, n_levels) and levels.
    limit : float

    Returns
    -------
    dict
    """
    above = 1 - np.cumsum(expected[0], axis=1)[:, :-1]
    near_half = (np.abs(above - 0.5) <= limit).any(axis=1)
    other = expected[1] != found[1]
    difference = float(np.abs(expected[0] - found[0]).max())
    return {
        "difference": difference,
        "other_levels": int(other.sum()),
        "other_levels_not_near_half": int((other & ~near_half).sum()),
        "within": bool(difference <= limit and not (other & ~near_half).any()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Compare, print, write; return 1 if something differs by more than it may."""
    parser = make_parser(__doc__)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="separated by commas")
    parser.add_argument("--precisions", default=",".join(LIMITS), help="separated by commas")
    parser.add_argument("--packages", nargs="+", default=["scikit-learn==1.8.*", "torch==2.13.*"])
    parser.add_argument("--python", help="of an environment that is there")
    parser.add_argument("--every", type=int, default=3, help="train on every k-th recording (3)")
    options = parser.parse_args(arguments)
    corpus = load_ravdess()
    rows = np.arange(len(corpus.data))
    train, test = rows[:: options.every], rows[1 :: options.every][:60]
    data = [str(path) for path in np.asarray(corpus.data)[test]]
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place)
        X, y = np.asarray(corpus.data)[train], np.asarray(corpus.target)[train]
        precisions = choose(options.precisions, tuple(LIMITS), "precision")
        expected = make_bundles(choose(options.systems, SYSTEMS), precisions, X, y, data, folder)
        python = options.python or make_environment(folder / "other", options.packages)
        argument = json.dumps([list(expected), data, place])
        command = [python, "-c", CODE, argument]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place)
        found = {name: np.load(folder / f"{name}.npz") for name in expected}
        results = {
            name: compare(values, (found[name]["proba"], found[name]["level"]), LIMITS[precision])
            for name, values in expected.items()
            for precision in [name.rpartition("-")[2]]
        }
    columns = ["system", "max |Δp|", "other levels", "of these not near one half", "within"]
    lines = table_of(
        columns,
        [
            [
                name.replace("-", ", "),
                f"{r['difference']:.1e}",
                *(str(r[key]) for key in ("other_levels", "other_levels_not_near_half")),
                "yes" if r["within"] else "no",
            ]
            for name, r in results.items()
        ],
    )
    versions = {"here": _versions(), "there": json.loads(done.stdout)}
    document = {"versions": versions, "tested": len(data), "results": results}
    save(options.out, document, [*lines, f"{len(data)} recordings; {json.dumps(versions)}"])
    return 0 if all(result["within"] for result in results.values()) else 1


def _versions() -> dict[str, str]:
    import sklearn
    import torch

    return {"scikit-learn": sklearn.__version__, "torch": torch.__version__}


if __name__ == "__main__":
    sys.exit(main())
