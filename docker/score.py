"""Sentiment of recordings, one line of JSON each: score.py MODEL FILE [FILE ...]."""

import json
import sys

from sklearn_speechsent.runtime import OnnxSentiment

scorer = OnnxSentiment(sys.argv[1])
for file in sys.argv[2:]:
    (found,) = scorer.predict([file]).tolist()
    # JSON has no NaN.
    print(json.dumps({"file": file, "sentiment": None if found != found else found}))
