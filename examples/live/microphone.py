"""Listen to the microphone (pip install sounddevice); Ctrl-C ends.

python examples/live/microphone.py sentiment.joblib
"""

import queue
import sys

import joblib
import sounddevice

from sklearn_speechsent import StreamingSentiment


def main(model):
    """Print events until Ctrl-C."""
    chunks = queue.Queue()  # the callback must not wait for a score

    def heard(samples, n_samples, times, status):
        if status:
            print(status, file=sys.stderr)
        chunks.put(samples.copy())

    pipeline = joblib.load(model)
    with sounddevice.InputStream(channels=1, dtype="int16", callback=heard) as microphone:
        stream = StreamingSentiment(pipeline, sample_rate=int(microphone.samplerate))
        try:
            while True:
                for event in stream.push(chunks.get()):
                    print(event, flush=True)
        except KeyboardInterrupt:
            for event in stream.finish():
                print(event)


if __name__ == "__main__":
    main(sys.argv[1])
