"""Audio like speech, computed: what `silero_vad` is held against, with nobody's recording in it.

A voice is a sum of harmonics of a gliding pitch, each as loud as three formants (resonances of the
vocal tract) make it there; vowels follow one another in syllables, with pauses between phrases,
over a little noise. The formants are those of G. Peterson and H. Barney, "Control Methods Used in a
Study of the Vowels", 1952, table II (men).
"""

from __future__ import annotations

from typing import Any

import numpy as np

RATE_HZ = 16_000
_VOWELS_HZ = (  # the first three formants of /i/, /ae/, /a/, /u/, and of /e/ as in "bet"
    (270, 2290, 3010),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (300, 870, 2240),
    (530, 1840, 2480),
)
_BANDWIDTHS_HZ = (60.0, 90.0, 150.0)
_SYLLABLE_SECONDS = 0.22
_PHRASE_SYLLABLES = 6
_PAUSE_SECONDS = 0.5
_NOISE = 0.002


def speech_like(seconds: float, seed: int) -> np.ndarray[Any, Any]:
    """Phrases with pauses between them: FP32 [seconds * 16000] within -1..1."""
    draw = np.random.default_rng(seed)
    parts: list[np.ndarray[Any, Any]] = [silence(_PAUSE_SECONDS, seed)]
    while sum(map(len, parts)) < seconds * RATE_HZ:
        pitch = draw.uniform(95, 180)
        parts += [
            _syllable(pitch * draw.uniform(0.9, 1.1), int(draw.integers(5)), draw)
            for _ in range(_PHRASE_SYLLABLES)
        ]
        parts.append(np.zeros(int(_PAUSE_SECONDS * RATE_HZ)))
    voice = np.concatenate(parts)[: int(seconds * RATE_HZ)]
    noise = draw.normal(0.0, _NOISE, len(voice))
    return np.clip(voice + noise, -1, 1).astype(np.float32)


def silence(seconds: float, seed: int) -> np.ndarray[Any, Any]:
    """A quiet room, FP32 [seconds * 16000]: noise alone."""
    count = int(seconds * RATE_HZ)
    return np.random.default_rng(seed).normal(0.0, _NOISE, count).astype(np.float32)


def _syllable(pitch_hz: float, vowel: int, draw: np.random.Generator) -> np.ndarray[Any, Any]:
    count = int(_SYLLABLE_SECONDS * RATE_HZ * draw.uniform(0.8, 1.2))
    at = np.linspace(0, 1, count, endpoint=False)
    glide = pitch_hz * (1.05 - 0.1 * at)
    phase = 2 * np.pi * np.cumsum(glide) / RATE_HZ
    sound = np.zeros(count)
    for harmonic in range(1, int(4000 / pitch_hz)):
        loudness = _formants(harmonic * pitch_hz, vowel) / harmonic**0.5
        sound += loudness * np.sin(harmonic * phase)
    sound *= np.sin(np.pi * at) ** 0.5
    return np.asarray(0.3 * sound / np.abs(sound).max())


def _formants(hz: float, vowel: int) -> float:
    pairs = zip(_VOWELS_HZ[vowel], _BANDWIDTHS_HZ, strict=True)
    return sum(1 / (1 + ((hz - centre) / width) ** 2) for centre, width in pairs)
