"""The runtime imports neither torch nor scikit-learn, and nothing else of the package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from sklearn_speechsent import export_onnx, make_sentiment_pipeline

ROOT = Path(__file__).parents[2]
#: What a fresh process does that may import what the runtime is made of only.
CODE = """
import json, sys

ALLOWED = set(sys.argv[1].split(","))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ImportError(f"{name} is not a part of the runtime")
sys.meta_path.insert(0, Blocker())

from sklearn_speechsent.runtime import OnnxSentiment
scorer = OnnxSentiment("model.onnx")
found = {"file": scorer.predict_proba(["voice.wav"])[0].tolist()}
import numpy
scorer.push(numpy.zeros(441), 44100)
scorer.push(numpy.sin(numpy.arange(44100.0)), 44100)
scorer.finish()
found["modules"] = sorted(name for name in sys.modules if name.startswith("sklearn_speechsent."))
found["foreign"] = sorted({"torch", "sklearn", "scipy", "pandas", "joblib"} & set(sys.modules))
print(json.dumps(found))
"""


def test_neither_torch_nor_scikit_learn(speech, tmp_path):
    pipeline = make_sentiment_pipeline().fit(speech.data[:9], speech.target[:9])
    export_onnx(pipeline, tmp_path / "model.onnx")
    samples = soundfile.read(speech.data[9])[0]
    soundfile.write(tmp_path / "voice.wav", samples, 16000)
    requirements = (ROOT / "docker" / "runtime-requirements.txt").read_text().splitlines()
    named = {line.partition(">")[0] for line in requirements if line and line[0] != "#"}
    assert named == {"numpy", "onnxruntime", "soundfile", "soxr"}
    # What these four import themselves.
    theirs = {"_soundfile", "_soundfile_data", "cffi", "_cffi_backend", "flatbuffers", "google"}
    theirs |= {"packaging", "typing_extensions"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, ",".join({"sklearn_speechsent", *named, *theirs})],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = pipeline.predict_proba([tmp_path / "voice.wav"])[0]
    np.testing.assert_allclose(found["file"], expected, atol=2e-5)
    assert found["modules"] == [
        "sklearn_speechsent._version",
        "sklearn_speechsent.runtime",
        "sklearn_speechsent.runtime.audio",
        "sklearn_speechsent.runtime.sentiment",
    ]
    assert found["foreign"] == []
