"""Noise made by procedure: every kind is a function of a random generator and a length.

Each returns float32 (samples,) at 16 kHz, scaled to a peak of 1.
"""

from collections.abc import Callable

import numpy as np

from spandex.data.audio import SAMPLE_RATE_HZ

_NYQUIST_HZ = SAMPLE_RATE_HZ / 2


def scaled(audio: np.ndarray, peak: float = 1.0) -> np.ndarray:
    """The same signal with its largest sample at ``peak``."""
    return (audio * (peak / np.abs(audio).max())).astype(np.float32)


def convolve(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The answer of a system with an impulse response, as long as ``audio``."""
    from scipy.fft import next_fast_len  # takes half a second, which reading a corpus need not spend

    length = next_fast_len(len(audio) + len(response), real=True)
    return np.fft.irfft(np.fft.rfft(audio, length) * np.fft.rfft(response, length), length)[: len(audio)]


def coloured(rng: np.random.Generator, samples: int) -> np.ndarray:
    """White to brown and blue noise (power as f**-2 to f**1), often band-passed, slowly modulated."""
    exponent = rng.choice([-1.0, 0.0, 1.0, 2.0]) + rng.uniform(-0.3, 0.3)
    low_hz = _log_uniform(rng, 50, 2000)
    band_hz = (low_hz, low_hz * _log_uniform(rng, 2, 16)) if rng.random() < 0.5 else None
    noise = _shaped(rng, samples, exponent, band_hz)
    return scaled(noise * (1 + rng.uniform(0, 0.9) * _slow(rng, samples, rate_hz=_log_uniform(rng, 0.2, 4))))


def engine(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Harmonics of a wandering rotation with uneven firing, over broadband rumble."""
    base_hz = _log_uniform(rng, 20, 110)
    speed = 1 + rng.uniform(0.02, 0.3) * _slow(rng, samples, rate_hz=_log_uniform(rng, 0.1, 1.5))
    sound = _harmonics(rng, base_hz * speed, count=int(rng.integers(12, 40)), tilt=rng.uniform(0.3, 1.2))
    rumble = _shaped(rng, samples, exponent=1.5) * (1 + 0.5 * _slow(rng, samples, rate_hz=8))
    return scaled(_unit(sound) + rng.uniform(0.2, 1.0) * _unit(rumble))


def fan(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Mains hum, blade tones and an air stream that beats with the blades."""
    mains_hz = rng.choice([50.0, 60.0])
    blade_hz = _log_uniform(rng, 60, 400) * (1 + 0.01 * _slow(rng, samples, rate_hz=0.5))
    hum = _harmonics(rng, np.full(samples, mains_hz), count=12, tilt=rng.uniform(0.5, 1.5))
    blades = _harmonics(rng, blade_hz, count=8, tilt=rng.uniform(0.8, 1.5))
    beat = 1 + rng.uniform(0, 0.6) * np.sin(2 * np.pi * np.cumsum(blade_hz / rng.integers(3, 9)) / SAMPLE_RATE_HZ)
    air = _shaped(rng, samples, exponent=rng.uniform(0.3, 1.2)) * beat
    return scaled(_unit(air) + rng.uniform(0.1, 0.8) * _unit(blades) + rng.uniform(0.0, 0.6) * _unit(hum))


def rain(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Drops (random impulses ringing in a few resonances) over a hiss that comes and goes."""
    rate_hz = _log_uniform(rng, 15, 1500)
    drops = np.zeros(samples)
    count = rng.poisson(rate_hz * samples / SAMPLE_RATE_HZ) + 1
    drops[rng.integers(0, samples, count)] = rng.exponential(1.0, count) * rng.choice([-1, 1], count)
    sound = convolve(drops, sum(_ringing(rng, (300, 6000), (0.002, 0.02)) for _ in range(3)))
    hiss = _shaped(rng, samples, exponent=rng.uniform(-0.5, 0.7)) * (1 + 0.6 * _slow(rng, samples, rate_hz=0.5))
    return scaled(_unit(sound) + rng.uniform(0.1, 1.0) * _unit(hiss))


def music(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Plucked or held notes of one scale, in chords, to a steady beat."""
    sound = np.zeros(samples)
    beat_s = rng.uniform(0.2, 0.6)
    root_hz = _log_uniform(rng, 90, 300)
    scale = np.array([0, 2, 4, 7, 9] if rng.random() < 0.5 else [0, 2, 3, 5, 7, 8, 10])
    tilt, decay_s = rng.uniform(0.8, 2.0), _log_uniform(rng, 0.15, 1.5)
    for start in range(0, samples, int(beat_s * SAMPLE_RATE_HZ)):
        for _ in range(rng.integers(1, 4)):
            note_hz = root_hz * 2 ** ((rng.choice(scale) + 12 * rng.integers(0, 3)) / 12)
            length = min(samples - start, int(4 * decay_s * SAMPLE_RATE_HZ))
            time_s = np.arange(length) / SAMPLE_RATE_HZ
            envelope = np.minimum(time_s / 0.01, 1) * np.exp(-time_s / decay_s)
            tone = _harmonics(rng, np.full(length, note_hz), count=6, tilt=tilt)
            sound[start : start + length] += rng.uniform(0.3, 1.0) * envelope * tone
    return scaled(sound)


def traffic(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Vehicles that pass, each louder and brighter when near, over a distant rumble."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    sound = _unit(_shaped(rng, samples, exponent=2.0)) * rng.uniform(0.05, 0.4)
    tyres = _unit(_shaped(rng, samples, exponent=0.7))
    for _ in range(rng.integers(1, 6)):
        away = (time_s - rng.uniform(0, time_s[-1])) / rng.uniform(0.4, 2.5)
        near = 1 / (1 + away**2)
        engine_hz = _log_uniform(rng, 40, 150) * (1 - 0.06 * np.tanh(away))  # Doppler shift at 20 m/s
        motor = _harmonics(rng, engine_hz, count=15, tilt=0.8)
        sound += rng.uniform(0.4, 1.0) * near * (tyres + rng.uniform(0.1, 0.8) * _unit(motor))
    return scaled(sound)


def impacts(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Keys, knocks and dishes: bursts of short ringing hits over a faint room tone."""
    hits = np.zeros(samples)
    start = 0
    while start < samples:
        burst = start + np.cumsum(rng.exponential(_log_uniform(rng, 0.05, 0.5) * SAMPLE_RATE_HZ, rng.integers(2, 12)))
        inside = burst[burst < samples].astype(int)
        hits[inside] += rng.uniform(0.3, 1.0, len(inside))
        start = int(burst[-1] + rng.uniform(0.1, 1.5) * SAMPLE_RATE_HZ)
    hits[rng.integers(0, samples)] += 1
    thump = rng.standard_normal(80) * np.exp(-np.arange(80) / 20)
    dish = sum(rng.uniform(0.2, 1.0) * _ringing(rng, (150, 6000), (0.01, 0.15)) for _ in range(rng.integers(2, 6)))
    sound = convolve(hits, np.convolve(thump, dish))
    return scaled(_unit(sound) + rng.uniform(0.02, 0.2) * _unit(_shaped(rng, samples, exponent=1.0)))


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    kind.__name__: kind for kind in (coloured, engine, fan, rain, music, traffic, impacts)
}


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())


def _unit(audio: np.ndarray) -> np.ndarray:
    """Scaled to an RMS of 1."""
    return audio / np.sqrt(np.mean(audio**2))


def _shaped(
    rng: np.random.Generator, samples: int, exponent: float, band_hz: tuple[float, float] | None = None
) -> np.ndarray:
    """Gaussian noise with power as f**-exponent, flat below 20 Hz; a band has second-order Butterworth slopes."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    spectrum *= np.maximum(frequency_hz, 20) ** (-exponent / 2)
    if band_hz:
        low_hz, high_hz = band_hz
        detuning = (frequency_hz**2 - low_hz * high_hz) / ((high_hz - low_hz) * np.maximum(frequency_hz, 1))
        spectrum /= np.sqrt(1 + detuning**4)
    return np.fft.irfft(spectrum, samples)


def _slow(rng: np.random.Generator, samples: int, rate_hz: float) -> np.ndarray:
    """A smooth random curve in [-1, 1] that turns about ``rate_hz`` times a second."""
    knots = rng.uniform(-1, 1, int(samples / SAMPLE_RATE_HZ * rate_hz) + 3)
    return np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots)


def _ringing(rng: np.random.Generator, frequency_hz: tuple[float, float], decay_s: tuple[float, float]) -> np.ndarray:
    """A damped oscillation of unit energy, its frequency and decay drawn from the ranges; it ends at -60 dB or less."""
    time_s = np.arange(int(7 * decay_s[1] * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sound = np.exp(-time_s / _log_uniform(rng, *decay_s)) * np.sin(
        2 * np.pi * _log_uniform(rng, *frequency_hz) * time_s
    )
    return sound / np.linalg.norm(sound)


def _harmonics(rng: np.random.Generator, frequency_hz: np.ndarray, count: int, tilt: float) -> np.ndarray:
    """Sum of harmonics below the Nyquist frequency, amplitudes falling as n**-tilt, at random phases.

    Computed as powers of one complex oscillator: z**n = z**(n-1) * z.
    """
    oscillator = np.exp(2j * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ).astype(np.complex64)
    count = min(count, max(1, int(0.95 * _NYQUIST_HZ / frequency_hz.max())))
    amplitudes = np.arange(1, count + 1) ** -tilt * rng.uniform(0.3, 1.0, count)
    phases = np.exp(2j * np.pi * rng.random(count))
    sound = np.zeros(len(frequency_hz))
    power = np.ones_like(oscillator)
    for amplitude in (amplitudes * phases).astype(np.complex64):
        power = power * oscillator
        sound += (power * amplitude).real
    return sound
