import numpy as np
import pytest

from spandex.data import NoisySpeech, link_clips, write_wav
from spandex.errors import SpandexError


@pytest.fixture
def test_set(tmp_path):
    rng = np.random.default_rng(1)
    for file_id in range(3):
        audio = rng.uniform(-0.1, 0.1, 1600).astype(np.float32)
        write_wav(tmp_path / "set/noisy" / f"a_snr3_tl-20_fileid_{file_id}.wav", audio)
        write_wav(tmp_path / "set/clean" / f"clean_fileid_{file_id}.wav", audio / 2)
        write_wav(tmp_path / "set/noise" / f"noise_fileid_{file_id}.wav", audio / 2)
    return tmp_path / "set"


def test_folder_holds_exactly_the_first_clips(test_set, tmp_path):
    for count in (3, 2):
        link_clips(test_set, tmp_path / "ours", count)
        ours = NoisySpeech(tmp_path / "ours")
        assert [file.stem.rpartition("_")[2] for file in ours.noisy_files] == [str(number) for number in range(count)]
        assert len(list((tmp_path / "ours/noise").glob("*.wav"))) == count
        assert np.array_equal(ours[1].clean, NoisySpeech(test_set)[1].clean)


def test_too_few_clips_is_an_error(test_set, tmp_path):
    with pytest.raises(SpandexError, match="4 clips were asked for, and there are 3"):
        link_clips(test_set, tmp_path / "ours", 4)


def test_files_that_are_not_links_are_never_removed(test_set, tmp_path):
    write_wav(tmp_path / "ours/noisy/own_fileid_9.wav", np.zeros(1600, np.float32))
    with pytest.raises(SpandexError, match=r"own_fileid_9\.wav: is no link"):
        link_clips(test_set, tmp_path / "ours", 1)
    assert (tmp_path / "ours/noisy/own_fileid_9.wav").is_file()
