"""The methods of all companion papers on the denoiser of SPANDEX, with the seeds of the other experiments."""
