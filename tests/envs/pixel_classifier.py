"""What can be told from pixels by a simple classifier."""

import numpy as np


def features(panels: np.ndarray) -> np.ndarray:
    """Return every pixel's mean over time, and how much the panel varies over time, down and across."""
    grey = panels.mean(4)
    texture = [np.abs(np.diff(grey, axis=axis)).mean((1, 2, 3)) for axis in (1, 2, 3)]
    texture += [grey.std((1, 2, 3)), grey.mean(1).std((1, 2)), grey.mean((1, 3)).std(1), grey.mean((1, 2)).std(1)]
    columns = np.concatenate([panels.mean(1).reshape(len(panels), -1), np.stack(texture, axis=1)], axis=1)
    return (columns - columns.mean(0)) / (columns.std(0) + 1e-6)


def ridge_accuracy(panels: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """Return the accuracy of a ridge classifier on the second half of the events, trained on the first."""
    inputs, num_train = features(panels), len(labels) // 2
    kinds = np.unique(labels)
    targets = (labels[:, None] == kinds) - 1 / len(kinds)
    train = inputs[:num_train]
    kernel = train @ train.T
    strength = 0.1 * np.trace(kernel) / num_train
    dual = np.linalg.solve(kernel + strength * np.eye(num_train), targets[:num_train])
    guesses = kinds[(inputs[num_train:] @ train.T @ dual).argmax(1)]
    return float((guesses == labels[num_train:]).mean()), len(labels) - num_train


def chance_band(chance: float, num: int) -> float:
    """Return how far from chance an accuracy stays in 99 % of cases."""
    return 2.576 * float(np.sqrt(chance * (1 - chance) / num))
