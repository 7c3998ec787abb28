"""Checkpoints of networks that nobody trained, with random output layers, for any map."""

from dataclasses import dataclass
from pathlib import Path

import torch

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.maps.contacts import open_map
from hicray.model import checkpoint
from hicray.model.build import build
from hicray.model.trained import Trained, TrainedSource
from hicray.predict.locus import measure
from hicray.predict.network import Network, NetworkFile
from hicray.windows.inputs import Inputs


def trained_for(
    uri: str, fine: int, coarse: int, window: int, *, offsets: int = 1, raw: bool = False
) -> Trained:
    """Describe windows of a map that a network could have been trained on."""
    curve = measure(open_map(uri, fine), offsets * window, raw=raw).expected
    return Trained(
        fine_bin_size=fine,
        coarse_bin_size=coarse,
        window_bins=window,
        raw=raw,
        eps=1.0,
        chroms=(),
        sources=(TrainedSource(name="map", total_reads=1, cap=None, fine_expected=curve),),
    )


def write_checkpoint(
    folder: Path,
    model: ModelConfig,
    trained: Trained | None,
    *,
    std: float = 0.05,
    map_factor: float = 1.0,
    **sizes,
) -> Path:
    """Save a network whose correction to its base is random, and nothing if ``std`` is 0.

    The transformer's map is made larger or smaller by a factor: 0 makes it nothing.
    """
    torch.manual_seed(3)
    if trained is not None:
        sizes = trained.layout
    network = build(model, **sizes)
    for parameter in network.head.pixels.out.parameters():
        torch.nn.init.normal_(parameter, std=std)
    with torch.no_grad():
        for parameter in network.head.decoder.map.parameters():
            parameter *= map_factor
    if network.head.coarse is not None:
        torch.nn.init.normal_(network.head.coarse.correct.weight, std=std)
    trial = TrialConfig(coarse_bin_size=512, model=model, train=TrainConfig())
    optimizer = torch.optim.SGD(network.parameters())
    history = [{"val_oe_pearson": 0.5}]
    folder.mkdir(parents=True, exist_ok=True)
    progress = checkpoint.Progress(trial, "plan", history, trained=trained)
    checkpoint.save(folder, network, optimizer, progress)
    return folder


class InputShown(Network):
    """Returns one of its inputs, in place of a network."""

    def __init__(self, name: str) -> None:
        super().__init__(torch.nn.Identity())
        self.name = name

    def values(self, inputs: Inputs) -> torch.Tensor:
        shown: torch.Tensor = getattr(inputs, self.name)
        return shown


@dataclass(frozen=True, kw_only=True)
class Shown(NetworkFile):
    """A file that holds no network: opened, it returns the input of that name."""

    shows: str

    def open(self, device: torch.device | str = "cpu") -> Network:
        return InputShown(self.shows)
