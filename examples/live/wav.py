"""Replay a recording as a live stream, in real time, and print what is known as it goes.

python examples/live/wav.py sentiment.joblib call.wav
"""

import sys
import time

import joblib
import soundfile

from sklearn_speechsent import StreamingSentiment


def main(model, path, pace=1.0):
    """Push a recording in chunks of 20 ms; ``pace`` 0 does not wait."""
    with soundfile.SoundFile(path) as file:
        stream = StreamingSentiment(joblib.load(model), sample_rate=file.samplerate)
        begun, pushed = time.monotonic(), 0.0
        for chunk in file.blocks(file.samplerate // 50, dtype="float32"):
            pushed += len(chunk) / file.samplerate
            time.sleep(max(0.0, begun + pace * pushed - time.monotonic()))
            for event in stream.push(chunk):
                print(event, flush=True)
        for event in stream.finish():
            print(event, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
