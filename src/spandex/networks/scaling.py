"""How magnitudes enter a mask network, in training as deployed."""

MAGNITUDE_OFFSET = 0.2  # taken from every magnitude before it is quantised (challenge baseline: stft_mean)
INPUT_GAIN = 1 << 6  # fixed-point units of the input per unit of magnitude (challenge baseline: input_quantizer)
