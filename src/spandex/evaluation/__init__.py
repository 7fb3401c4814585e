"""Networks as they are deployed, beside their float versions, judged on folders of clips."""

from spandex.evaluation.evaluate import Evaluation, evaluate, known_inputs
from spandex.evaluation.pairs import Pair, pair_clips
from spandex.evaluation.subject import Subject, load_subject
from spandex.evaluation.summary import differences, differences_to

__all__ = [
    "Evaluation",
    "Pair",
    "Subject",
    "differences",
    "differences_to",
    "evaluate",
    "known_inputs",
    "load_subject",
    "pair_clips",
]
