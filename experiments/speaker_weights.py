"""The speaker network that ships with the package, compared with the one it was distilled from.

    python -m experiments.speaker_weights --out results/speaker_weights.json

Speakers: 4950 trials between 10 speakers of LibriSpeech test-other, none of whom was trained on.
Sentiment: RAVDESS, small (the shipped network) and medium (its teacher), and both with the plainer
statistics of ten bands and no detector; eight folds of speakers as in experiments.table1, without
perturbation; the constant predictor next to them. Reads nothing but the files of the weights;
features are cached in --memory.
"""

from sklearn.pipeline import make_pipeline

from experiments._harness.command import add_extraction, make_parser
from experiments._harness.corpus import load_corpus
from experiments._harness.sentiment import constant_scores, score_table, system_scores
from experiments._harness.systems import PLAIN, SHIPPED, WESPEAKER
from experiments._harness.tables import save, table_of
from experiments.verification import COLUMNS, cells_of, evaluate, recordings
from sklearn_speechsent import MelFilterBank, SlidingCMN, SpeakerEmbedder, make_sentiment_pipeline


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    add_extraction(parser)
    options = parser.parse_args()
    shared = {"memory": options.memory or options.out.with_suffix(".cache"), "verbose": 1}
    shared["n_jobs"] = options.jobs
    files, speakers = recordings("test-other")
    frontend = make_pipeline(MelFilterBank(n_jobs=options.jobs), SlidingCMN(window=None))
    verification = []
    for name in (SHIPPED, WESPEAKER):
        embedder = make_pipeline(frontend, SpeakerEmbedder(name, n_jobs=options.jobs)).fit(files)
        verification.append(evaluate(name, embedder.transform, files, speakers)[0])
    lines = table_of(["weights", *COLUMNS], [cells_of(row) for row in verification])
    corpus = load_corpus("ravdess")
    folds = corpus.folds(8)
    rows = {"constant": constant_scores(corpus, folds)}
    for title, params in (("{}", {}), ("{}, ten bands, no VAD", PLAIN)):
        for system in ("small", "medium"):
            pipeline = make_sentiment_pipeline(system, **shared, **params)
            rows[title.format(system)] = system_scores(corpus, folds, pipeline)
            document = {"verification": verification, "sentiment": rows}
            save(options.out, document, lines + score_table("system", rows))


if __name__ == "__main__":
    main()
