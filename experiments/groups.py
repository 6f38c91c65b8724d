"""Trust in scores: groups of speakers, equal systems, planted bias, explanations.

    python -m experiments.groups --out results/groups.json

Out-of-fold predictions of medium and large on RAVDESS (eight folds of speakers) by sex and by
speaker; the same with the labels of one sex shifted by a level, which must be found; the two
systems compared. How often `compare` calls equal systems different: simulated ones, and medium and
large that have exchanged their predictions for speakers by chance. How often explanations point to
the third of a synthetic recording in which affect was planted, or to the band whose gain is the
label.
"""

import tempfile
from argparse import Namespace

import numpy as np

from experiments._harness.command import add_extraction, make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.results import Results
from experiments._harness.tables import save, table_of
from experiments.planted import band_hit_rates, hit_rates
from experiments.table1.protocol import Runner
from experiments.table1.rows import Settings, row_of
from sklearn_speechsent.datasets import load_ravdess
from sklearn_speechsent.inspection import compare, group_report, speaker_interval

SYSTEMS = ("medium", "large")
CONSTANT = "constant (median)"
MEASURES = {"mae": "MAE", "bias": "bias", "macro_mae": "macro MAE", "qwk": "QWK"}
#: Speakers and recordings of each in simulations.
SIZES = ((24, 60), (24, 10), (12, 60), (6, 60))
#: Shares of recordings with a planted gain.
_FOUND = ("heard", "louder", "quieter")
#: Of simulated equal systems: what they share, and what is their own, for recordings and speakers.
_SHARED, _OWN = (0.5, 0.4), (0.6, 0.4)


def out_of_fold(options, names):
    """Pooled predictions of systems on RAVDESS, by name, and the corpus."""
    corpus = load_corpus("ravdess")
    memory = options.memory or options.out.with_suffix(".cache")
    folder = options.out.with_name(f"{options.out.stem}_folds")
    settings = Settings(corpus.levels, jobs=options.jobs, memory=str(memory))
    folds = corpus.folds(8)
    runner = Runner(corpus, folds, settings, Results(folder))
    found = {}
    for name in names:
        row = row_of(name)
        lacks = row.lacks()
        if lacks:
            print(f"skipped: {name} ({lacks})")
            continue
        (scored,) = runner.score(row, [runner.fold(row, k) for k in range(len(folds))])
        found[name] = np.array(scored["predictions"])
    return found, corpus


def sexes(corpus):
    """Sex of each recording, whose order is checked."""
    frame = load_ravdess().frame
    assert frame["file"].tolist() == corpus.X["file"].tolist()
    return frame["sex"].to_numpy()


def report_of(corpus, prediction, sex, y=None):
    """Report by sex and speaker, as a list of dicts."""
    groups = {"sex": sex, "speaker": corpus.groups}
    levels = corpus.levels if y is None else range(corpus.levels[0], corpus.levels[-1] + 2)
    report = group_report(
        corpus.y if y is None else y, prediction, groups, levels=levels, measures=list(MEASURES)
    )
    rows = report.reset_index().astype({"value": str}).to_dict("records")
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]  # JSON has no NaN


def planted_bias(corpus, prediction, sex):
    """Difference of bias between the sexes: labels as they are, and those of one sex shifted."""
    found = {}
    for shifted in ("nobody", "female", "male"):
        y = corpus.y + (sex == shifted)
        rows = report_of(corpus, prediction, sex, y)
        (row,) = [r for r in rows if r["value"] == "female" and r["group"] == "sex"]
        found[shifted] = [row[f"bias_difference{end}"] for end in ("", "_low", "_high")]
    return found


