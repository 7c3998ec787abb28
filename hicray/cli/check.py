"""``hicray check``: what is wrong, before hours are spent."""

from hicray.cli.data_set import checked
from hicray.cli.guard import say
from hicray.config import DataConfig, ModelConfig


def check(data: DataConfig, model: ModelConfig) -> None:
    """Say what is wrong with maps, genome and split before hours are spent."""
    from hicray.comparison.foreseen import check_data
    from hicray.maps.check import require_genome

    require_genome(data, (model.sequence,))
    checked(model, data)
    say(*check_data(data), "nothing is wrong with them")
