"""What things cost: DNA encoders, the coarse path, stored tokens, the encoder's pass.

    python experiments/speed.py dna        # time and memory of each DNA encoder at 4 kb bins
    python experiments/speed.py noseq      # an epoch with and without the coarse path (8 minutes)
    python experiments/speed.py epochs     # large preset: stored tokens against encoding anew
    python experiments/speed.py encoder    # windows/s and share of the matrix rate (GPU)

All figures are ratios within one run, or stand beside the machine's own rate. Weights are random:
they cost what published ones cost.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from torch import nn

from hicray.cli.defaults import REAL
from hicray.cli.guard import say
from hicray.config import (
    DataConfig,
    Fusion,
    ModelConfig,
    Precision,
    Preset,
    SequenceMode,
    TrainConfig,
    TrialConfig,
)
from hicray.model.dna import DnaTower, PooledDna
from hicray.model.encoder import PRESETS, ContactEncoder
from hicray.model.enhancer import Enhancer
from hicray.model.hicfoundation import HiCFoundation, write
from hicray.windows.inputs import EVIDENCE
from hicray.windows.manifest import ShardSet

WINDOW, BIN_SIZE, GAP = 224, 4_000, 2
DEPTHS = range(1, 7)
CHROMOSOME_WINDOWS = 64


def dna(*, repeats: int = 3) -> None:
    """Time and peak memory of one window's DNA (896 kb, one axis), forward and backward."""
    say("| DNA encoder | parameters | forward | forward + backward | peak memory |")
    say("| --- | --- | --- | --- | --- |")
    names = [*(f"tower depth {depth}" for depth in DEPTHS), "pooled"]
    for name in names:
        # A process each: a process's peak memory never falls.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            say(pool.apply(_dna_row, (name, repeats)))


def _dna_row(name: str, repeats: int) -> str:
    device = _device()
    depth = int(name.split()[-1]) if name.startswith("tower") else 0
    made = DnaTower(BIN_SIZE, depth, 32) if depth else PooledDna(PRESETS["large"].dim)
    encoder = made.to(device)
    codes = torch.randint(0, 4, (1, WINDOW * BIN_SIZE), dtype=torch.uint8, device=device)
    before = _peak_gib(device)

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            embedding: torch.Tensor = encoder(codes)
        return embedding

    def both() -> None:
        forward().float().sum().backward()  # type: ignore[no-untyped-call]  # torch

    with torch.no_grad():
        alone = _seconds(forward, device, repeats)
    trained = _seconds(both, device, repeats)
    size = sum(p.numel() for p in encoder.parameters())
    peak = _peak_gib(device) - before
    return f"| {name} | {size:,} | {alone:.3f} s | {trained:.3f} s | {peak:.2f} GiB |"


def epochs(*, windows: int = 8, fusion: Fusion = "both", preset: Preset = "large") -> None:
    """Seconds of an epoch on stored tokens against one that runs the frozen encoder anew.

    Args:
        windows: Training windows; half as many are validated.
        fusion: How DNA joins, and whether there is a pixel path (not for tokens).
        preset: Size of the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        shards = _few_windows(Path(folder), windows, WINDOW)
        weights = Path(folder) / "weights.safetensors"
        patches = (WINDOW // 16) ** 2
        write(HiCFoundation(PRESETS[preset], patches=patches), weights)
        model = ModelConfig(
            preset=preset,
            encoder="frozen",
            encoder_weights=str(weights),
            fusion=fusion,
        )
        say("| arm | encoding anew | stored tokens | ratio |", "| --- | --- | --- | --- |")
        arms: tuple[SequenceMode, ...] = ("off", "on")
        both: tuple[Precision, ...] = ("none", "bf16")
        for sequence in arms:
            arm = replace(model, sequence=sequence)
            anew, stored = (_epoch(arm, shards, kept) for kept in both)
            name = "seq" if sequence == "on" else "noseq"
            say(f"| {name} | {anew:.2f} s | {stored:.2f} s | {anew / stored:.2f} |")


def noseq(*, windows: int = 512, sizes: tuple[int, ...] = (64, WINDOW), epochs: int = 3) -> None:
    """Milliseconds an epoch takes for each training window of noseq, validation included.

    The network and the loss of old, without a coarse path, take turns with today's, which
    predicts 128 of its training windows once more to measure their decay with distance.

    Args:
        windows: Training windows, about.
        sizes: Fine bins of a window.
        epochs: Timed epochs of each, after one that does not count; the median is shown.
    """
    today = ModelConfig(sequence="off"), replace(REAL.train, epochs=epochs + 1)
    old = replace(today[0], coarse_path="off"), replace(today[1], loss="report")
    say("| bins of a window | without coarse path | with | ratio |", "| --- | --- | --- | --- |")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            shards = _few_windows(Path(folder), windows, size)
            loops = [_loop(*one, shards, "none") for one in (old, today)]
            taken = [[one.epoch(epoch)["seconds"] for one in loops] for epoch in range(epochs + 1)]
            each = 1e3 / shards.manifest.num_windows("train")
            before, now = (median(own) * each for own in zip(*taken[1:], strict=True))
            say(f"| {size} | {before:.1f} ms | {now:.1f} ms | {now / before:.2f} |")


def _few_windows(folder: Path, windows: int, window_bins: int) -> ShardSet:
    """Prepare a shard set of windows of bins of 4 kb, simulated."""
    from hicray.cluster import connection
    from hicray.simulation.simulate import SimulationConfig, simulate
    from hicray.windows.shards import prepare

    trained = -(-windows // CHROMOSOME_WINDOWS)
    config = SimulationConfig(
        bin_size=BIN_SIZE,
        num_chromosomes=trained + 2,
        chromosome_bins=window_bins // 4 * (windows // trained + 3),
    )
    made = simulate(folder / "simulation", config)
    connection.connect()
    data = DataConfig(
        contacts=tuple(map(str, made.contacts)),
        genome=str(made.genome),
        coarse_bin_sizes=(16_000,),
        window_bins=window_bins,
        split=f"val=chr{trained + 1};test=chr{trained + 2}",
    )
    return ShardSet(folder / "shards", prepare(data, folder / "shards"))


def _epoch(model: ModelConfig, shards: ShardSet, kept: Precision) -> float:
    """Return the seconds of a second epoch; the first warms up."""
    loop = _loop(model, TrainConfig(epochs=3), shards, kept)
    seconds = [float(loop.epoch(epoch)["seconds"]) for epoch in range(3)]
    return median(seconds[1:])


def _loop(model: ModelConfig, config: TrainConfig, shards: ShardSet, kept: Precision) -> Any:
    """Return one worker's epochs, as training makes them."""
    import ray

    from hicray.maps.genome import read_packed
    from hicray.training.data import Data
    from hicray.training.embeddings import embed
    from hicray.training.optimizer import make_optimizer
    from hicray.training.train import Loop, Worker, network
    from hicray.windows.manifest import GENOME
    from hicray.windows.stream import open_windows

    model = replace(model, embeddings=kept)
    device = _device()
    size = shards.manifest.coarse_bin_sizes[0]
    folder, form = None, None
    if kept != "none":
        folder, form = embed(model, shards, size, use_gpu=device.type == "cuda")
    train, val = (open_windows(shards, s, size, folder) for s in ("train", "val"))
    genome = ray.put(read_packed(shards.folder / GENOME)) if model.sequence == "on" else None
    data = Data(shards.manifest, train, val, genome, form)
    trial = TrialConfig(coarse_bin_size=size, model=model, train=config)
    bare = network(trial, data).to(device)
    return Loop(trial, data, Worker(0, 1, device), bare, make_optimizer(bare, trial))


