"""Eight emotions of RAVDESS on the folds of EmoBox, and its published scores of larger encoders.

    python -m experiments.emobox --out results/emobox.json
    python -m experiments.emobox --perturbed --out results/emobox.json

Frozen features under a class-balanced support vector classifier with a radial kernel, trained on
the actors of five folds and tested on those of the sixth; with --perturbed also on the default
copies of WaveformPerturbation, and decision values are added over its three speeds. One setting for
all rows, that of the systems for sentiment: nothing is searched. Writes FILE.json and FILE.md after
each row, and in the end FILE.png. Each fold's result is stored in FILE_folds as soon as it exists:
the same command resumes an interrupted run.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import sklearn_speechsent
from experiments._harness.command import choose, make_parser
from experiments._harness.experiment import Experiment, add_run_options, remarks, run_experiment
from experiments._harness.pictures import pyplot, save_figure
from experiments._harness.results import key_of
from experiments._harness.systems import WESPEAKER, WHISPER, lacks_weights
from experiments._harness.tables import table_of
from sklearn_speechsent import SpeechEncoder, WaveformPerturbation, make_sentiment_pipeline
from sklearn_speechsent.audio import as_recordings
from sklearn_speechsent.inspection import speaker_interval
from sklearn_speechsent.utils.files import get_data_home
from sklearn_speechsent.utils.sklearn_compat import BaseHeterogeneousEnsemble

#: Actors that are tested in each fold.
FOLDS = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
#: Recordings of the complete corpus.
N_FILES = 1440
#: Frozen encoders in the table of EmoBox: millions of parameters, unweighted accuracy.
PUBLISHED = {
    "wav2vec 2.0 base": (95, 0.543),
    "WavLM base": (95, 0.616),
    "HuBERT base": (95, 0.654),
    "HuBERT large": (315, 0.700),
    "WavLM large": (315, 0.720),
    "Whisper large v3": (635, 0.753),
}
CONSTANT = "constant (majority)"
#: Part of every key: raise it when the same parameters decide in another way.
_VERSION = 2
#: Speeds at which test recordings are heard after training on copies, the default of
#: WaveformPerturbation. Its own average is of probabilities of ordered classes.
SPEEDS = (0.9, 1.0, 1.1)
_C, _GAMMA, _COMPONENTS = 10.0, 0.25, 256


class KernelClassifier(ClassifierMixin, BaseEstimator):
    """Support vector classifier with a radial kernel, as `OrdinalClassifier` has for thresholds.

    Rows of NaN, those of recordings in which no speech is found, are left out of training, and
    have decision values of zero.

    Parameters
    ----------
    n_components : int, optional
        Principal components that the kernel sees; all features by default.
    """

    def __init__(self, n_components=None):
        self.n_components = n_components

    def fit(self, X, y):
        """Fit on rows with numbers."""
        good = np.isfinite(X).all(axis=1)
        X, y = X[good], np.asarray(y)[good]
        steps = [StandardScaler()]
        if self.n_components is not None:
            steps.append(PCA(min(self.n_components, *X.shape), random_state=0))
        gamma = _GAMMA / X.shape[1]
        svc = SVC(C=_C, gamma=gamma, class_weight="balanced", decision_function_shape="ovo")
        self.pipeline_ = make_pipeline(*steps, svc).fit(X, y)
        self.classes_ = self.pipeline_.classes_
        return self

    def decision_function(self, X):
        """Sums over the pairs of each class, shape (n, n_classes).

        The decision value of a pair counts up to the margin, 1. In four folds inside the training
        actors of each fold that is better than SVC's values of one class against the rest, which
        are votes first of all: sums over speeds and members then add votes.
        """
        good = np.isfinite(X).all(axis=1)
        n_classes = len(self.classes_)
        values = np.zeros((len(X), n_classes))
        if good.any():
            pairs = self.pipeline_.decision_function(X[good]).clip(-1, 1)
            # Positive is the first class of a pair, but of two classes in all it is the second.
            first, second = np.triu_indices(n_classes, 1)
            if n_classes == 2:
                first, second = second, first
            sign = np.eye(n_classes)[first] - np.eye(n_classes)[second]
            values[good] = pairs.reshape(len(pairs), -1) @ sign
        return values

    def predict(self, X):
        """Class of the highest decision value."""
        return self.classes_[self.decision_function(X).argmax(axis=1)]


class AddedDecisions(ClassifierMixin, BaseHeterogeneousEnsemble):
    """Classifiers on the same recordings whose decision values are added.

    Parameters
    ----------
    estimators : list of (str, classifier)
    weights : tuple of float
    """

    def __init__(self, estimators, weights):
        super().__init__(estimators=estimators)
        self.weights = weights

    def fit(self, X, y):
        """Fit every member."""
        self.estimators_ = [clone(member).fit(X, y) for _, member in self.estimators]
        self.classes_ = self.estimators_[0].classes_
        return self

    def decision_function(self, X):
        """Sums of decision values, shape (n, n_classes)."""
        values = [member.decision_function(X) for member in self.estimators_]
        return np.tensordot(self.weights, values, axes=1)

    def predict(self, X):
        """Class of the highest sum."""
        return self.classes_[self.decision_function(X).argmax(axis=1)]


def _speaker(system, shared):
    return make_sentiment_pipeline(system, net=KernelClassifier(_COMPONENTS), **shared)


def _speech(shared):
    encoder = SpeechEncoder(WHISPER, layers=(3, 4), **shared)
    return Pipeline([("encoder", encoder), ("net", KernelClassifier())])


def _large(shared):
    members = [("speaker", _speaker("medium", shared)), ("speech", _speech(shared))]
    return AddedDecisions(members, weights=(1, 2))


#: How each row is made from the parameters of extraction, and the weights that it needs.
ROWS = {
    CONSTANT: (lambda shared: DummyClassifier(strategy="most_frequent"), ()),
    "large": (_large, (WESPEAKER, WHISPER)),
    "large, Whisper alone": (_speech, (WHISPER,)),
    "medium": (lambda shared: _speaker("medium", shared), (WESPEAKER,)),
    "small": (lambda shared: _speaker("small", shared), ()),
}


def load_emotions():
    """Load all speech recordings of RAVDESS in the data home.

    Returns
    -------
    DataFrame
        Columns ``file, emotion, actor``, by actor and name.

    Raises
    ------
    FileNotFoundError
        If a fold has no recordings.
    """
    folder = get_data_home() / "ravdess"
    files = {}
    for suffix in (".wav", ".flac"):  # FLAC wins, as in load_ravdess
        files |= {file.stem: file for file in folder.glob(f"Actor_*/03-01-*{suffix}")}
    rows = []
    for stem, file in sorted(files.items(), key=lambda item: (item[1].parent.name, item[0])):
        parts = [int(part) for part in stem.split("-")]
        rows.append((str(file), EMOTIONS[parts[2] - 1], parts[6]))
    frame = pd.DataFrame(rows, columns=["file", "emotion", "actor"])
    for number, actors in enumerate(FOLDS):
        if not frame["actor"].isin(actors).any():
            raise FileNotFoundError(
                f"{folder} has no recordings of the actors {actors} of fold {number}. Call "
                "sklearn_speechsent.datasets.fetch_ravdess(), or name another data home by "
                "SPEECHSENT_DATA."
            )
    return frame


def n_parameters(model):
    """Parameters of the frozen networks of a fitted model, without blocks that are not computed."""
    if isinstance(model, WaveformPerturbation):
        return n_parameters(model.estimator_)
    if isinstance(model, AddedDecisions):
        return sum(map(n_parameters, model.estimators_))
    steps = model[:-1].named_steps.values() if isinstance(model, Pipeline) else ()
    networks = [step.network_ for step in steps if hasattr(step, "network_")]
    return sum(p.numel() for network in networks for p in network.parameters())


def predict(model, files):
    """Predicted emotions; after training on copies, by decision values added over speeds.

    Parameters
    ----------
    model : estimator
        Fitted.
    files : Series

    Returns
    -------
    list of str
    """
    if not isinstance(model, WaveformPerturbation):
        return model.predict(files.tolist()).tolist()
    fitted = model.estimator_
    copies = [pd.DataFrame({"file": files.to_numpy(), "speed": speed}) for speed in SPEEDS]
    values = sum(fitted.decision_function(copy) for copy in copies)
    return fitted.classes_[values.argmax(axis=1)].tolist()


def fold_result(model, frame, number, stored):
    """Predictions for the actors of a fold, read or computed.

    Parameters
    ----------
    model : estimator
        Not fitted.
    frame : DataFrame
        Of `load_emotions`.
    number : int
    stored : Results

    Returns
    -------
    dict
        Keys ``key, predictions, parameters``.
    """
    test = frame["actor"].isin(FOLDS[number])
    train, test = frame[~test], frame[test]
    identities = [
        [recording.identity() for recording in as_recordings(part["file"])]
        for part in (train, test)
    ]
    speeds = [SPEEDS] if isinstance(model, WaveformPerturbation) else []
    key = key_of(model, *identities, train["emotion"].tolist(), *speeds, _VERSION)
    result = stored.get(key)
    if result is None:
        with warnings.catch_warnings():
            # No speech in a copy, or another domain: such rows are dealt with.
            warnings.simplefilter("ignore", UserWarning)
            model.fit(train["file"].tolist(), train["emotion"].to_numpy())
            predictions = predict(model, test["file"])
        result = stored.put(key, {"predictions": predictions, "parameters": n_parameters(model)})
    return result


def score(frame, results):
    """Unweighted accuracy of a row: the mean of the folds, and its interval over actors.

    Parameters
    ----------
    frame : DataFrame
    results : list of dict
        Of `fold_result`.

    Returns
    -------
    dict
        Keys ``ua, interval, folds`` (UA of each), ``parameters``. An interval is of the pooled
        recalls, which equal the mean of the folds in the complete corpus, as all actors have the
        same number of recordings of each emotion.
    """
    predicted, folds = pd.Series(index=frame.index, dtype=object), []
    for actors, result in zip(FOLDS, results, strict=True):
        test = frame["actor"].isin(actors)
        predicted[test] = result["predictions"]
        folds.append(balanced_accuracy_score(frame["emotion"][test], predicted[test]))
    truth = np.array([EMOTIONS.index(emotion) for emotion in frame["emotion"]])
    right = (predicted == frame["emotion"]).to_numpy()

    def ua(rows):
        count = np.bincount(truth[rows], minlength=len(EMOTIONS))
        hits = np.bincount(truth[rows], right[rows], minlength=len(EMOTIONS))
        return float(np.mean(hits[count > 0] / count[count > 0]))

    return {
        "ua": float(np.mean(folds)),
        "interval": speaker_interval(frame["actor"], ua),
        "folds": [float(value) for value in folds],
        "parameters": results[0]["parameters"],
    }


def as_markdown(document):
    """Lines of the table and of the text below it, in Markdown."""
    found = document["recordings"]
    rows = [
        [f"{name} (EmoBox)", f"{size} M", f"{100 * ua:.1f}", ""]
        for name, (size, ua) in document["published"].items()
    ]
    for name, row in document["rows"].items():
        low, high = row["interval"]
        size = f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else "–"
        rows.append([name, size, f"{100 * row['ua']:.1f}", f"{100 * low:.1f} – {100 * high:.1f}"])
    lines = table_of(["system", "frozen parameters", "UA, %", "interval"], rows)
    lines += [
        f"RAVDESS, {found} recordings, eight emotions: unweighted accuracy (mean recall), mean of "
        f"the six folds of EmoBox, whose actors are apart; `{document['command']}`",
        "",
    ]
    if found != N_FILES:
        lines += [
            f"The corpus has {N_FILES} recordings: these figures cannot stand next to published "
            "ones, which are left out.",
            "",
        ]
    lines += [
        "Intervals are 95 %, by bootstrap over actors. Rows of EmoBox were published without one "
        "and with other classifiers: a published figure inside of the interval of a row here is "
        "not told apart from it, neither as better nor as worse. Parameters are those that are "
        "computed: our networks end at the block whose features are used.",
        "",
        *remarks(document),
    ]
    return lines


def draw(path, document):
    """Draw accuracy by number of parameters."""
    figure, axes = pyplot().subplots(figsize=(7, 4.5))
    style = {"textcoords": "offset points", "fontsize": "small", "ha": "right"}
    for name, (size, ua) in document["published"].items():
        axes.plot(size, 100 * ua, "o", color="0.5")
        axes.annotate(name, (size, 100 * ua), (-5, -3), **style)
    networks = {name: row for name, row in document["rows"].items() if row["parameters"]}
    for number, (name, row) in enumerate(networks.items()):
        low, high = row["interval"]
        axes.errorbar(
            row["parameters"] / 1e6 * 1.06**number,  # rows of the same networks next to each other
            100 * row["ua"],
            yerr=[[100 * max(row["ua"] - low, 0)], [100 * max(high - row["ua"], 0)]],
            fmt="o",
            color=f"C{number}",
            label=name,
        )
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500]
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set_xlabel("frozen parameters, millions")
    axes.set_ylabel("unweighted accuracy, %")
    axes.grid(alpha=0.3)
    if networks:
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(path, figure, bbox_inches="tight")


def _title(name, perturbed):
    return name + (", perturbed" if perturbed else "")


def prepare(options, stored, shared):
    """Find corpus and rows of the command line; see `run_experiment`."""
    names = [name for name in ROWS if name in (CONSTANT, *choose(options.rows, list(ROWS)))]
    frame = load_emotions()
    lacking = {name: lacks_weights(*ROWS[name][1]) for name in names}
    document = {
        "version": sklearn_speechsent.__version__,
        "recordings": len(frame),
        "published": PUBLISHED if len(frame) == N_FILES else {},
        "rows": {},
        "skipped": {name: why for name, why in lacking.items() if why},
    }
    runs = [
        (name, perturbed)
        for name in names
        if not lacking[name]
        for perturbed in ([False, True] if options.perturbed and name != CONSTANT else [False])
    ]

    def fold(run, number):
        name, perturbed = run
        model = ROWS[name][0](shared)
        if perturbed:
            model = WaveformPerturbation(model, predict_speeds=(1.0,))  # see predict
        return fold_result(model, frame, number, stored)

    def add(document, run, results):
        document["rows"][_title(*run)] = score(frame, results)

    titles = {_title(*run): run for run in runs}
    return Experiment(document, titles, len(FOLDS), fold, add, as_markdown, draw)


def main(argv=None):
    """Run the table; see `run_experiment` for the exit codes."""
    parser = make_parser(__doc__)
    parser.add_argument("--rows", default="all", help=f"{'; '.join(ROWS)} (all)")
    parser.add_argument("--perturbed", action="store_true", help="with perturbed training, too")
    add_run_options(parser)
    return run_experiment("experiments.emobox", prepare, parser.parse_args(argv), argv)


if __name__ == "__main__":
    raise SystemExit(main())
