"""Front ends of other packages, each as its own users would write it.

All but openSMILE give 80 log-mel bands of 25 ms every 10 ms, Hamming window, samples of 16-bit
scale, no dither, and take the mean over 3 s or, where the package's users do, over the utterance.
"""

import numpy as np
import soundfile
import torch

RATE = 16000
_MELS, _WINDOW = 80, 300


def _samples(path):
    samples, rate = soundfile.read(path, dtype="float32")
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if rate == RATE:
        return samples
    import torchaudio

    return torchaudio.functional.resample(torch.from_numpy(samples), rate, RATE).numpy()


def _fbank(samples):
    from torchaudio.compliance import kaldi

    return kaldi.fbank(
        torch.from_numpy(samples)[None] * 32768,
        num_mel_bins=_MELS,
        window_type="hamming",
        sample_frequency=RATE,
        dither=0.0,
    )


def sliding_cmn(frames):
    """Mean over 300 frames by a cumulative sum, as one writes it with NumPy.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, n_mels)

    Returns
    -------
    ndarray of shape (n_frames, n_mels)
    """
    n = len(frames)
    if n <= _WINDOW:
        return frames - frames.mean(axis=0)
    sums = np.cumsum(frames, axis=0, dtype=np.float64)
    sums = np.concatenate([np.zeros((1, frames.shape[1])), sums])
    means = ((sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW).astype(np.float32)
    starts = np.clip(np.arange(n) - _WINDOW // 2, 0, n - _WINDOW)
    return frames - means[starts]


def torchaudio_pair():
    """Make torchaudio's ``kaldi.fbank`` and ``SlidingWindowCmn``."""
    from torchaudio.transforms import SlidingWindowCmn

    cmn = SlidingWindowCmn(cmn_window=_WINDOW, center=True)
    return lambda path: cmn(_fbank(_samples(path))).numpy()


def wespeaker():
    """Make the front end of WeSpeaker: torchaudio's minus the mean of the utterance."""

    def extract(path):
        frames = _fbank(_samples(path))
        return (frames - frames.mean(dim=0)).numpy()

    return extract


def kaldi_native():
    """Make kaldi-native-fbank's, with :func:`sliding_cmn`."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "hamming"
    options.mel_opts.num_bins = _MELS

    def extract(path):
        bank = knf.OnlineFbank(options)
        bank.accept_waveform(RATE, _samples(path) * 32768)
        bank.input_finished()
        return sliding_cmn(np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)]))

    return extract


def librosa_mel():
    """Make librosa's mel spectrogram and :func:`sliding_cmn`: other filters, no pre-emphasis."""
    import librosa

    def extract(path):
        power = librosa.feature.melspectrogram(
            y=_samples(path) * 32768,
            sr=RATE,
            n_fft=512,
            hop_length=160,
            win_length=400,
            window="hamming",
            center=False,
            n_mels=_MELS,
            fmin=20,
            htk=True,
            norm=None,
        )
        return sliding_cmn(np.log(np.maximum(power.T, 1.2e-7)))

    return extract


def egemaps():
    """Make openSMILE's eGeMAPS: another feature set, for orientation."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    return lambda path: smile.process_signal(_samples(path), RATE).to_numpy()


#: By name: its maker, and the window of the mean; "other" if the frames are not the same as ours.
PEERS = {
    "torchaudio: kaldi.fbank, SlidingWindowCmn": (torchaudio_pair, 3.0),
    "as WeSpeaker: kaldi.fbank, mean of the utterance": (wespeaker, None),
    "kaldi-native-fbank, NumPy": (kaldi_native, 3.0),
    "librosa, NumPy": (librosa_mel, "other"),
}
