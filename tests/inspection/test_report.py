"""Page of a report: what is on it, what it loads, and whose text does no harm there."""

import base64
import io
import os
import re
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.frozen import FrozenEstimator

from sklearn_speechsent import WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.frames import DomainWarning
from sklearn_speechsent.inspection import (
    bootstrap,
    cross_val_ordinal,
    group_report,
    report,
    reporting,
)

NAME = "<img src=x onerror=alert(1)>.wav"
#: Elements without an end.
VOID = {"meta", "img", "br", "source"}
#: Attributes with an address.
ADDRESSES = {"src", "srcset", "href", "action", "data", "poster"}


class Page(HTMLParser):
    """Elements of a page, which must be closed in the order in which they were opened."""

    def __init__(self, content):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(content)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def page_of(found):
    return Page(found.path.read_text(encoding="utf-8"))


def text_of(found):
    return " ".join("".join(page_of(found).text).split())


@pytest.fixture(scope="module")
def corpus(speech, tmp_path_factory):
    """Recordings, of which one has a name with HTML in it, and who speaks them."""
    folder = tmp_path_factory.mktemp("<b>names")
    files = [shutil.copy(file, folder) for file in speech.data]
    os.rename(files[3], folder / NAME)
    files[3] = str(folder / NAME)
    return files, speech.target, np.array([f"<i>{name}" for name in speech.groups])


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    """Report of a classifier."""
    X, y, speakers = corpus
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_DRAWS", 50)
        return report(
            make_sentiment_pipeline(weights=None, levels=[-1, 0, 1]),
            X,
            y,
            groups=speakers,
            path=path,
            by={"<u>half": np.arange(len(y)) % 2},
            cv=2,
            verbose=0,
            title="<script>alert(2)</script>",
            summary="As we\n\nsay <b>here</b>.",
        )


def test_the_page_needs_nothing_else_and_runs_nothing(made):
    page = page_of(made)
    assert not page.of("script") and not page.of("link") and not page.of("iframe")
    for _, attributes in page.found:
        assert not any(name.startswith("on") for name in attributes)
        for name in ADDRESSES & attributes.keys():
            assert attributes[name].startswith(("data:image/svg+xml;", "data:audio/mpeg;", "#"))
    content = made.path.read_text(encoding="utf-8")
    assert "@import" not in content and "url(" not in content and "http:" not in content
    (policy,) = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy
    sections = {section["id"] for section in page.of("section")}
    assert {link["href"][1:] for link in page.of("a")} == sections
    for picture in re.findall('data:image/svg[^,]*,([^"]*)', content):
        drawn = base64.b64decode(picture).decode()
        assert "<script" not in drawn and not re.search('href="(?!#|data:)', drawn)


def test_names_of_users_are_text(made):
    page, text = page_of(made), text_of(made)
    assert {tag for tag, _ in page.found}.isdisjoint({"b", "i", "u"})
    assert "<script>alert(2)</script>" in text and "<i>" in text and "<u>half" in text
    assert "say <b>here</b>." in text


@pytest.fixture
def no_explanations(monkeypatch):
    """They take most of the time."""
    monkeypatch.setattr(reporting, "_explained", lambda *_: {})


def test_a_name_with_html_among_the_worst(corpus, tmp_path, no_explanations):
    """It is listed, named in full, and can be listened to."""
    files = [corpus[0][row] for row in (3, 0, 6, 9, 12, 15)]
    labels, groups = np.array([-1, 1, -1, 1, -1, 1]), np.array(list("aabbcc"))
    pipeline = make_sentiment_pipeline(weights=None, levels=[-1, 1])
    given = {"groups": groups, "cv": 3, "baselines": {}, "verbose": 0}
    found = report(pipeline, files, labels, path=tmp_path / "a.html", **given)
    assert sorted(found.worst["row"]) == list(range(6))
    page = page_of(found)
    (label,) = [a["aria-label"] for a in page.of("audio") if NAME in a["aria-label"]]
    assert label.endswith(f"row 0 ({NAME})") and [i for i in page.of("img") if "src" not in i] == []
    assert all(image["src"].startswith("data:") for image in page.of("img"))


