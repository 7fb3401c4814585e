"""LeNet-5 on CIFAR-10."""

from typing import Any

from spandex.companions.activity.experiment import Experiment
from spandex.companions.activity.settings import Activity
from spandex.companions.work import Work


def run(settings: Activity, work: Work) -> dict[str, Any]:
    """One seed; see ``Experiment.run``."""
    return Experiment("cifar10", settings, work).run()
