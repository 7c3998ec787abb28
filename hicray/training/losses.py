"""What training makes small: the mean over windows of (1 - w) loss + w (1 - SSIM).

A loss is the report's mean squared error of network values; or 1 - correlation of log observed
over expected plus, with it, either its mean squared error or the Poisson likelihood of the fine
map's reads. Observed over expected is by the training chromosomes' fine decay, with a pseudo-count
of one contact.
"""

from torch import log, where

from hicray.config import TrainConfig
from hicray.metrics.pixelwise import PerWindow, masked_mean, mse, ssim
from hicray.windows.batches import Batch
from hicray.windows.scales import MIN_SEPARATION, NATS, Maps, rates, separations

PER_READ = 5.0
"""Weight of the likelihood, in nats a read: a tenth of one, which sharpening may gain, counts as
much as half of the correlation."""


def decorrelation(prediction: Maps, batch: Batch) -> PerWindow:
    """Return 1 - each window's correlation of log observed over expected, 2 bins and more apart."""
    far = separations(batch.diagonal, prediction.shape[-1]) >= MIN_SEPARATION
    mask = batch.usable & far
    ours, theirs = (
        where(mask, log_oe - masked_mean(log_oe, mask)[:, None, None], 0.0)
        for log_oe in ((prediction - batch.expected) * NATS, (batch.target - batch.expected) * NATS)
    )
    spread = masked_mean(ours**2, mask) * masked_mean(theirs**2, mask)
    # A flat window has no correlation: the pseudo-count leaves it a small one, with a gradient.
    return 1 - masked_mean(ours * theirs, mask) / (spread + 1e-6).sqrt()


def log_oe_error(prediction: Maps, batch: Batch) -> PerWindow:
    """Return each window's mean squared error of log observed over expected."""
    return mse(prediction=prediction, target=batch.target, usable=batch.usable) * NATS**2


def surprise(prediction: Maps, batch: Batch) -> PerWindow:
    """Return how much less likely each window's reads are than by distance alone, in nats a read.

    The fine map's own weights say how many reads a contact stands for, so that nothing is gained
    by guessing them; a read is drawn from Poisson(contacts x reads per contact).
    """
    ours, distance = rates(prediction, batch.expected), rates(batch.expected, batch.expected)
    # The negative log of a ratio of Poisson likelihoods, in which log(reads!) cancels.
    loss = (ours - distance) * batch.reads_per_contact - batch.reads * log(ours / distance)
    # A window without a read would divide by 0.
    total = where(batch.usable, batch.reads, 0.0).sum(dim=(1, 2)).clamp(min=1)
    return where(batch.usable, loss, 0.0).sum(dim=(1, 2)) / total


def loss(prediction: Maps, batch: Batch, config: TrainConfig) -> PerWindow:
    """Return each window's (1 - w) loss + w (1 - SSIM), of the loss that is asked for.

    Args:
        prediction: In network units.
        batch: The windows.
        config: Names the loss and w.
    """
    maps = {"prediction": prediction, "target": batch.target, "usable": batch.usable}
    if config.loss == "report":
        error = mse(**maps)
    elif config.loss == "likelihood":
        error = decorrelation(prediction, batch) + PER_READ * surprise(prediction, batch)
    else:
        error = decorrelation(prediction, batch) + log_oe_error(prediction, batch)
    if config.ssim_weight == 0:
        return error
    return (1 - config.ssim_weight) * error + config.ssim_weight * (1 - ssim(**maps))
