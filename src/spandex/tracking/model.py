"""A network as MLflow loads it: from this code, which MLflow keeps with the network's file, and without pickle.

MLflow runs this file; nothing else imports it.
"""

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class Denoiser(PythonModel):
    """Denoises with a network as deployed, see ``spandex.deploy.denoiser``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network."""
        from spandex.deploy import denoiser  # takes seconds, which logging the model need not spend

        self._denoiser = denoiser(context.artifacts["network"], **(context.model_config or {}))

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Denoised audio, float32 (clips, samples), of noisy audio of that shape at 16 kHz, full scale 1."""
        return np.stack([self._denoiser.denoise(audio) for audio in model_input])


set_model(Denoiser())
