"""Networks as they are deployed, beside their float versions, judged on folders of clips."""

from spandex.evaluation.evaluate import Evaluation, evaluate
from spandex.evaluation.pairs import Pair, pair_clips
from spandex.evaluation.subject import Subject, load_subject

__all__ = ["Evaluation", "Pair", "Subject", "evaluate", "load_subject", "pair_clips"]
