"""Networks in Lava: sparse conversion, the audio chain of Lava processes and its inference."""

from spandex.deploy.inference import Inference, infer
from spandex.deploy.netx import DeployedLayer, Network, deployed_weights

__all__ = ["DeployedLayer", "Inference", "Network", "deployed_weights", "infer"]
