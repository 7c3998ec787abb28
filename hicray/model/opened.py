"""A checkpoint's network, opened."""

from collections.abc import Mapping

from hicray.io.storage import Location
from hicray.model import checkpoint
from hicray.model.build import build
from hicray.model.enhancer import Enhancer


def open_network(folder: Location, layout: Mapping[str, int]) -> Enhancer:
    """Return a checkpoint's network in eval mode, on the host.

    The published file that an encoder started from is read only where that encoder was frozen: all
    other weights are in the checkpoint.

    Args:
        folder: The checkpoint.
        layout: How windows lie, as ``Trained.layout`` and ``Manifest.layout`` have it.

    Raises:
        UserError: The folder is no checkpoint, or it is damaged.
    """
    progress = checkpoint.read_progress(folder)
    if progress.trial.model.encoder == "frozen":
        enhancer = build(progress.trial.model, **layout)
    else:
        enhancer = Enhancer(progress.trial.model, **layout)
    checkpoint.load_weights(folder, enhancer)
    return enhancer.eval()