def test_tables_have_headings_and_pictures_texts(made):
    page = page_of(made)
    assert all(cell["scope"] in ("row", "col") for cell in page.of("th"))
    assert len(page.of("table")) == len(page.of("caption")) >= 7
    # Confusion, calibration and three explanations.
    assert len(page.of("img")) == 5 and all(len(i["alt"]) > 20 for i in page.of("img"))
    assert page.of("html")[0]["lang"] == "en"


def test_players_hold_the_recordings(made, corpus):
    players = page_of(made).of("audio")
    assert len(players) == len(made.worst) == 10
    for player, row in zip(players, made.worst["row"], strict=True):
        content = io.BytesIO(base64.b64decode(player["src"].partition(",")[2]))
        assert soundfile.info(content).duration == pytest.approx(
            soundfile.info(corpus[0][row]).duration, abs=0.15
        )


def test_figures_are_those_of_the_other_functions(made, corpus):
    X, y, speakers = corpus
    pipeline = make_sentiment_pipeline(weights=None, levels=[-1, 0, 1])
    frame = cross_val_ordinal(pipeline, X, y, groups=speakers, cv=2)
    pd.testing.assert_frame_equal(made.predictions.drop(columns="duration"), frame)
    scores = group_report(y, frame["level"], {}, speakers=speakers, levels=[-1, 0, 1])
    row = made.scores.loc["this model"]
    assert row["mae"] == scores.iloc[0]["mae"] == made.card.figures["mae"]
    assert row["mae_high"] == scores.iloc[0]["mae_high"]
    assert f"{row['mae']:.2f}{row['mae_low']:.2f} to {row['mae_high']:.2f}" in text_of(made)
    errors = (frame["expected"] - y).abs()
    assert made.worst["row"].tolist() == np.argsort(-errors, kind="stable")[:10].tolist()
    assert next(iter(made.explanations)) == made.worst["row"].iloc[0]
    assert made.calibration.reliability["n"].sum() == 2 * len(y)


def test_the_constant_has_not_seen_whom_it_is_scored_on(corpus, tmp_path, no_explanations):
    """Each half of the speakers has another median."""
    X, speakers = corpus[0][:8], np.repeat(["a", "b"], 4)
    y = np.array([-1, -1, -1, 1, -1, 1, 1, 1])
    given = {"groups": speakers, "cv": 2, "baselines": {}, "verbose": 0, "audio": False}
    pipeline = make_sentiment_pipeline(weights=None, levels=[-1, 1])
    found = report(pipeline, X, y, path=tmp_path / "a.html", **given)
    assert found.scores.index.tolist() == ["this model", "constant"]
    assert found.scores.loc["constant", "mae"] == 1.5
    assert not page_of(found).of("audio") and "Voices were left out" in text_of(found)


def test_regressors_have_no_probabilities(corpus, tmp_path):
    X, y, speakers = corpus
    regressor = make_sentiment_pipeline("small", target="intensity", weights=None)
    given = {"groups": speakers, "levels": [-1, 0, 1], "cv": 2, "baselines": {}, "verbose": 0}
    found = report(regressor, X, y + 0.25 * (y < 1), path=tmp_path / "a.html", **given)
    text = text_of(found)
    assert found.calibration is None and "no probabilities" in text
    assert "Labels between levels" in text and len(found.explanations) == 3
    mae = (found.predictions["expected"] - found.predictions["truth"]).abs().mean()
    assert found.scores.loc["this model", "mae"] == pytest.approx(mae)


def test_levels_of_text_and_unusable_recordings(corpus, tmp_path, no_explanations):
    X, y, speakers = corpus
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    words = pd.Categorical.from_codes(y + 1, ["zz", "low & high", "aa"], ordered=True)
    pipeline = make_sentiment_pipeline(weights=None, on_error="nan", levels=list(words.categories))
    given = {"groups": speakers, "cv": 2, "verbose": 0, "path": tmp_path / "a.html"}
    with pytest.warns(UserWarning):
        found = report(pipeline, [str(bad), *X[1:]], words, **given)
    text = text_of(found)
    assert (found.scores["unanswered"] == [1, 1, 0]).all() and "1 of them cannot be read" in text
    assert 0 not in found.worst["row"].tolist() and np.isnan(found.predictions["duration"].iloc[0])
    assert list(found.card.confusion.index) == ["zz", "low & high", "aa"]
    assert "low & high" in text and found.calibration.reliability["n"].sum() == 2 * (len(y) - 1)
    same = found.predictions["level"].iloc[1:] == words[1:]
    assert same.mean() * len(same) == np.trace(found.card.confusion) - (words[0] == "low & high")


