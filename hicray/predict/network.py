"""Trained networks, found, described and opened.

Of three kinds: hicray's checkpoints, models that MLflow keeps, and HiCFoundation's published files.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hicray.config import UserError
from hicray.io.copies import local
from hicray.io.storage import Location, locate
from hicray.maps.tracks import parse_tracks
from hicray.model import checkpoint, hicfoundation
from hicray.model.checkpoint import Progress
from hicray.model.enhancer import Enhancer
from hicray.model.opened import open_network
from hicray.model.patches import PATCH
from hicray.model.run import predict
from hicray.model.trained import Trained, TrainedSource
from hicray.windows.inputs import Inputs
from hicray.windows.manifest import image_cap
from hicray.windows.scales import LOG_MAX, from_network

LOGGED = ("models:/", "runs:/")
PUBLISHED_MOST = 1_000.0
"""Contacts of a pixel that a published head can tell; its target was cut off there."""


class BinSizes(NamedTuple):
    """Of the map that is read and of the one that is returned, in bp; 0 leaves it to the network.

    A published file knows neither.
    """

    coarse: int = 0
    fine: int = 0


AS_TRAINED = BinSizes()


class Network:
    """An open network: windows in, contacts out.

    Args:
        module: In eval mode, on its device; whole, or as published.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @property
    def device(self) -> torch.device:
        """Where it predicts."""
        own = next(self.module.parameters(), None)
        return torch.device("cpu") if own is None else own.device

    def predict(self, inputs: Inputs) -> Float[Tensor, "batch rows cols"]:
        """Return enhanced windows in scaled contacts, none below 0."""
        return from_network(self.values(inputs))

    def values(self, inputs: Inputs) -> Float[Tensor, "batch rows cols"]:
        """Return enhanced windows in network units."""
        return predict(self.module, inputs.arguments())


class PublishedNetwork(Network):
    """HiCFoundation's own: it reads the image and the count alone, and its output has a cap.

    Its windows on the diagonal are made symmetric, which upstream leaves as they come.
    """

    @torch.inference_mode()
    def values(self, inputs: Inputs) -> Float[Tensor, "batch rows cols"]:
        """Return enhanced windows in network units, computed in fp32 as upstream does."""
        values: Tensor = self.module(inputs.image, inputs.total_reads)
        on_diagonal = (inputs.diagonal == 0)[:, None, None]
        values = torch.where(on_diagonal, (values + values.mT) / 2, values)
        return values.clamp(max=math.log10(PUBLISHED_MOST + 1) / LOG_MAX)


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """A network that was found and described, but not opened: small, so that it travels.

    Attributes:
        kind: Which of the three.
        where: Checkpoint folder, MLflow URI or file.
        tracking_uri: MLflow store of a logged model.
        trained: What it was trained on.
        reads_dna: Whether it needs the genome.
        flank_bins: Fine bins of DNA, or of tracks, that it reads beyond either end of a window.
        embedding_model: Digest of the model whose stored embeddings it reads; empty for none.
        reads_bases: Whether it reads the bases themselves.
        tracks: Names of the tracks that it reads, in its order.
        track_scales: Mean and deviation of each one's log signal in training.
        digest: SHA-256 of its weights.
    """

    kind: Literal["checkpoint", "logged", "published"]
    where: str
    tracking_uri: str = ""
    trained: Trained
    reads_dna: bool = False
    flank_bins: int = 0
    embedding_model: str = ""
    reads_bases: bool = False
    tracks: tuple[str, ...] = ()
    track_scales: tuple[float, ...] = ()
    digest: str

    def for_map(self, total_reads: int, genome_length: int) -> "NetworkFile":
        """Return it with one scale, of the source nearest in depth to the map that is read.

        A published file has none: its image's cap follows from that map.
        """
        chosen = self.trained.nearest(total_reads)
        if self.kind == "published":
            own = replace(chosen.source, cap=image_cap(total_reads, genome_length))
            chosen = replace(chosen, sources=(own,))
        return replace(self, trained=chosen)

    def open(self, device: torch.device | str = "cpu") -> Network:
        """Load the weights.

        Raises:
            UserError: They are no longer what they were, or do not fit.
        """
        if self.kind == "published":
            return PublishedNetwork(hicfoundation.load(self.where).to(device))
        if self.kind == "logged":
            module = _open_logged(self.where, self.tracking_uri)
        else:
            module = _open_checkpoint(local(self.where))
        return Network(module.eval().to(device))


