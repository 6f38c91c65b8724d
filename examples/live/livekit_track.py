"""Follow the track of a participant in a LiveKit room (pip install livekit).

In an agent, once a track is subscribed::

    asyncio.create_task(follow(track, pipeline, print))
"""

import asyncio

import numpy as np
from livekit import rtc

from sklearn_speechsent import StreamingSentiment

RATE = 16_000


async def follow(track, pipeline, on_event):
    """Call a function with each event until the track ends."""
    stream = StreamingSentiment(pipeline, sample_rate=RATE)
    async for heard in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
        samples = np.frombuffer(heard.frame.data, "int16")
        for event in await asyncio.to_thread(stream.push, samples):
            on_event(event)
    for event in await asyncio.to_thread(stream.finish):
        on_event(event)
