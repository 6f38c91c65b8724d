"""The classical rival under the same protocol: openSMILE's eGeMAPS functionals and an SVR.

    pip install "sklearn-speechsent[benchmark]"
    python benchmarks/egemaps.py

Needs RAVDESS in the data home (environment variable SPEECHSENT_DATA). C is searched inside the
training folds; out-of-fold predictions of GroupKFold(8) over actors are pooled and scored once.
"""

import os
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data_home"
if BESIDE.is_dir():
    os.environ.setdefault("SPEECHSENT_DATA", str(BESIDE))

import numpy as np
import opensmile
import pandas as pd
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from tqdm.auto import tqdm

from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.metrics import ordinal_report


def main():
    """Extract, cross-validate, print."""
    corpus = load_ravdess()
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    functionals = [smile.process_file(file) for file in tqdm(corpus.data, unit="file")]
    X, y, groups = pd.concat(functionals).to_numpy(), corpus.target, np.asarray(corpus.groups)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SVR()),
        {"svr__C": [0.1, 0.3, 1.0, 3.0, 10.0]},
        scoring="neg_mean_absolute_error",
        cv=GroupKFold(5),
        n_jobs=-1,
    )
    models = {"constant (median)": DummyRegressor(strategy="median"), "eGeMAPS + SVR": search}
    rows = {}
    for name, model in models.items():
        predictions = np.full(len(y), np.nan)
        for train, test in GroupKFold(8).split(X, y, groups):
            inner = {"groups": groups[train]} if model is search else {}
            predictions[test] = model.fit(X[train], y[train], **inner).predict(X[test])
        rows[name] = ordinal_report(y, predictions, levels=corpus.levels)
    print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
