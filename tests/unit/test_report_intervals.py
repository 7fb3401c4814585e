from spandex.report.intervals import range_sentences, range_table


def network(wrapped_outputs, wrapped_clips, output_wrap_db):
    return {
        "sums_beyond_24_bits": [0, 10, 0],
        "states_beyond_24_bits": [27, 5144, wrapped_outputs],
        "sums_beyond_32_bits": [0, 1, 0],
        "states_beyond_32_bits": [2, 0, 0],
        "wrapped_outputs": wrapped_outputs,
        "wrapped_clips": wrapped_clips,
        "output_wrap_db": output_wrap_db,
        "per_clip": [{}] * 24,
    }


def test_counts_out_of_range_stand_by_layer_with_clips_and_decibels():
    lines = range_table({"sound": network(0, 0, 0.0), "loud": network(1234, 1, -0.3141)}).splitlines()
    sound, loud = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:])
    assert sound == ["sound", "0 / 10 / 0", "27 / 5,144 / 0", "3", "0", "0", "0.000"]
    assert loud == ["loud", "0 / 10 / 0", "27 / 5,144 / 1,234", "3", "1,234", "1", "\N{MINUS SIGN}0.314"]


def test_a_sentence_names_each_network_whose_masks_wrapped():
    sound, loud = network(0, 0, 0.0), network(1234, 1, -0.3141)
    assert range_sentences({"sound": sound, "loud": loud}) == [
        "loud: 1,234 masks left 24 bits and wrapped, in 1 of 24 clips; that changed its SI-SNR by "
        "\N{MINUS SIGN}0.314 dB."
    ]
    assert range_sentences({"sound": sound}) == ["All masks stayed in the 24 bits of Loihi 2's neurons."]
    assert range_sentences({"before": {"si_snr_db": 1.0}}) == []


def test_scores_without_the_counts_make_no_table():
    assert range_table({"before": {"si_snr_db": 1.0}}) == ""
