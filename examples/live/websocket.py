"""Serve streams over WebSockets (pip install websockets): 16-bit PCM in, JSON events out.

    python examples/live/websocket.py sentiment.joblib --port 8765

A client sends binary messages of mono samples at the rate in its path, such as ``/16000``, and the
text ``end`` when nothing more comes. Every connection has a stream of its own over one pipeline.
"""

import argparse
import asyncio
import dataclasses
import json
import math

import joblib
import numpy as np
from websockets.asyncio.server import serve

from sklearn_speechsent import StreamingSentiment
from sklearn_speechsent.inference import CausalDetector


def as_json(event):
    """Text of an event; what is not known is null, as JSON has no NaN."""
    fields = dataclasses.asdict(event)
    for name, value in fields.items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and math.isnan(value):
            value = None
        fields[name] = value
    fields["probabilities"] = [
        None if math.isnan(p) else float(p) for p in fields.get("probabilities", ())
    ]
    return json.dumps({"event": type(event).__name__, **fields})


def handler(pipeline):
    """Function that serves a connection."""
    detector = CausalDetector.of()  # one for all streams

    async def follow(connection):
        rate = int(connection.request.path.strip("/") or 16000)
        stream = StreamingSentiment(pipeline, sample_rate=rate, detector=detector)
        async for message in connection:
            if message == "end":
                break
            # In a thread, so that other connections go on meanwhile.
            samples = np.frombuffer(message, "int16")
            for event in await asyncio.to_thread(stream.push, samples):
                await connection.send(as_json(event))
        for event in await asyncio.to_thread(stream.finish):
            await connection.send(as_json(event))

    return follow


async def main(model, host, port):
    """Serve until interrupted."""
    async with serve(handler(joblib.load(model)), host, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    asyncio.run(main(options.model, options.host, options.port))