def find(where: str, sizes: BinSizes = AS_TRAINED, tracking_uri: str = "") -> NetworkFile:
    """Find a network and describe it.

    Args:
        where: A checkpoint folder, a trial's folder (its best checkpoint then), the URI of a
            model in MLflow (``models:/...``, ``runs:/...``), or a published HiCFoundation file.
        sizes: Bin sizes that are asked for.
        tracking_uri: MLflow store, for a URI.

    Raises:
        UserError: There is none, it does not say what it was trained on, or that is not what is
            asked for.
    """
    if where.startswith(LOGGED):
        found = _find_logged(where, tracking_uri)
    elif locate(where).is_dir():
        found = _find_checkpoint(locate(where))
    elif locate(where).is_file():
        return _find_published(where, sizes)
    else:
        raise UserError(
            f"--checkpoint {where} does not exist; give a checkpoint's or a trial's folder, a "
            "model's URI (models:/... or runs:/...) or a published HiCFoundation file"
        )
    own = found.trained.coarse_bin_size, found.trained.fine_bin_size
    for option, given, size in zip(("bin-size", "fine-bin-size"), sizes, own, strict=True):
        if given not in (0, size):
            raise UserError(
                f"--{option} {given} is not what {where} was trained on; give {size}, or train "
                "another"
            )
    return found


def _find_checkpoint(folder: Location) -> NetworkFile:
    if not (folder / checkpoint.TRIAL).is_file():
        best = checkpoint.best_checkpoint(folder)
        if best is None:
            raise UserError(
                f"{folder} holds no hicray checkpoint ({checkpoint.TRIAL} is missing) and is no "
                "trial's folder of checkpoints; give one of the two"
            )
        folder = best
    progress = checkpoint.read_progress(folder)
    checkpoint.require_frozen(folder, progress)
    weights = checkpoint.weights_digest(folder / checkpoint.WEIGHTS)
    digest = f"{weights}+{progress.frozen}" if progress.frozen else weights
    return _described("checkpoint", str(folder.resolve()), progress, digest)


def _find_logged(uri: str, tracking_uri: str) -> NetworkFile:
    tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not tracking_uri:
        raise UserError(
            f"--checkpoint {uri} is kept by MLflow; give --tracking-uri, the store that knows it"
        )
    # MLflow takes seconds to import, which the other kinds need not pay.
    from hicray.tracking.logged import read_model

    model = read_model(uri, tracking_uri)
    progress = checkpoint.progress_from(model.progress, uri)
    found = _described("logged", uri, progress, _digest(model.weights))
    return replace(found, tracking_uri=tracking_uri)


def _described(
    kind: Literal["checkpoint", "logged"], where: str, progress: Progress, digest: str
) -> NetworkFile:
    if progress.trained is None:
        raise UserError(
            f"{where} was written by an older hicray that did not keep the scale of its maps; "
            "train anew in another --storage folder"
        )
    model = progress.trial.model
    reads_dna = model.reads_dna
    return NetworkFile(
        kind=kind,
        where=where,
        trained=progress.trained,
        reads_dna=reads_dna,
        flank_bins=model.flank_bins if reads_dna or model.reads_tracks else 0,
        embedding_model=model.embedding_model if model.reads_embeddings else "",
        reads_bases=model.reads_bases,
        tracks=tuple(parse_tracks(model.tracks)) if model.reads_tracks else (),
        track_scales=model.track_scales,
        digest=digest,
    )


def _find_published(path: str, sizes: BinSizes) -> NetworkFile:
    coarse, fine = sizes
    if not coarse or not fine or coarse % fine:
        raise UserError(
            f"{path} is a published file, which knows no bin sizes: --bin-size {coarse} must be a "
            f"multiple of --fine-bin-size {fine}; it was trained with 10000 for both"
        )
    network = hicfoundation.load(path)
    patches = int(network.decoder.pos_embed.shape[1])
    window, factor = math.isqrt(patches) * PATCH, coarse // fine
    if window * window != patches * PATCH * PATCH or window % factor:
        raise UserError(
            f"{path} is for windows of {patches} patches, which are no square of whole coarse "
            f"bins {factor} fine ones wide; give another file or --fine-bin-size {coarse}"
        )
    # It reads no base: of a curve, only the length is needed.
    scale = TrainedSource(name="", total_reads=0, cap=None, fine_expected=(0.0,) * window)
    trained = Trained(
        fine_bin_size=fine,
        coarse_bin_size=coarse,
        window_bins=window,
        raw=True,
        eps=1.0,
        chroms=(),
        sources=(scale,),
    )
    digest = checkpoint.weights_digest(path)
    where = str(locate(path))
    return NetworkFile(kind="published", where=where, trained=trained, digest=digest)


def _digest(weights: Mapping[str, Tensor]) -> str:
    state = hashlib.sha256()
    for name in sorted(weights):
        state.update(name.encode())
        state.update(weights[name].detach().contiguous().numpy().tobytes())
    return state.hexdigest()


def _open_checkpoint(folder: Path) -> Enhancer:
    trained = checkpoint.read_progress(folder).trained
    assert trained is not None
    return open_network(folder, trained.layout)


def _open_logged(uri: str, tracking_uri: str) -> Enhancer:
    """Take the weights out of the logged graph, which itself is bound to the device of its host."""
    from hicray.tracking.logged import read_model

    model = read_model(uri, tracking_uri)
    progress = checkpoint.progress_from(model.progress, uri)
    trained = progress.trained
    assert trained is not None
    enhancer = Enhancer(progress.trial.model, **trained.layout)
    enhancer.load_state_dict(model.weights, assign=True)
    return enhancer
