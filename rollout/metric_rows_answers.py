"""What is registered of answers by the kind of question."""

from videozoom.envs.tasks import QuestionKind
from videozoom.rollout.metric_rows import Row

ANSWER_ROWS = (
    *(
        Row(
            f"answer/right/{kind}/rate",
            "1",
            "up",
            f"Right answers to questions of kind {kind}.",
            "Right is what `reward_rules.answers` says. No answer counts as wrong.",
        )
        for kind in QuestionKind
    ),
    Row(
        "answer/number_error/mean",
        "1",
        "down",
        "Error of numbers, relative to the true one; absolute below 1; at most 1.",
        "No answer counts as 1. Falls before numbers are right.",
    ),
    Row(
        "answer/word_error_rate/mean",
        "1",
        "down",
        "Words to insert, delete and replace in a transcription, per word of the true one.",
        "No answer counts as 1; above 1, too much is written.",
    ),
    Row("answer/iou/mean", "1", "up", "IoU of answered spans with the true one (mIoU).", "No answer counts as 0."),
    *(
        Row(
            f"answer/recall_{digits}/rate",
            "1",
            "up",
            f"Answered spans whose IoU with the true one is at least 0.{digits[1]} (R@0.{digits[1]}).",
            "A mean IoU between two of these says little; they say how many are good enough.",
        )
        for digits in ("03", "05", "07")
    ),
)
"""Of episodes that are to end with an answer."""
