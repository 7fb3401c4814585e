import numpy as np
import pytest

from spandex.deploy import codec
from spandex.errors import SpandexError
from spandex.networks import scaling


def speech_like(samples, seed=0):
    """Noise in bursts, in 16-bit steps as in a file."""
    random = np.random.default_rng(seed)
    envelope = np.clip(np.sin(2 * np.pi * np.arange(samples) / 4000), 0, 1)
    return (np.rint(envelope * random.standard_normal(samples) * 3000) / 2**15).astype(np.float32)


def test_input_is_the_rounded_magnitude_of_the_last_frame():
    audio = speech_like(3000)
    inputs, spectrum = codec.encode(audio, 512, 128)
    assert inputs.shape == spectrum.shape == (257, 24 + 4)
    assert inputs.dtype == np.int32
    for step in (0, 2, 7, 23, 26, 27):
        frame = np.zeros(512)
        heard = np.concatenate([np.zeros(512), audio, np.zeros(1000)])[: 512 + (step + 1) * 128]
        frame[:] = heard[-512:]
        exact = np.fft.rfft(frame)
        np.testing.assert_allclose(spectrum[:, step], exact, rtol=0, atol=1e-12)
        assert inputs[:, step].tolist() == np.round((np.abs(exact) - 0.2) * 64).astype(int).tolist()


def test_frames_one_by_one_give_the_bits_of_all_at_once():
    audio = speech_like(40_000)
    inputs, spectrum = codec.encode(audio, 512, 128)
    outputs = np.random.default_rng(1).integers(-(2**19), 2**19, inputs.shape, np.int32)
    together = codec.decode(outputs, spectrum, 512, 128)
    window, overlap = np.zeros(512), np.zeros(384)
    waiting = np.zeros(257, np.complex128)
    hops = []
    for step, hop in enumerate(np.pad(audio, (0, inputs.shape[1] * 128 - len(audio))).reshape(-1, 128)):
        window = np.concatenate([window[128:], hop])
        encoded, transform = codec.encode_frames(window)
        assert np.array_equal(encoded, inputs[:, step])
        assert np.array_equal(transform, spectrum[:, step])
        decoded, overlap = codec.overlap_add(codec.decode_frames(outputs[:, step], waiting)[None], overlap, 128)
        hops.append(decoded)
        waiting = transform
    alone = np.concatenate(hops)[512:].astype(np.float32)
    assert together.dtype == np.float32
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("samples", [1, 127, 128, 129, 511, 5000])
@pytest.mark.parametrize(("n_fft", "hop"), [(512, 128), (32, 8), (32, 16), (32, 32)])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_mask_of_one_gives_the_audio_back_in_place(samples, n_fft, hop, lookahead):
    audio = speech_like(samples)
    inputs, spectrum = codec.encode(audio, n_fft, hop, lookahead)
    denoised = codec.decode(np.zeros_like(inputs), spectrum, n_fft, hop, lookahead)
    assert len(denoised) == -(-samples // hop) * hop
    np.testing.assert_allclose(denoised[:samples], audio, rtol=0, atol=1e-7)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_mask_comes_one_step_after_its_frame_and_another_for_the_lookahead(lookahead):
    audio = speech_like(128 * 20)
    inputs, spectrum = codec.encode(audio, 512, 128, lookahead)
    outputs = np.zeros_like(inputs)
    outputs[:, 11 + lookahead] = -(2**18)  # mutes the frame of step 10, which ends with the hop 10 and begins with 7
    denoised = codec.decode(outputs, spectrum, 512, 128, lookahead)[: len(audio)].reshape(20, 128)
    expected = audio.reshape(20, 128).copy()
    expected[7:11] *= 0.75
    np.testing.assert_allclose(denoised, expected, rtol=0, atol=1e-7)


def test_mask_is_the_output_plus_one_from_zero_up():
    spectrum = np.ones((4, 17), np.complex128)
    outputs = np.repeat(np.array([[-(2**20)], [-(2**18)], [2**17], [3 * 2**18]], np.int32), 17, axis=1)
    peaks = codec.decode_frames(outputs, spectrum)[:, 0]
    np.testing.assert_allclose(peaks, [0, 0, 1.5, 4], atol=1e-15)


def test_output_wraps_to_24_bits():
    spectrum = np.ones((2, 17), np.complex128)
    outputs = np.array([[2**24 + 5] * 17, [2**23] * 17], np.int32)
    wrapped = np.array([[5] * 17, [-(2**23)] * 17], np.int32)
    assert np.array_equal(codec.decode_frames(outputs, spectrum), codec.decode_frames(wrapped, spectrum))


@pytest.mark.parametrize(("inputs", "outputs", "hop"), [(257, 257, 128), (257, 257, None), (17, 17, 8)])
def test_framing_follows_from_the_number_of_neurons(inputs, outputs, hop):
    assert scaling.framing(inputs, outputs, "n.net", hop) == (2 * (inputs - 1), hop or 128)


@pytest.mark.parametrize(
    ("inputs", "outputs", "hop", "message"),
    [
        (257, 10, None, "n.net: no mask network; it maps 257 to 10 values"),
        (1, 1, None, "n.net: no mask network; it maps 1 to 1 values"),
        (17, 17, 7, "n.net: frames of 32 samples are no multiple of the hop of 7"),
        (17, 17, 0, "n.net: frames of 32 samples are no multiple of the hop of 0"),
        (18, 18, None, "n.net: frames of 34 samples are no multiple of the hop of 8"),
    ],
)
def test_network_without_frames_is_refused(inputs, outputs, hop, message):
    with pytest.raises(SpandexError, match=message):
        scaling.framing(inputs, outputs, "n.net", hop)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(0), "a.wav: empty"),
        (np.zeros((2, 9)), r"a.wav: audio of shape \(2, 9\)"),
        (np.array([0, np.nan]), "a.wav: holds NaN"),
        (np.array([0, -np.inf]), "a.wav: holds NaN or infinite"),
        (np.array([0, -30000.0]), "a.wav: samples up to 30000; full scale is 1"),
    ],
)
def test_unusable_audio_is_refused(audio, message):
    with pytest.raises(SpandexError, match=message):
        codec.check_audio(audio, "a.wav")
