"""Training of the ready model: valence of acted speech, with its card.

    python -m recipes.train_valence_acted --run results/valence [--out models/valence-acted]

The default system with the speaker network and the detector that ship with the package, trained on
RAVDESS (data home) and on the default copies of WaveformPerturbation: speed 0.9, a telephone, pink
noise, babble, a room. Principal components before the kernel make it small. The card has scores of
eight folds, in each of which three actors are held out. The model that is written is trained on all
actors but 23 and 24, so that it can be tried on voices that it has not heard.

Results of folds are stored in --run: interrupted at any moment, the same command resumes.
"""

import argparse
import tempfile
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments._harness.command import make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.files import write_text
from experiments._harness.results import Results, key_of
from experiments._harness.tables import table_of
from experiments.robustness import CLEAN, CONDITIONS
from recipes import sounds
from sklearn_speechsent import WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.audio.conditions import Voices, draw_copy
from sklearn_speechsent.datasets import get_data_home, load_ravdess
from sklearn_speechsent.deploy import load_model, save_model
from sklearn_speechsent.inspection import ModelCard
from sklearn_speechsent.metrics import ordinal_report
from sklearn_speechsent.utils.files import atomic_write

LEVELS = (-2, -1, 0, 1, 2)
#: As many as fit into the size below, see docs/results/valence_acted.md.
N_COMPONENTS = 320
#: A man and a woman whom the model that is written has not heard.
HELD_OUT = (23, 24)
#: Every how manieth test recording is degraded, in each condition.
EVERY = 4
#: Name of the sounds that are nearest to what users may try.
READ = "read English (LibriSpeech test-other)"
#: Largest size of the bundle.
_LARGEST = 6_000_000
_LICENCE = "cc-by-nc-sa-4.0"
LICENCE_TEXT = """\
The model in this folder was trained on RAVDESS, which its authors publish under
CC BY-NC-SA 4.0, and is licensed in the same way:

    Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International
    https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode

This licence is for this folder alone: the package around it has another one.

Attribution: the developers of sklearn-speechsent, 2026; trained on the Ryerson Audio-Visual
Database of Emotional Speech and Song (RAVDESS), S. R. Livingstone and F. A. Russo, PLoS ONE
13(5): e0196391, 2018, https://zenodo.org/records/1188976. The frozen networks that it refers to
(speechsent-seresnet, speechsent-unet-vad) are CC BY 4.0 and have cards of their own.
"""
TEXTS = {
    "title": "valence-acted",
    "dataset": "RAVDESS",
    "license": _LICENCE,
    "language": "en",
    "summary": (
        "How positive or negative an actor sounds, from -2 to 2, from the voice alone. **Acted "
        "valence is a proxy for sentiment**: labels follow from the emotion that actors were asked "
        "for (happy 1; neutral and calm 0; sad, angry, fearful and disgust -1; strong intensity "
        "doubles the value), not from what anybody felt or said."
    ),
    "intended_use": (
        "For trying the package without recordings of one's own, for teaching, for tests of "
        "software around it, and for research on acted speech. For your own question, fit a "
        "pipeline on your own labelled recordings: that takes minutes."
    ),
    "not_for": (
        "Decisions about people, alone or as a part: hiring, work, school, credit, insurance, "
        "policing, health, moderation. It hears a way of speaking, not what somebody feels, means "
        "or is. The law of some countries forbids it: the European Union's AI Act (Article 5) "
        "prohibits systems that infer emotions at work and in education, with few exceptions. Not "
        "for commercial use (licence), children, or speech other than acted English."
    ),
    "attribution": (
        "CC BY-NC-SA 4.0, not the licence of the package: attribution, no commercial use, the same "
        "licence for what is made from it. Trained on RAVDESS (S. R. Livingstone and F. A. Russo, "
        "PLoS ONE 13(5): e0196391, 2018, https://zenodo.org/records/1188976, CC BY-NC-SA 4.0) by "
        "the developers of sklearn-speechsent. It refers to the networks speechsent-seresnet and "
        "speechsent-unet-vad, which ship with the package (CC BY 4.0)."
    ),
}


def make_model(n_components=N_COMPONENTS, memory=None, n_jobs=1):
    """Not fitted."""
    pipeline = make_sentiment_pipeline(
        "small",
        levels=LEVELS,
        n_components=n_components,
        on_error="nan",
        memory=memory,
        n_jobs=n_jobs,
        random_state=0,
    )
    return WaveformPerturbation(pipeline)


