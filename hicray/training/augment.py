"""What training windows go through that validation windows do not."""

import torch

from hicray.config import TrainConfig
from hicray.windows.batches import Batch


def augmented(batch: Batch, config: TrainConfig, random: torch.Generator) -> Batch:
    """Return a batch with some windows seen from the other strand, and some without their DNA.

    Arms draw alike, whether they read DNA or not, so that equal seeds flip equal windows.

    Args:
        batch: Of the training set.
        config: What is asked for.
        random: Of this worker and epoch, on the host.
    """
    flipped, hidden = torch.rand(2, len(batch), generator=random).to(batch.diagonal.device)
    if config.reverse_complement:
        batch = batch.reverse_complemented(flipped < 0.5)
    return batch.without_dna(hidden < config.hidden_dna)
