"""What a denoiser is judged by: SI-SNR, DNSMOS, events and power proxy, latency, size."""

from spandex.metrics.dnsmos import Dnsmos, DnsmosScore
from spandex.metrics.latency import codec_latency_s
from spandex.metrics.power import EventCounter, pdp_proxy, power_proxy
from spandex.metrics.si_snr import si_snr
from spandex.metrics.size import NetworkSize, network_size

__all__ = [
    "Dnsmos",
    "DnsmosScore",
    "EventCounter",
    "NetworkSize",
    "codec_latency_s",
    "network_size",
    "pdp_proxy",
    "power_proxy",
    "si_snr",
]
