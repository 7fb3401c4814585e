"""LeNet-5 on CIFAR-10."""

from typing import Any

from spandex.companions.activity.experiment import Experiment
from spandex.companions.work import Work
from spandex.params.companions.activity import Activity


def run(settings: Activity, work: Work) -> dict[str, Any]:
    """One seed; see ``Experiment.run``."""
    return Experiment("cifar10", settings, work).run()
