"""Values of options, read from text; a wrong one is told in a sentence."""

import argparse


def count(text: str, what: str = "processes") -> int:
    """Return a number of `what` of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}; give 1 or more")
    return int(text)


def measure(text: str, what: str = "number of seconds") -> float:
    """Return a finite number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
    return value


def port(text: str) -> int:
    """Return the number of a port; 0 stands for a free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535, 0 for a free one")
    return int(text)


def seeds(text: str) -> list[int]:
    """Return the seeds of a list like `11,12,13`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds like 11,12,13") from None
