"""Sines, and what is heard of them."""

import numpy as np

RATE = 16000


def tone(frequency=440.0, duration=1.0, rate=RATE, level=0.5):
    """Samples of a sine; the duration in seconds."""
    return level * np.sin(2 * np.pi * frequency * np.arange(round(duration * rate)) / rate)


def peak(samples, rate=RATE):
    """Frequency and amplitude of the strongest sine, the edges left out."""
    inner = samples[rate // 10 : -rate // 10]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner)), 4 * rate))
    return np.argmax(spectrum) / 4, 4 * spectrum.max() / len(inner)
