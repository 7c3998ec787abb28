"""Whether a data set has enough training windows, and a stride that cuts them."""

from collections.abc import Mapping
from dataclasses import replace

from hicray.config import DataConfig, TrainConfig, UserError
from hicray.maps.contacts import open_map
from hicray.maps.split import grid_of, sets_of
from hicray.windows.plan import count_windows, layout_of

ENOUGH_WINDOWS = 1_000
"""Training windows under which a stride that nobody chose gets shorter."""


def most_windows(config: DataConfig) -> int:
    """Return how many training windows fit the chromosomes; some may be too little usable."""
    return _planned(config, _lengths(config))


def with_stride(config: DataConfig) -> DataConfig:
    """Return it with a training stride that cuts enough windows, where none is given.

    Windows of a small genome then overlap by all but one coarse bin, if need be: shifted copies,
    which train better than fewer windows do. A large genome keeps a stride of a quarter window.
    """
    if config.train_stride_bins:
        return config
    lengths, step = _lengths(config), grid_of(config).step // config.fine_bin_size
    stride, fits = layout_of(config).train_stride, config
    while _planned(fits, lengths) < ENOUGH_WINDOWS and stride > step:
        # Half as long, in whole coarse bins of every gap.
        stride = max(step, stride // 2 // step * step)
        fits = replace(config, train_stride_bins=stride)
    return fits


def _lengths(config: DataConfig) -> list[Mapping[str, int]]:
    """Return the length of each map's chromosomes, in bp."""
    maps = (
        open_map(uri, config.fine_bin_size, weights_name=config.weights) for uri in config.contacts
    )
    return [contacts.chromsizes for contacts in maps]


def _planned(config: DataConfig, lengths: list[Mapping[str, int]]) -> int:
    sets = sets_of(config, lengths[0])
    return count_windows(lengths, sets, config.fine_bin_size, layout_of(config)).get("train", 0)


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
