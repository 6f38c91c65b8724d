"""The default pipeline right after installation: empty data home, no network, no download."""

import os
import subprocess
import sys

CODE = """
import socket, sys

attempts = []

def refuse(event, args):
    if event.startswith("socket."):
        attempts.append(event)
        raise RuntimeError(f"this test is offline, but {event} was called")

sys.addaudithook(refuse)  # also called for sockets that C code opens
try:
    socket.create_connection(("127.0.0.1", 9))
except RuntimeError:
    pass
else:
    raise SystemExit("sockets are not blocked")
attempts.clear()

import joblib, numpy as np, pandas as pd
from sklearn_speechsent import WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.datasets import make_speech_sentiment

folder = sys.argv[1]
corpus = make_speech_sentiment(2, 2, levels=(-1, 1), out_dir=folder, random_state=0)
pipeline = WaveformPerturbation(make_sentiment_pipeline(n_jobs=1))
X = pd.DataFrame({"file": corpus.data, "start": 0.5, "end": 1.5})
pipeline.fit(X, corpus.target)
shown = X[1:3]  # of both speakers
level, proba = pipeline.predict(shown), pipeline.predict_proba(shown)
assert set(level) <= {-1, 1} and proba.shape == (2, 2)
np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
joblib.dump(pipeline, f"{folder}/pipeline.joblib")
again = joblib.load(f"{folder}/pipeline.joblib")
np.testing.assert_array_equal(again.predict(shown), level)
np.testing.assert_array_equal(again.predict_proba(shown), proba)
assert not attempts, attempts  # nor was one made whose failure went unnoticed
print("equal")
"""


def test_the_default_pipeline_needs_nothing_else(tmp_path):
    """Neither does the Pipeline with perturbed copies around it, which is fitted here."""
    folders = {name: tmp_path / name for name in ("data", "home", "work")}
    for folder in folders.values():
        folder.mkdir()
    environment = {
        **os.environ,
        "SPEECHSENT_DATA": str(folders["data"]),
        "HOME": str(folders["home"]),
        "USERPROFILE": str(folders["home"]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE, str(folders["work"])],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "equal", done.stderr
    assert not list(folders["data"].iterdir())
