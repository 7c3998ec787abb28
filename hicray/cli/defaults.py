"""What is taken where the command line says nothing."""

from dataclasses import replace

from hicray.config import DataConfig, TrainConfig, Tune

PUBLISHED = TrainConfig().base_learning_rate
FROM_SCRATCH = 0.128
"""Base learning rate of the tiny network without weights."""
SIMULATED = Tune(
    data=DataConfig(fine_bin_size=128, coarse_bin_sizes=(256, 512), window_bins=64),
    # Five epochs learn nothing by heart; with half of its DNA hidden seq would not find it.
    train=TrainConfig(
        epochs=5,
        batch_size=8,
        accumulate=1,
        base_learning_rate=FROM_SCRATCH,
        ssim_weight=0.1,
        hidden_dna=0.0,
    ),
    trials=2,
)
"""Without maps: a simulated genome, small bins that keep every ratio and cost little."""
REAL = Tune(
    train=TrainConfig(
        epochs=0, batch_size=8, accumulate=1, base_learning_rate=FROM_SCRATCH, ssim_weight=0.1
    ),
    trials=2,
)
"""With maps: HiCFoundation's window, and as many epochs as their windows ask for."""


def defaults(*, own_maps: bool, published_weights: bool) -> Tune:
    """Return the defaults for one's own maps, or for the simulation.

    With published weights, the learning rate is that of tuning them.
    """
    base = REAL if own_maps else SIMULATED
    if not published_weights:
        return base
    return replace(base, train=replace(base.train, base_learning_rate=PUBLISHED))
