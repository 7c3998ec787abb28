"""The tower of a network that hicray trained, frozen: a small model of DNA of one's own."""

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from hicray.config import UserError
from hicray.io.storage import Location, locate
from hicray.model import checkpoint
from hicray.model.dna import DnaTower
from hicray.model.opened import open_network

_POSITIONS, _MARGIN_BINS = 256, 64
"""Bins that are given at once, and those that are read on either side: more than a tower sees."""


class OwnTower(nn.Module):
    """A trained tower, slid over the genome: a position is a fine bin.

    Args:
        tower: Of the network.
        bin_size: Fine bins that it was trained on, in bp.
    """

    def __init__(self, tower: DnaTower, bin_size: int) -> None:
        super().__init__()
        self.tower = tower
        self.positions, self.stride = _POSITIONS, bin_size
        self.window = (_POSITIONS + 2 * _MARGIN_BINS) * bin_size
        self.channels = tower.bases.block.conv.out_channels

    def forward(
        self, codes: UInt8[Tensor, "batch bases"]
    ) -> Float[Tensor, "batch positions channels"]:
        bins: Tensor = self.tower(codes)
        cut = (bins.shape[1] - self.positions) // 2
        return bins[:, cut : cut + self.positions]


def load(where: str) -> OwnTower:
    """Take the tower out of a checkpoint.

    Raises:
        UserError: There is none, or its network has another DNA encoder.
    """
    folder = _folder(where)
    progress = checkpoint.read_progress(folder)
    if progress.trained is None or progress.trial.model.dna != "tower":
        raise UserError(
            f"{where} has no DNA tower to be slid over a genome; give a checkpoint of seq that was "
            "trained with --dna tower"
        )
    dna = open_network(folder, progress.trained.layout).head.dna
    if not isinstance(dna, DnaTower):
        raise UserError(
            f"{where} is of the arm {progress.trial.model.sequence}, which has no tower; give a "
            "checkpoint of seq"
        )
    return OwnTower(dna, progress.trained.fine_bin_size).eval()


def weights_of(where: str) -> Location:
    """Return the file of a checkpoint's weights."""
    return _folder(where) / checkpoint.WEIGHTS


def _folder(where: str) -> Location:
    """Return a checkpoint's folder, or that of a trial's best one."""
    folder = locate(where)
    return checkpoint.best_checkpoint(folder) or folder