def test_baselines_have_the_same_folds(corpus, tmp_path, no_explanations):
    X, y, speakers = corpus
    pipeline = make_sentiment_pipeline(weights=None, levels=[-1, 0, 1])
    given = {"groups": speakers, "cv": 2, "verbose": 0, "path": tmp_path / "a.html"}
    found = report(pipeline, X, y, baselines={"same": pipeline}, **given)
    first, second = (found.scores.loc[name] for name in ("this model", "same"))
    pd.testing.assert_series_equal(first.drop("p_value"), second.drop("p_value"), check_names=False)
    assert second["p_value"] == 1
    frozen = FrozenEstimator(pipeline.fit(X, y))
    found = report(frozen, X, y, baselines={"held out": pipeline}, **given)
    assert (
        found.scores.loc["held out", "mae"] == first["mae"] > found.scores.loc["this model", "mae"]
    )
    assert "fitted before" in text_of(found)


def test_long_recordings_are_left_out(corpus, tmp_path, no_explanations):
    X, labels = corpus[0], np.tile([-1, 0, 1], 2)
    samples, rate = soundfile.read(X[0])
    long = tmp_path / "long.wav"
    soundfile.write(long, np.tile(samples, int(31 * rate / len(samples)) + 1), rate)
    given = {"groups": np.repeat(["a", "b"], 3), "cv": 2, "baselines": {}, "verbose": 0}
    pipeline = make_sentiment_pipeline(weights=None, levels=[-1, 0, 1])
    with pytest.warns(DomainWarning, match="1 last 31 s"):
        found = report(pipeline, [str(long), *X[1:6]], labels, path=tmp_path / "a.html", **given)
    assert len(page_of(found).of("audio")) == 5
    assert "1 of them cannot be listened to here: they last more than 30 s" in text_of(found)


def test_what_cannot_be_written_is_said_before_anything_is_computed(corpus, tmp_path):
    X, y, speakers = corpus

    def refused(error, match, **given):
        with pytest.raises(error, match=match):
            report(None, X, y, **{"groups": speakers, "path": tmp_path / "a.html", **given})

    refused(FileNotFoundError, "There is no folder", path=tmp_path / "nowhere" / "a.html")
    refused(IsADirectoryError, "is a folder", path=tmp_path)
    refused(ValueError, "A card has no text 'intended'", intended="x")
    refused(ValueError, "No baseline can be called", baselines={"constant": None})
    refused(ValueError, "inconsistent numbers", by={"sex": ["f"]})


def test_the_page_is_written_completely_or_not_at_all(
    corpus, tmp_path, no_explanations, monkeypatch
):
    X, y, speakers = corpus
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    given = {"groups": speakers, "cv": 2, "baselines": {}, "verbose": 0}
    with pytest.raises(OSError, match="full"):
        report(make_sentiment_pipeline(weights=None), X, y, path=path, **given)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["report.html"]


def test_without_matplotlib_nothing_is_computed(corpus, tmp_path, monkeypatch):
    X, y, speakers = corpus
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"sklearn-speechsent\[plot\]"):
        report(None, X, y, groups=speakers, path=tmp_path / "a.html")


def test_segments_and_perturbed_copies(corpus, tmp_path):
    """What stands around a pipeline, and rows that are parts of files."""
    X, y, speakers = corpus
    segments = pd.DataFrame({"file": X, "start": 0.25, "end": 1.5}, index=np.arange(len(y)) + 100)
    pipeline = make_sentiment_pipeline(weights=None, levels=[-1, 0, 1])
    model = WaveformPerturbation(pipeline, conditions=(), predict_speeds=(1.0,))
    given = {"groups": speakers, "cv": 2, "baselines": {}, "verbose": 0}
    found = report(model, segments, y, path=tmp_path / "a.html", **given)
    assert found.predictions.index.tolist() == segments.index.tolist()
    assert found.predictions["duration"].tolist() == [1.25] * len(y)
    assert len(found.explanations) == 3 and "0.25 to 1.5 s" in text_of(found)
    durations = [
        soundfile.info(io.BytesIO(base64.b64decode(a["src"].partition(",")[2]))).duration
        for a in page_of(found).of("audio")
    ]
    assert durations == pytest.approx([1.25] * 10, abs=0.15)
