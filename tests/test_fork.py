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
    X, cases = pickle.load(file)
for setting, warm, pipeline, expected in cases:
    if warm:
        pipeline.predict_proba(X)
    child = os.fork()
    if child == 0:
        signal.alarm({TIMEOUT})
        os._exit(not np.allclose(pipeline.predict_proba(X), expected, atol=1e-5))
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"{{setting}}: {{code}}")
"""
#: Settings by their name in the guide, n_jobs, and whether a prediction comes before the fork; by
#: threads of a process. Nothing may come before the first fork of the second process.
SETTINGS = {
    "1": [("`OMP_NUM_THREADS=1` in the environment", None, True)],
    "2": [
        ("no prediction before the fork", None, False),
        ("`make_sentiment_pipeline(n_jobs=1)`", 1, True),
    ],
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.parametrize("threads", SETTINGS)
def test_a_forked_child_predicts(speech, tmp_path, threads):
    X, cases = speech.data[:2], []
    for setting, n_jobs, warm in SETTINGS[threads]:
        assert setting in GUIDE.read_text(encoding="utf-8")
        pipeline = make_sentiment_pipeline(n_jobs=n_jobs).fit(X, [-1, 1])
        cases.append((setting, warm, pipeline, pipeline.predict_proba(X)))
        assert np.isfinite(cases[-1][-1]).all()
    (tmp_path / "models").write_bytes(pickle.dumps((X, cases)))
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "models"],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
