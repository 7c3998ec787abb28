"""How long to train where nobody said: by how many windows there are.

Overlapping windows of a small genome are soon known by heart; of a large one, few passes suffice.
"""

import math
from dataclasses import replace

from hicray.config import TrainConfig

WINDOWS_SHOWN = 16_000
"""About as many training windows are shown until a run reaches its ceiling."""
FEWEST, MOST = 8, 40
"""Epochs."""
PATIENT = 4
"""A run waits this share of its epochs, one in so many, for a better score."""


def fitted(train: TrainConfig, windows: int) -> TrainConfig:
    """Return it with epochs and patience for so many training windows, where epochs are 0."""
    if train.epochs:
        return train
    epochs = min(MOST, max(FEWEST, math.ceil(WINDOWS_SHOWN / max(windows, 1))))
    return replace(train, epochs=epochs, patience=train.patience or math.ceil(epochs / PATIENT))


def described(train: TrainConfig, windows: int) -> str:
    """Return the sentence that says how long a run trains."""
    a_step = train.batch_size * train.workers * train.accumulate
    steps = math.ceil(windows // (train.batch_size * train.workers) / train.accumulate)
    most = f"a run takes at most {train.epochs} epochs of {steps} steps of {a_step} windows"
    if not train.patience:
        return most
    return f"{most}, and ends after {train.patience} without a better validation score"