def equal_systems(rng, n_speakers, n_each):
    """Truth, predictions of two systems that err alike, and speakers."""
    speakers = np.repeat(np.arange(n_speakers), n_each)
    y = np.tile([-2, -1, 0, 1, 2], -(-len(speakers) // 5))[: len(speakers)]

    def errors(spreads):
        each, own = spreads
        return rng.normal(0, each, len(y)) + rng.normal(0, own, n_speakers)[speakers]

    shared = errors(_SHARED)
    a, b = (np.clip(np.rint(y + shared + errors(_OWN)), -2, 2) for _ in range(2))
    return a, b, y, speakers


def called(a, b, y, speakers):
    """Whether MAE is called different: by plain quantiles, by the interval, by the p-value."""
    row = compare(a, b, y, groups=speakers, levels=[-2, -1, 0, 1, 2], measures=["mae"]).loc["mae"]
    change = np.abs(a - y) - np.abs(b - y)
    low, high = speaker_interval(speakers, lambda rows: change[rows].mean())
    return [low > 0 or high < 0, row["low"] > 0 or row["high"] < 0, row["p_value"] < 0.05]


def null_levels(n, predictions, corpus):
    """Percentage of equal systems that are called different."""
    levels = {}
    for size in SIZES:
        rng = np.random.default_rng(0)
        found = [called(*equal_systems(rng, *size)) for _ in range(n)]
        levels["simulated, {} speakers with {} recordings".format(*size)] = found
    if len(predictions) == len(SYSTEMS):
        rng, found = np.random.default_rng(0), []
        a, b = (predictions[name] for name in SYSTEMS)
        who, code = np.unique(corpus.groups, return_inverse=True)
        for _ in range(n):
            swap = rng.integers(2, size=len(who))[code] == 1
            pair = np.where(swap, b, a), np.where(swap, a, b)
            found.append(called(*pair, corpus.y, corpus.groups))
        levels["medium and large, exchanged for speakers by chance"] = found
    return {name: (100 * np.mean(found, axis=0)).tolist() for name, found in levels.items()}


def _cell(value, low, high, sign=""):
    """Value and interval as text; None is what is not there."""
    ends = "" if low is None else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return "–" if value is None else f"{value:{sign}.3f}{ends}"


def group_table(rows):
    """Lines of a table by groups: scores, and the difference from all others."""
    cells = []
    for row in rows:
        name = row["group"] if not row["value"] else f"{row['group']}: {row['value']}"
        cells.append([name, str(row["n"]), str(row["speakers"])])
        for measure in MEASURES:
            sign = "+" if measure == "bias" else ""
            ends = row[f"{measure}_low"], row[f"{measure}_high"]
            cells[-1].append(_cell(row[measure], *ends, sign))
        for measure in ("mae", "bias"):
            ends = (row[f"{measure}_difference{end}"] for end in ("", "_low", "_high"))
            cells[-1].append(_cell(*ends, "+"))
    others = ["MAE less the others'", "bias less the others'"]
    return table_of(["group", "n", "speakers", *MEASURES.values(), *others], cells)


def as_markdown(document):
    """Lines of all tables."""
    lines = []
    for name, rows in document["groups"].items():
        lines += [f"**{name}**", "", *group_table(rows)]
    if document["comparison"]:
        cells = [
            [
                MEASURES[name],
                *(f"{row[key]:.3f}" for key in ("a", "b")),
                _cell(row["difference"], row["low"], row["high"], "+"),
                f"{row['share']:.3f}",
                f"{row['p_value']:.3f}",
            ]
            for name, row in document["comparison"].items()
        ]
        heads = ["measure", *SYSTEMS, "difference", "share of draws", "p"]
        lines += ["**medium compared with large**", "", *table_of(heads, cells)]
    cells = [
        [name, shifted, _cell(*ends, "+")]
        for name, found in document["planted"].items()
        for shifted, ends in found.items()
    ]
    heads = ["system", "labels one level up", "bias of women less that of men"]
    lines += ["**Planted bias**", "", *table_of(heads, cells)] if cells else []
    cells = [[name, *(f"{v:.1f}" for v in found)] for name, found in document["null"].items()]
    heads = ["equal systems", "plain quantiles, %", "interval, %", "p < 0.05, %"]
    lines += ["**Equal systems called different**", "", *table_of(heads, cells)] if cells else []
    found = document["explanation"]
    if found:
        cells = [[str(found["n"]), *(f"{100 * v:.1f}" for k, v in found.items() if k != "n")]]
        heads = [
            "recordings",
            "heard, %",
            "chance, %",
            "hits, %",
            "of those heard, %",
            "any sign, %",
        ]
        lines += ["**Planted affect**", "", *table_of(heads, cells)]
    cells = [
        [band, str(found["n"]), *(f"{100 * found[key]:.1f}" for key in _FOUND)]
        for band, found in document["bands"].items()
    ]
    heads = ["band whose gain is the label", "recordings", *(f"{key}, %" for key in _FOUND)]
    lines += ["**Planted gain**", "", *table_of(heads, cells)] if cells else []
    return [*lines, f"`{document['command']}`", ""]


def parse(argv):
    """Read the command line."""
    parser = make_parser(__doc__)
    add_extraction(parser, jobs=1)
    parser.add_argument("--simulations", type=int, default=1000, help="of equal systems (1000)")
    parser.add_argument("--systems", nargs="*", default=SYSTEMS, help="on RAVDESS")
    parser.add_argument("--planted", type=int, default=30, help="speakers that are explained (30)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write."""
    options: Namespace = parse(argv)
    document = {
        "command": f"python -m experiments.groups --simulations {options.simulations}",
        "groups": {},
        "comparison": {},
        "planted": {},
        "null": {},
        "explanation": {},
        "bands": {},
    }
    predictions, corpus = {}, None
    if options.systems:
        predictions, corpus = out_of_fold(options, [CONSTANT, *options.systems])
        sex = sexes(corpus)
        for name, prediction in predictions.items():
            rows = report_of(corpus, prediction, sex)
            document["groups"][name] = rows if name != CONSTANT else rows[:3]
            document["planted"][name] = planted_bias(corpus, prediction, sex)
        predictions.pop(CONSTANT)
        if len(predictions) == len(SYSTEMS):
            pair = [predictions[name] for name in SYSTEMS]
            names = [name for name in MEASURES if name != "bias"]
            levels = corpus.levels
            found = compare(*pair, corpus.y, groups=corpus.groups, levels=levels, measures=names)
            document["comparison"] = found.to_dict("index")
        save(options.out, document, as_markdown(document), show=False)
    if options.simulations:
        document["null"] = null_levels(options.simulations, predictions, corpus)
        save(options.out, document, as_markdown(document), show=False)
    if options.planted:
        with tempfile.TemporaryDirectory() as folder:
            document["explanation"] = hit_rates(folder, n_test=options.planted, weights=None)
        with tempfile.TemporaryDirectory() as folder:
            document["bands"] = band_hit_rates(folder)
    save(options.out, document, as_markdown(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