def degraded_copies(corpus, test):
    """Every fourth test recording in each condition, with babble of the other test speakers."""
    recordings, chosen = as_recordings(corpus.X), test[::EVERY]
    copies = {}
    for name, condition in CONDITIONS.items():
        if name == CLEAN:
            continue
        voices = None
        if condition.get("noise") == "babble":
            voices = Voices([recordings[row] for row in test], corpus.groups[test])
        copies[name] = [draw_copy(recordings[row], condition, 0, voices) for row in chosen]
    return copies


def held_out_predictions(model, corpus, stored):
    """Out-of-fold levels and probabilities, and levels in each condition of every fourth row."""
    n = len(corpus.y)
    level, proba = np.full(n, np.nan), np.full((n, len(LEVELS)), np.nan)
    degraded = {name: np.full(n, np.nan) for name in CONDITIONS if name != CLEAN}
    identities = [recording.identity() for recording in as_recordings(corpus.X)]
    tested = np.zeros(n, dtype=bool)
    for number, (train, test) in enumerate(corpus.folds(8)):
        copies = degraded_copies(corpus, test)
        key = key_of(model, identities, corpus.y.tolist(), number, CONDITIONS, EVERY)
        found = stored.get(key)
        if found is None:
            print(f"fold {number + 1} of 8", flush=True)
            model.fit([as_recordings(corpus.X)[row] for row in train], corpus.y[train])
            X = corpus.X.iloc[test].reset_index(drop=True)
            found = stored.put(
                key,
                {
                    "level": _listed(model.predict(X)),
                    "proba": model.predict_proba(X).tolist(),
                    "degraded": {n: _listed(model.predict(c)) for n, c in copies.items()},
                },
            )
        level[test] = np.array(found["level"], dtype=float)
        proba[test] = found["proba"]
        tested[test[::EVERY]] = True
        for name, values in found["degraded"].items():
            degraded[name][test[::EVERY]] = np.array(values, dtype=float)
    return level, proba, degraded, tested


def _listed(levels):
    return [None if np.isnan(level) else float(level) for level in levels.astype(float)]


def make_card(corpus, sex, level, proba, degraded, tested):
    """Card of the eight folds, with degraded speech of every fourth recording."""
    card = ModelCard.from_predictions(
        corpus.y,
        level,
        proba=proba,
        levels=LEVELS,
        groups=corpus.groups,
        by={"sex": sex, "actor": corpus.groups},
        **TEXTS,
    )
    suffered = ModelCard.from_predictions(
        corpus.y[tested],
        level[tested],
        degraded={name: values[tested] for name, values in degraded.items()},
        levels=LEVELS,
        groups=corpus.groups[tested],
    )
    measured = dict(card.measured)
    measured["Scores"] = (
        "Eight folds: in each, three actors are held out and the others trained on, so that every "
        f"recording is scored by a model that never heard its speaker.\n\n{measured['Scores']}"
    )
    measured["On degraded speech"] = (
        f"Every fourth recording ({tested.sum()}) of the held-out actors in each condition; those "
        "in which the detector finds no speech are without an answer.\n\n"
        f"{suffered.measured['On degraded speech']}"
    )
    return replace(card, measured=measured)


def other_sounds():
    """Sounds that are not acted English, by name."""
    rng = np.random.default_rng(0)
    seconds = 4 * sounds.RATE
    quiet = [1e-4 * rng.standard_normal(seconds).astype(np.float32) for _ in range(20)]
    tunes = [sounds.music(seconds, rng) for _ in range(40)]
    tunes = [0.1 * tune / sounds.loudness(tune) for tune in tunes]
    home = get_data_home() / "librispeech_excerpts" / "test-other"
    meetings = get_data_home() / "ami_excerpts"
    return {
        "digital silence, 4 s": [np.zeros(seconds, np.float32)] * 20,
        "faint white noise (-80 dBFS), 4 s": quiet,
        "generated notes and drums, 4 s": tunes,
        READ: sorted(map(str, home.rglob("*.flac"))),
        "meetings, far microphone, 30 s (AMI)": sorted(map(str, meetings.glob("*.flac"))),
    }


def answers(model, named):
    """Numbers of the levels that sounds are given, by name of the sounds; None is no answer."""
    return {
        name: Counter(_listed(model.predict(recordings)))
        for name, recordings in named.items()
        if recordings
    }


def answer_table(counts):
    """Markdown table of `answers`."""
    rows = [
        [name, str(found.total()), *(str(found[level]) for level in (None, *map(float, LEVELS)))]
        for name, found in counts.items()
    ]
    return "\n".join(table_of(["sound", "n", "no answer", *map(str, LEVELS)], rows))


