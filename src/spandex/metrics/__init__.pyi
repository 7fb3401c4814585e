from .dnsmos import Dnsmos, DnsmosScore
from .latency import codec_latency_s
from .power import EventCounter, pdp_proxy, power_proxy
from .size import NetworkSize, network_size
from .snr import si_snr

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