def encoder(*, batch: int = 32, preset: Preset = "large", repeats: int = 10) -> None:
    """Windows/s of the encoder's pass against the machine's matrix rate, and a train step.

    The other side of each ratio is the same network in fp32 with attention that is not fused.

    Args:
        batch: Windows at once.
        preset: Size of the network.
        repeats: Timed passes.
    """
    device = _device()
    half = device.type == "cuda"
    size = PRESETS[preset]
    patches = WINDOW // 16
    own = ContactEncoder(size, patch_rows=patches, patch_cols=patches).to(device).eval()
    image = torch.randn(batch, 3, WINDOW, WINDOW, device=device)
    reads = torch.full((batch,), 1e8, device=device)
    rate = _matrix_rate(device, torch.bfloat16 if half else torch.float32)

    def run() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            own(image, reads)

    fast = _seconds(run, device, repeats)
    tokens = patches**2 + 2
    weights = sum(p.numel() for p in own.blocks.parameters() if p.ndim == 2)
    per_window = 2 * weights * tokens + size.depth * 4 * tokens**2 * size.dim
    share = per_window * batch / fast / rate
    say(f"{preset} encoder, batch {batch}, {device}: {batch / fast:.1f} windows/s")
    say(f"{share:.0%} of the measured matrix rate of {rate / 1e12:.2f} TFLOP/s")
    _unfuse(own)

    def slow() -> None:
        with torch.inference_mode():
            own(image, reads)

    say(f"{_seconds(slow, device, max(2, repeats // 3)) / fast:.2f} times fp32, unfused attention")
    if half:
        say(f"peak memory {_peak_gib(device):.2f} GiB")
        _train_step(preset, batch, device, repeats)


def _train_step(preset: Preset, batch: int, device: torch.device, repeats: int) -> None:
    """Say how long a step takes that encodes anew, and one on stored tokens."""
    config = ModelConfig(preset=preset, sequence="off")
    model = Enhancer(config, window_bins=WINDOW, bin_size=BIN_SIZE, factor=GAP).to(device)
    model.encoder.requires_grad_(False)
    image = torch.randn(batch, 3, WINDOW, WINDOW, device=device)
    base = torch.rand(batch, WINDOW, WINDOW, device=device)
    evidence = torch.randn(batch, EVIDENCE, WINDOW // GAP, WINDOW // GAP, device=device)
    diagonal = torch.zeros(batch, dtype=torch.long, device=device)
    reads = torch.full((batch,), 1e8, device=device)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        tokens = model.encoder(image, reads)

    def step(work: Callable[[], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast("cuda", torch.bfloat16):
                value = work().float().square().mean()
            value.backward()  # type: ignore[no-untyped-call]  # torch

        return run

    given = base, base, evidence, diagonal
    anew = _seconds(step(lambda: model(image, reads, *given)), device, repeats)
    stored = _seconds(step(lambda: model.head(tokens, *given)), device, repeats)
    say(
        f"train step, batch {batch}: {anew * 1e3:.0f} ms anew, {stored * 1e3:.0f} ms on stored "
        f"tokens ({anew / stored:.2f}); peak memory {_peak_gib(device):.2f} GiB"
    )


def _unfuse(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            setattr(module, "fused_attn", False)  # noqa: B010 - nn.Module's typing allows no other


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of one large product, which no network can beat."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _seconds(lambda: left @ right, device, 10)


def _seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Return the median time of some runs, after one that does not count."""

    def once() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    once()
    return median(once() for _ in range(repeats))


def _peak_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"dna": dna, "noseq": noseq, "epochs": epochs, "encoder": encoder}
    )