def limits(model, corpus, shipped):
    """What the model that is written answers to other sounds, and to its held-out actors."""
    held = ~shipped
    X = corpus.X[held].reset_index(drop=True)
    report = ordinal_report(corpus.y[held], model.predict(X), LEVELS)
    counts = answers(model, other_sounds())
    read = counts.get(READ, Counter())
    below = read[-2.0] + read[-1.0]
    return (
        f"Two English sentences, {len(np.unique(corpus.groups))} professional actors from North "
        "America, a quiet studio: other voices, words, rooms and feelings that nobody acts are "
        "harder than the figures above. What the model answers to sounds unlike those:\n\n"
        f"{answer_table(counts)}\n"
        f"**Ordinary speech sounds negative to it.** {below} of {read.total()} recordings of read "
        "English, most of which should be near 0, got a level below 0, as did most meetings. Of "
        "acted speech alone it says something. Notes and drums are generated, and some of them "
        "are taken for speech; songs were not tried. **Other languages were not measured**: no "
        "labelled recordings of them were at hand. Do not assume that the figures hold there.\n\n"
        f"The model in this bundle is trained on {len(np.unique(corpus.groups[shipped]))} actors, "
        f"without {HELD_OUT[0]} (a man) and {HELD_OUT[1]} (a woman): on their {held.sum()} "
        f"recordings it has an MAE of {report['mae']:.3f} and a weighted kappa of "
        f"{report['qwk']:.3f}."
    )


def training_data(corpus, shipped, n_components):
    """Text about what the model was fitted on."""
    counts = Counter(corpus.y[shipped].tolist())
    listed = ", ".join(f"{level}: {counts[level]}" for level in LEVELS)
    return (
        f"RAVDESS: {shipped.sum()} recordings of {len(np.unique(corpus.groups[shipped]))} actors, "
        f"in English, surprise left out; recordings by level: {listed}. Each also at speed 0.9, "
        "over a telephone, in pink noise, in babble and in a room, at other gains "
        "(`WaveformPerturbation`). Answers are averaged over the speeds 0.9, 1 and 1.1. The model "
        f"stores {n_components} principal components of its support recordings, no audio. Made by "
        "`python -m recipes.train_valence_acted`."
    )


def write(model, card, folder):
    """Write bundle and licence; gives the size of the bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary, "bundle")
        save_model(
            model,
            bundle,
            card=card,
            weights="reference",
            dtype="float16",
            corpus="RAVDESS",
            licence="CC BY-NC-SA 4.0",
            measures=card.figures,
        )
        size = sum(file.stat().st_size for file in bundle.iterdir())
        if size > _LARGEST:
            raise SystemExit(f"The bundle has {size} bytes, and {_LARGEST} at most are wanted.")
        for file in bundle.iterdir():
            atomic_write(folder / file.name, file.read_bytes())
    write_text(folder / "LICENSE", LICENCE_TEXT)
    return size


def main(argv=None):
    """Measure in folds, fit, write and load what was written."""
    parser: argparse.ArgumentParser = make_parser(__doc__, out=None)
    parser.add_argument("--run", type=Path, required=True, help="folder to resume from")
    parser.add_argument("--out", type=Path, default=Path("models/valence-acted"))
    parser.add_argument(
        "--components", type=int, default=N_COMPONENTS, help=f"principal ones ({N_COMPONENTS})"
    )
    parser.add_argument("--memory", type=Path, help="folder of features (in --run)")
    parser.add_argument("--jobs", type=int, default=1, help="threads, -1 for all (1)")
    options = parser.parse_args(argv)
    corpus, sex = load_corpus("ravdess"), load_ravdess().frame["sex"].to_numpy()
    memory = options.memory or options.run / "features"
    model = make_model(options.components, memory, options.jobs)
    shipped = ~np.isin(corpus.groups, HELD_OUT)
    with warnings.catch_warnings():
        # Recordings differ from those of fit on purpose.
        warnings.simplefilter("ignore", UserWarning)
        found = held_out_predictions(model, corpus, Results(options.run / "folds"))
        card = make_card(corpus, sex, *found)
        model.fit(corpus.X[shipped].reset_index(drop=True), corpus.y[shipped])
        card = card.fill(
            training_data=training_data(corpus, shipped, options.components),
            limitations=limits(model, corpus, shipped),
        )
        print(card, flush=True)
        size = write(model, card, options.out)
        X = corpus.X[~shipped].reset_index(drop=True)
        expected, loaded = model.predict(X), load_model(options.out).predict(X)
    print(f"{options.out}: {size / 1e6:.2f} MB; {(expected != loaded).sum()} of {len(X)} levels of")
    print("held-out actors differ from those before rounding to half precision.")


if __name__ == "__main__":
    main()
