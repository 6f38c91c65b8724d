"""Cards: what is measured, blanks, the header that the hub reads, and text that stays text."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import yaml as pyyaml
from markdown_it import MarkdownIt

from sklearn_speechsent import WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.deploy.files import check_card
from sklearn_speechsent.inspection import ModelCard, speaker_interval
from sklearn_speechsent.metrics import ordinal_report

LEVELS = [-2, -1, 0, 1, 2]
TEXTS = {
    "summary": "Hears acted valence.",
    "intended_use": "Research.",
    "not_for": "Decisions about people.",
    "training_data": "Actors.",
    "limitations": "Two sentences.",
    "attribution": "CC BY 4.0, the authors.",
    "title": "A model",
    "dataset": "RAVDESS",
    "license": "cc-by-4.0",
    "language": "en",
}
#: Text that would be HTML, a cell, a heading, a link, YAML or a command of a terminal.
HOSTILE = [
    "<script>alert(1)</script>",
    "a | b | c",
    "# no heading\n\n---\nlicense: mit\n---",
    "[link](javascript:alert(1)) ![x](http://x.example/y.png)",
    "javascript:alert(1) JavaScript : x data:text/html,x",
    "www.example.com http://example.com a@example.com",
    "`code` *bold* &lt;b&gt; &#60;b&#62; $x$",
    "quote \" ' : {a: [b]} !!python/object",
    "caf\udce9 \x1b[31m \u202e \x00",
    "x" * 500,
    "",
]


@pytest.fixture
def predictions(rng):
    y = rng.integers(-2, 3, 120)
    return y, np.clip(y + rng.integers(-1, 2, 120), -2, 2), np.arange(120) % 12


def cells(card, heading):
    """Rows of the first table below a heading, by their first cell."""
    text = str(card).partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def header(card):
    return pyyaml.safe_load(str(card).split("---\n")[1])


def rendered(card):
    """HTML of a card as the hub makes it: with tables, bare links and whatever HTML is in it."""
    body = str(card).split("---\n", 2)[2]
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(body)


def test_scores_are_those_of_the_report_with_intervals_over_speakers(predictions):
    y, predicted, groups = predictions
    card = ModelCard.from_predictions(y, predicted, levels=LEVELS, groups=groups)
    report = ordinal_report(y, predicted, LEVELS)
    found = cells(card, "Scores")
    assert found["MAE (lower is better)"][0] == f"{report['mae']:.3f}"
    assert found["quadratic weighted kappa (higher is better)"][0] == f"{report['qwk']:.3f}"
    low, high = speaker_interval(groups, lambda rows: np.abs(predicted - y)[rows].mean())
    assert found["MAE (lower is better)"][1] == f"{low:.3f} to {high:.3f}"
    constant = ordinal_report(y, np.full(120, np.sort(y)[59]), LEVELS)
    assert found["Spearman's ρ (higher is better)"][2] == f"{constant['spearman']:.3f}"
    assert found["MAE (lower is better)"][2] == f"{constant['mae']:.3f}"
    assert card.figures == {name: report[name] for name in card.figures}


def test_scores_by_a_column(predictions):
    y, predicted, groups = predictions
    sex = np.where(groups % 2, "male", "female").astype(object)
    sex[:6] = None
    card = ModelCard.from_predictions(
        y, predicted, levels=LEVELS, groups=groups, by=pd.DataFrame({"sex": sex, "who": groups})
    )
    by_sex, by_speaker = cells(card, "By sex"), cells(card, "By who")
    assert list(by_sex) == ["sex", "---", "female", "male", "(missing)"]
    rows = sex == "male"
    error = (predicted - y)[rows]
    assert by_sex["male"][:3] == [str(rows.sum()), "6", f"{np.abs(error).mean():.3f}"]
    assert by_sex["male"][5] == f"{error.mean():+.3f}"
    assert by_sex["(missing)"][0] == "6"
    assert list(by_speaker)[2:] == [str(k) for k in range(12)]  # not 0, 1, 10, 11, 2
    assert by_speaker["3"][3] == "–"  # one speaker cannot be drawn again


def test_recordings_without_an_answer_count_as_the_constants(predictions):
    y, predicted, groups = predictions
    some = predicted.astype(float)
    some[:30] = np.nan
    card = ModelCard.from_predictions(y, some, levels=LEVELS, groups=groups)
    filled = np.where(np.isnan(some), np.sort(y)[59], some)
    assert card.figures["mae"] == pytest.approx(np.abs(filled - y).mean())
    assert "30 without an answer" in str(card)
    with pytest.raises(ValueError, match="Nothing was predicted for any of the 120"):
        ModelCard.from_predictions(y, np.full(120, np.nan), levels=LEVELS)


def test_levels_of_text_count_by_their_order():
    levels, y = ["low", "middle", "high"], ["low", "high", "middle", "high"]
    predicted = np.array(["low", "middle", "high", np.nan], dtype=object)
    card = ModelCard.from_predictions(y, predicted, levels=levels, by={"y": y})
    assert card.confusion.loc["high", "middle"] == 2  # one of them the constant's
    assert card.figures["mae"] == pytest.approx(3 / 4)
    assert list(card.confusion.index) == levels


def test_of_votes_the_median_is_the_truth():
    votes = pd.DataFrame({1: [0, 1, 4], -1: [5, 0, 0], 0: [0, 4, 1], 2: [0, 0, 0]})
    card = ModelCard.from_predictions(votes, [-1, 0, 0])
    assert (
        card.figures
        == ModelCard.from_predictions([-1, 0, 1], [-1, 0, 0], levels=range(-1, 3)).figures
    )
    assert card.confusion.columns.tolist() == [-1, 0, 1, 2]
    text = ModelCard.from_predictions([[3, 1], [1, 3]], ["low", "low"], levels=["low", "high"])
    assert text.confusion.to_numpy().tolist() == [[1, 0], [1, 0]]
    with pytest.raises(ValueError, match="levels are not known"):
        ModelCard.from_predictions([[3, 1], [1, 3]], [0, 1])


def test_intensities_have_the_whole_numbers_that_they_span():
    card = ModelCard.from_predictions([-1.2, 0.4, 1.9], [-1.0, 0.0, 1.0])
    assert card.confusion.index.tolist() == [-1, 0, 1, 2]
    assert card.figures["mae"] == pytest.approx((0.2 + 0.4 + 0.9) / 3)


def test_degraded_speech_stands_next_to_the_recordings(predictions):
    y, predicted, groups = predictions
    worse = np.where(np.arange(120) < 5, np.nan, -predicted)
    card = ModelCard.from_predictions(
        y, predicted, levels=LEVELS, groups=groups, degraded={"telephone": worse}
    )
    found = cells(card, "On degraded speech")
    clean = ordinal_report(y, predicted, LEVELS)
    assert found["as recorded"][0] == f"{clean['mae']:.3f}" and found["as recorded"][-1] == "0"
    assert float(found["telephone"][0]) > clean["mae"] and found["telephone"][-1] == "5"


def test_what_was_not_given_is_a_marked_blank(predictions):
    y, predicted, groups = predictions
    card = ModelCard.from_predictions(y, predicted, levels=LEVELS)
    assert str(card).count("[to be filled in: ") == 9  # the licence is asked for in its section
    assert "who speaks was not given" in str(card)
    assert set(card.blanks) == set(TEXTS)
    assert "license" not in header(card) and "model-index" not in header(card)
    done = ModelCard.from_predictions(y, predicted, levels=LEVELS, groups=groups, **TEXTS)
    assert not done.blanks and "[to be filled in" not in str(done)
    assert all(text in str(done) for text in TEXTS.values())
    assert card.fill(**TEXTS).blanks == [] and card.blanks  # which stays as it is


def test_few_speakers_are_named(predictions):
    y, predicted, groups = predictions
    card = ModelCard.from_predictions(y, predicted, levels=LEVELS, groups=groups % 3)
    assert "3 speakers are few" in str(card)


@pytest.mark.parametrize(
    ("texts", "message"),
    [({"purpose": "x"}, "no text 'purpose'; it has summary"), ({"summary": " "}, "must be a text")],
)
def test_texts_are_checked(predictions, texts, message):
    y, predicted, _ = predictions
    with pytest.raises(ValueError, match=message):
        ModelCard.from_predictions(y, predicted, levels=LEVELS, **texts)


def test_lengths_are_checked(predictions):
    y, predicted, groups = predictions
    for wrong in (
        {"groups": groups[1:]},
        {"by": {"sex": groups[1:]}},
        {"degraded": {"x": predicted[1:]}},
        {"proba": np.full((119, 5), 0.2)},
    ):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            ModelCard.from_predictions(y, predicted, levels=LEVELS, **wrong)


def test_the_hub_reads_the_header(predictions):
    hub = pytest.importorskip("huggingface_hub")
    y, predicted, groups = predictions
    card = ModelCard.from_predictions(y, predicted, levels=LEVELS, groups=groups, **TEXTS)
    data = hub.ModelCard(str(card)).data
    assert data.library_name == "sklearn-speechsent" and data.license == "cc-by-4.0"
    assert data.datasets == ["RAVDESS"] and data.model_name == "A model"
    values = {result.metric_type: result.metric_value for result in data.eval_results}
    assert values["mae"] == pytest.approx(card.figures["mae"], abs=1e-4)
    assert set(values) == set(data.metrics)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_users_stays_text(predictions, text):
    y, predicted, groups = predictions
    given = text or "x"
    by = {given: np.where(groups % 2, text, "other")}
    plain = ModelCard.from_predictions(
        y, predicted, levels=LEVELS, groups=groups, by={"a": by[given] == text}
    )
    card = ModelCard.from_predictions(
        y,
        predicted,
        levels=LEVELS,
        groups=groups,
        by=by,
        degraded={given: predicted},
        title=given,
        dataset=given,
        license="cc-by-4.0",
    )
    html = rendered(card)
    kinds = set(re.findall(r"<(/?\w+)", html))
    allowed = set(re.findall(r"<(/?\w+)", rendered(plain)))
    assert kinds <= allowed | {"h3", "/h3"}, kinds - allowed
    assert set(header(card)) <= {*header(plain), "license", "datasets", "model-index"}
    assert header(card)["license"] == "cc-by-4.0"
    (named,) = header(card)["datasets"]
    shown = [c for c in named if c.isascii() and c.isprintable()]
    assert shown == [c for c in given.replace("\n", " ") if c.isascii() and c.isprintable()]
    usual = ("condition", "---", "as recorded")
    (shown,) = [key for key in cells(card, "On degraded speech") if key not in usual]
    assert len(cells(card, "On degraded speech")[shown]) == 5  # no cell more
    str(card).encode()  # no halves of pairs
    check_card(str(card))  # which refuses what browsers would run
    assert "\x1b" not in str(card) and "\u202e" not in str(card)


@pytest.mark.parametrize(
    "tag", ["<img src=x onerror=alert(1)>", "<!-- x", "</td>", "<https://x.example>"]
)
def test_prose_holds_markdown_and_no_html(predictions, tag):
    y, predicted, _ = predictions
    card = ModelCard.from_predictions(
        y, predicted, levels=LEVELS, summary=f"*Careful* p < .05\n\n- {tag}"
    )
    html = rendered(card)
    assert "<em>Careful</em>" in html and "<li>" in html
    assert not re.search(r"<(img|!--|/td>\s*</li|a )", html)
    assert "&lt;" in html


def test_save_writes_card_and_picture(tmp_path, predictions):
    y, predicted, groups = predictions
    card = ModelCard.from_predictions(y, predicted, levels=LEVELS, groups=groups)
    path = card.save(tmp_path)
    assert path == tmp_path / "README.md"
    assert "![Confusion of levels](confusion.png)" in path.read_text(encoding="utf-8")
    first = (tmp_path / "confusion.png").read_bytes()
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    card.save(tmp_path / "again.md")
    assert (tmp_path / "confusion.png").read_bytes() == first
    other = tmp_path / "other"
    other.mkdir()
    assert card.save(other / "card.md", picture=False).read_text(encoding="utf-8") == str(card)
    assert [file.name for file in other.iterdir()] == ["card.md"]


def test_without_matplotlib_nothing_is_written(tmp_path, predictions, monkeypatch):
    y, predicted, _ = predictions
    card = ModelCard.from_predictions(y, predicted, levels=LEVELS)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"\[plot\], or save\(path, picture=False\)"):
        card.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_pipeline_is_measured_on_recordings_and_their_copies(speech):
    train, test = speech.groups != speech.groups[-1], speech.groups == speech.groups[-1]
    pipeline = WaveformPerturbation(
        make_sentiment_pipeline(weights=None), conditions=["telephone"], predict_speeds=(1.0,)
    )
    pipeline.fit(speech.data[train], speech.target[train])
    X, y = speech.data[test], speech.target[test]
    card = ModelCard.from_pipeline(
        pipeline,
        X,
        y,
        groups=np.arange(len(y)) % 2,
        conditions={"loud": {"gain_db": 0}, "voices": {"noise": "babble", "snr_db": 0}},
    )
    report = ordinal_report(y, pipeline.predict(X), pipeline.classes_)
    assert card.figures == {name: report[name] for name in card.figures}
    found = cells(card, "On degraded speech")
    assert found["loud"] == found["as recorded"]  # a gain of 0 dB is no change
    assert "voices" in found and "Expected calibration error" in card.measured["Calibration"]
    with pytest.raises(ValueError, match="'fax' is not one of"):
        ModelCard.from_pipeline(pipeline, X, y, conditions=["fax"])


def test_a_regressor_has_no_calibration(speech):
    pipeline = make_sentiment_pipeline(weights=None, target="intensity")
    pipeline.fit(speech.data, speech.target)
    card = ModelCard.from_pipeline(pipeline, speech.data, speech.target)
    assert "Calibration" not in card.measured
    assert card.confusion.index.tolist() == [-1, 0, 1]
