import json

import pytest
import torch
from encoders import as_openai, random_encoder

from experiments import gain
from sklearn_speechsent import OrdinalClassifier


@pytest.fixture
def fits(monkeypatch):
    """Rows of each fit."""
    rows, fit = [], OrdinalClassifier.fit
    monkeypatch.setattr(
        OrdinalClassifier, "fit", lambda self, X, y: rows.append(len(y)) or fit(self, X, y)
    )
    return rows


def test_end_to_end(manifest, tmp_path, fits, monkeypatch):
    torch.save(as_openai(random_encoder()), tmp_path / "small.pt")
    monkeypatch.setattr(gain, "WHISPER", str(tmp_path / "small.pt"))
    monkeypatch.setattr(gain, "lacks_weights", lambda *names: "")
    arguments = ["--corpus", str(manifest), "--n-folds", "2", "--out", str(tmp_path / "g.json")]
    assert gain.main(arguments) == 0
    document = json.loads((tmp_path / "g.json").read_text())
    remedies = [gain.CONSTANT, gain.NONE, gain.LEVEL, gain.COPIES, gain.BOTH]
    assert list(document["remedies"]) == remedies and document["tested"] == 24
    assert fits == [12, 12, 12, 12, 24, 24, 24, 24]
    level = document["remedies"][gain.LEVEL]
    assert level["gain -20 dB"]["change"] == pytest.approx(0, abs=1e-4)
    table = (tmp_path / "g.md").read_text()
    assert all(f"| {name} |" in table for name in remedies)

    assert gain.main(arguments) == 0 and len(fits) == 8  # read, not computed


def test_without_weights_the_rest_is_skipped(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(gain, "lacks_weights", lambda *names: "there are none")
    out = tmp_path / "g.json"
    assert gain.main(["--corpus", str(manifest), "--n-folds", "2", "--out", str(out)]) == 0
    assert list(json.loads(out.read_text())["remedies"]) == [gain.CONSTANT]
    assert "skipped: Whisper (there are none)" in out.with_suffix(".md").read_text()
