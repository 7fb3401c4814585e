"""What a denoiser is judged by: SI-SNR, DNSMOS, events and power proxy, latency, size."""

from spandex.metrics.si_snr import si_snr

__all__ = ["si_snr"]
