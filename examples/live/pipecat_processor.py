"""Listen to what the user says in a Pipecat pipeline (pip install pipecat-ai).

Put it behind the input::

    Pipeline([transport.input(), SentimentProcessor(model, print), stt, ...])
"""

import asyncio

import numpy as np
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.processors.frame_processor import FrameProcessor

from sklearn_speechsent import StreamingSentiment


class SentimentProcessor(FrameProcessor):
    """Pass all frames on, and call a function with the events of the user's voice."""

    def __init__(self, pipeline, on_event):
        super().__init__()
        self.pipeline, self.on_event, self.stream = pipeline, on_event, None

    async def process_frame(self, frame, direction):
        """Push audio into the stream."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            if self.stream is None:
                self.stream = StreamingSentiment(self.pipeline, sample_rate=frame.sample_rate)
            samples = np.frombuffer(frame.audio, "int16").reshape(-1, frame.num_channels)
            for event in await asyncio.to_thread(self.stream.push, samples):
                self.on_event(event)
