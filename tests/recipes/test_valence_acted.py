"""Card and files of the ready model's recipe, without its recordings."""

from types import SimpleNamespace

import numpy as np
import pytest

from recipes import train_valence_acted as recipe
from sklearn_speechsent import load_model, make_sentiment_pipeline
from sklearn_speechsent.inspection import ModelCard


@pytest.fixture
def corpus(rng):
    groups = np.repeat(np.arange(1, 25), 8)
    return SimpleNamespace(y=rng.integers(-2, 3, len(groups)), groups=groups)


def test_the_card_lacks_what_follows_from_the_fit_alone(corpus, rng):
    n = len(corpus.y)
    tested = np.arange(n) % 4 == 0
    degraded = {"telephone": np.where(tested, -corpus.y, np.nan)}
    proba = rng.dirichlet(np.ones(5), n)
    sex = np.where(corpus.groups % 2, "male", "female")
    card = recipe.make_card(corpus, sex, corpus.y, proba, degraded, tested)
    assert card.blanks == ["training_data", "limitations"]
    assert card.figures["mae"] == 0
    assert f"Every fourth recording ({n // 4})" in card.measured["On degraded speech"]
    error = 2 * np.abs(corpus.y[tested]).mean()
    assert f"| telephone | {error:.3f} |" in card.measured["On degraded speech"]
    assert {"By sex", "By actor", "Calibration"} <= set(card.measured)


def test_answers_are_counted_by_level():
    class Model:
        def predict(self, recordings):
            return np.array([np.nan, -1, -1, 2][: len(recordings)])

    counts = recipe.answers(Model(), {"notes": ["a"] * 4, "nothing": []})
    table = recipe.answer_table(counts)
    assert table.splitlines()[2] == "| notes | 4 | 1 | 0 | 2 | 0 | 0 | 1 |"
    assert "nothing" not in table


def test_what_is_written_loads_and_is_replaced(tmp_path, speech, monkeypatch):
    pipeline = make_sentiment_pipeline(weights=None).fit(speech.data, speech.target)
    card = ModelCard.from_pipeline(pipeline, speech.data, speech.target, **recipe.TEXTS)
    folder = tmp_path / "models" / "name"
    for _ in range(2):
        recipe.write(pipeline, card, folder)
    names = ["LICENSE", "README.md", "arrays.safetensors", "manifest.json", "pipeline.json"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert '"CC BY-NC-SA 4.0"' in (folder / "manifest.json").read_text(encoding="utf-8")
    assert load_model(folder).classes_.tolist() == [-1, 0, 1]
    monkeypatch.setattr(recipe, "_LARGEST", 1000)
    with pytest.raises(SystemExit, match="bytes, and 1000 at most are wanted"):
        recipe.write(pipeline, card, tmp_path / "other")


def test_sounds_that_are_not_speech_are_the_same_every_time(home):
    first, again = recipe.other_sounds(), recipe.other_sounds()
    made = [name for name, recordings in first.items() if recordings]
    assert len(made) == 3  # the data home is empty
    for name in made:
        np.testing.assert_array_equal(first[name], again[name])
