"""Whether an answer is right. The one place that compares an answer with what the task says."""

from videozoom.envs.tasks import Task


def is_right(task: Task, answer: str | None) -> bool:
    """Return whether an answer is right; none at all is wrong.

    Example:
        >>> is_right(task_with_answer_b, "B")
        True
    """
    return answer == task.answer
