"""The linear readout, which is all that is trained: ridge regression in closed form."""

from dataclasses import dataclass
from typing import Self

import numpy as np

PENALTIES = tuple(10.0**exponent for exponent in range(-6, 3))  # per sample, of features of variance 1
HELD_OUT = 0.2  # of the training samples, the last ones, choose the penalty


@dataclass(frozen=True)
class Readout:
    """y = (x - mean) weights + offset.

    Attributes:
        mean: of the features (features,).
        weights: (features, outputs).
        offset: (outputs,).
    """

    mean: np.ndarray
    weights: np.ndarray
    offset: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Outputs (samples, outputs) for features (samples, features)."""
        return (features - self.mean) @ self.weights + self.offset

    @classmethod
    def fit(cls, features: np.ndarray, targets: np.ndarray) -> Self:
        """Least squares with the one of ``PENALTIES`` on the squared weights that errs least on the last samples.

        Args:
            features: (samples, features); those that never change get no weight.
            targets: (samples, outputs).
        """
        cut = round((1 - HELD_OUT) * len(features))
        candidates = cls._path(features[:cut], targets[:cut])
        errors = [np.square(each(features[cut:]) - targets[cut:]).mean() for each in candidates]
        return cls._path(features, targets)[int(np.argmin(errors))]

    @classmethod
    def _path(cls, features: np.ndarray, targets: np.ndarray) -> list[Self]:
        """One readout a penalty; features are scaled to variance 1 before they are penalised."""
        mean, offset = features.mean(axis=0), targets.mean(axis=0)
        scale = features.std(axis=0)
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        scaled = (features - mean) * inverse
        values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        moments = vectors.T @ (scaled.T @ (targets - offset) / len(scaled))
        return [
            cls(mean, inverse[:, None] * (vectors @ (moments / (values + penalty)[:, None])), offset)
            for penalty in PENALTIES
        ]
