"""Whether a data set has as many training windows as one step takes."""

from hicray.config import DataConfig, TrainConfig, UserError
from hicray.maps.bins import parse_split, split_sets
from hicray.maps.contacts import open_map
from hicray.windows.plan import count_windows, layout


def most_windows(config: DataConfig) -> int:
    """Return how many training windows fit the chromosomes; some may be too little usable."""
    window = config.window_bins * config.fine_bin_size
    maps = (
        open_map(uri, config.fine_bin_size, weights_name=config.weights) for uri in config.contacts
    )
    first, *others = (contacts.chromsizes for contacts in maps)
    splits = split_sets(parse_split(config.split), first, window)
    planned = count_windows((first, *others), splits, config.fine_bin_size, layout(config))
    return planned.get("train", 0)


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
