"""Bundles next to pickles: size, time to load, and what other forms of a bundle save.

    python -m benchmarks.speed.bundles --out results/speed_bundles.json

Systems that are fitted on recordings of RAVDESS are saved with joblib and as bundles: with their
weights inside, with weights of the registry named, and with matrices in half precision. Each file
is loaded in turns in one process, on one thread; the time of a bundle includes its checksums and
the eight generated inputs that it computes. Also the largest difference of probabilities on the
recordings between what was saved and what was loaded. Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from benchmarks._timing import on_cores
from experiments._harness.command import choose, make_parser
from experiments._harness.tables import save, table_of
from sklearn_speechsent import load_model, make_sentiment_pipeline, save_model
from sklearn_speechsent.datasets import load_ravdess

MIB = 2**20
SYSTEMS = ("small", "medium", "large", "finetuned", "1/2SREx-SEResNet-34 + SpE + C")
FORMS: dict[str, dict[str, Any]] = {
    "bundle": {},
    "named weights": {"weights": "reference"},
    "float16": {"dtype": "float16"},
}


def seconds(call: Any) -> float:
    """Time of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(
    name: str, data: Any, y: Any, memory: Path, folder: Path, rounds: int
) -> dict[str, Any]:
    """Sizes in bytes, seconds and differences of one system."""
    warnings.simplefilter("ignore")
    params = {} if name in SYSTEMS[:3] else {"max_epochs": 1, "random_state": 0}
    model = make_sentiment_pipeline(name, memory=memory, n_jobs=1, **params).fit(data, y)
    expected = model.predict_proba(data)
    paths = {"pickle": folder / "model.joblib"}
    joblib.dump(model, paths["pickle"])
    for form, settings in FORMS.items():
        paths[form] = save_model(model, folder / f"{form}.zip", **settings)
    loads = {"pickle": joblib.load, **dict.fromkeys(FORMS, load_model)}
    times: dict[str, list[float]] = {form: [] for form in paths}
    for _ in range(rounds):
        for form, path in paths.items():
            times[form].append(seconds(lambda load=loads[form], path=path: load(path)))
    differences = {}
    for form, path in paths.items():
        found = loads[form](path).predict_proba(data[:20])
        differences[form] = float(np.abs(found - expected[:20]).max())
    return {
        "bytes": {form: path.stat().st_size for form, path in paths.items()},
        "seconds": {form: statistics.median(found) for form, found in times.items()},
        "difference": differences,
    }


def as_markdown(document: dict[str, Any]) -> list[str]:
    """Table of all systems."""
    forms = ["pickle", *FORMS]
    columns = ["system", *(f"{form}: MiB" for form in forms), *(f"{form}: s" for form in forms[:2])]
    columns += [f"{form}: max |Δp|" for form in forms[1:]]
    rows = []
    for name, found in document["systems"].items():
        rows.append([name, *(f"{found['bytes'][form] / MIB:.1f}" for form in forms)])
        rows[-1] += [f"{found['seconds'][form]:.2f}" for form in forms[:2]]
        rows[-1] += [f"{found['difference'][form]:.1g}" for form in forms[1:]]
    n = document["n_recordings"]
    return [
        *table_of(columns, rows),
        f"{n} training recordings; one thread; `{document['command']}`",
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="separated by commas")
    parser.add_argument("--every", type=int, default=1, help="every k-th recording (1)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    corpus = load_ravdess()
    data, y = list(corpus.data[:: options.every]), corpus.target[:: options.every]
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for name in choose(options.systems, SYSTEMS):
            folder = Path(tempfile.mkdtemp(dir=place))
            memory = Path(place, "features")
            settings = (name, data, y, memory, folder, options.rounds)
            found[name] = on_cores(measure, 1, *settings)
    command = "python -m benchmarks.speed.bundles" + f" --every {options.every}" * (
        options.every > 1
    )
    document = {"command": command, "n_recordings": len(data), "systems": found}
    save(options.out, document, as_markdown(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
