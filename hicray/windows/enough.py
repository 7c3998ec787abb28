"""Whether a data set has as many training windows as one step takes."""

import math
from dataclasses import replace

from hicray.config import DataConfig, TrainConfig, UserError
from hicray.maps.bins import parse_split
from hicray.maps.contacts import open_map
from hicray.maps.split import grid_of, split_sets
from hicray.windows.plan import count_windows, layout

ENOUGH_WINDOWS = 1_000
"""Training windows under which a stride that nobody chose gets shorter."""


def most_windows(config: DataConfig) -> int:
    """Return how many training windows fit the chromosomes; some may be too little usable."""
    maps = (
        open_map(uri, config.fine_bin_size, weights_name=config.weights) for uri in config.contacts
    )
    first, *others = (contacts.chromsizes for contacts in maps)
    sets = split_sets(parse_split(config.split), first, grid_of(config))
    planned = count_windows((first, *others), sets, config.fine_bin_size, layout(config))
    return planned.get("train", 0)


def with_stride(config: DataConfig) -> DataConfig:
    """Return it with a training stride that cuts enough windows, where none is given.

    Windows of a small genome then overlap by all but one coarse bin, if need be: shifted copies,
    which train better than fewer windows do. A large genome keeps a stride of a quarter window.
    """
    if config.train_stride_bins:
        return config
    how = layout(config)
    step = math.lcm(*(size // config.fine_bin_size for size in config.coarse_bin_sizes))
    stride, fits = how.train_stride, config
    while most_windows(fits) < ENOUGH_WINDOWS and stride > step:
        stride = max(step, stride // 2 // step * step)
        fits = replace(config, train_stride_bins=stride)
    return fits


def require_step(windows: int, config: TrainConfig) -> None:
    """Refuse a training set that has fewer windows than one step of all workers takes.

    Args:
        windows: Training windows, or the most that there can be.
        config: The training.

    Raises:
        UserError: It has.
    """
    step = config.workers * config.batch_size
    if windows < step:
        raise UserError(
            f"the training chromosomes have {windows} windows, one step takes {step} "
            f"(--workers {config.workers} x --batch-size {config.batch_size}); lower these, or cut "
            "more windows by --train-stride-bins, --window-bins or another --split"
        )
