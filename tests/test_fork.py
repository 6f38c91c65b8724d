"""Web servers that fork after a prediction: the settings of docs/guide/deployment.md."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sklearn_speechsent import make_sentiment_pipeline

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "deployment.md"
#: Seconds after which a child that hangs is ended, by the system, whatever it waits for.
TIMEOUT = 120
CODE = f"""
import os, pickle, signal, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    pipeline, X, expected = pickle.load(file)
if sys.argv[2] == "warm":
    pipeline.predict_proba(X)
child = os.fork()
if child == 0:
    signal.alarm({TIMEOUT})
    os._exit(not np.allclose(pipeline.predict_proba(X), expected, atol=1e-5))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.parametrize(
    "setting, n_jobs, threads, warm",
    [
        ("`OMP_NUM_THREADS=1` in the environment", None, "1", "warm"),
        ("`make_sentiment_pipeline(n_jobs=1)`", 1, "2", "warm"),
        ("no prediction before the fork", None, "2", "cold"),
    ],
)
def test_a_forked_child_predicts(speech, tmp_path, setting, n_jobs, threads, warm):
    assert setting in GUIDE.read_text(encoding="utf-8")
    X = speech.data[:4]
    pipeline = make_sentiment_pipeline(n_jobs=n_jobs).fit(X, [-1, -1, 1, 1])
    expected = pipeline.predict_proba(X)
    (tmp_path / "model").write_bytes(pickle.dumps((pipeline, X, expected)))
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "model", warm],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    assert np.isfinite(expected).all()
