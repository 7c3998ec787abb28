"""Is convolving on the coarse grid the right way? The field's own networks beside it, without DNA.

A U-Net and a network like HiCARN, both on the fine grid, train on the same shards as noseq, with
the same loss, steps and stop, and are scored on the same test windows by the same code. They read
what the coarse path reads, repeated on the fine grid, and correct the same base. Beside noseq
stands a network that was trained without its vision transformer.

Command (one fly arm, half an hour on 2 cores; a killed run goes on where it stopped; without a
map, a simulated one):

    python experiments/networks.py --contacts s2_dm6_2L.mcool --fine-bin-size 10000 \
        --coarse-bin-sizes 40000 --window-bins 64 \
        --split "val=2L:19.9M-22.5M;test=2L:3.2M-6.4M,2L:9.6M-12.8M,2L:16M-19.2M"

Expected: networks on the fine grid score no higher than noseq, at several times its cost; 0 for the
transformer's map takes next to nothing from a noseq that was trained with it.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
import tyro
from jaxtyping import Float
from torch import Tensor, nn

from hicray.cli.data_set import prepare_shards
from hicray.cli.defaults import REAL, SIMULATED
from hicray.cli.guard import guarded, say
from hicray.cli.main import Flat
from hicray.comparison.arms import score_arms
from hicray.comparison.learning import learnt, stops
from hicray.comparison.pictures import file_name
from hicray.comparison.results import JUDGED, MAPLESS, NOSEQ, GapResult, Row
from hicray.comparison.table import cell
from hicray.config import DataConfig, ModelConfig, Run, TrainConfig, TrialConfig
from hicray.evaluation.baselines import BASE
from hicray.evaluation.rivals import CEILING, RIDGE
from hicray.evaluation.window_set import HeldOutWindows, Predictor, device
from hicray.maps.check import require_genome
from hicray.metrics.paired import paired_difference
from hicray.metrics.scores import LABELS
from hicray.model import checkpoint
from hicray.model.decay import DecayFactors
from hicray.model.encoder import PRESETS
from hicray.model.head import Head
from hicray.model.run import predict
from hicray.training.effort import described, fitted
from hicray.training.losses import loss
from hicray.training.optimizer import make_optimizer
from hicray.training.space import started
from hicray.training.sweep import Build, open_data, own_network, require_seeds, sweep
from hicray.windows.collate import Collate
from hicray.windows.inputs import EVIDENCE, USABLE
from hicray.windows.manifest import Manifest, ShardSet
from hicray.windows.scales import NATS, Maps
from hicray.windows.smoothing import smoothed_base

Features = Float[Tensor, "batch channels rows cols"]
INPUTS = EVIDENCE + 1
"""The coarse path's, repeated, and the base's log O/E."""
TIMED_STEPS = 7


class WithoutTransformer(Head):
    """Noseq but for its contact encoder and decoder: coarse path and pixels."""

    def __init__(self, trial: TrialConfig, manifest: Manifest) -> None:
        model, layout = trial.model, manifest.layout(trial.coarse_bin_size)
        super().__init__(model, PRESETS[model.preset], **layout)
        del self.decoder

    def forward(self, image: Tensor, total_reads: Tensor, **inputs: Tensor) -> Maps:  # type: ignore[override]
        """Sharpen as noseq's head does without tokens."""
        return super().forward(None, **inputs)


class OnFineGrid(nn.Module):
    """Corrects the base by a network on the fine grid, from features to nats of contacts + 1."""

    def __init__(self, body: nn.Module, model: ModelConfig) -> None:
        super().__init__()
        self.body, self.start_width_bins = body, model.start_width_bins
        self.decay = DecayFactors()

    def forward(
        self, base: Maps, expected: Maps, evidence: Features, diagonal: Tensor, **_: Tensor
    ) -> Maps:
        if self.start_width_bins:
            base = smoothed_base(base, expected, evidence[:, USABLE], self.start_width_bins)
        gap = base.shape[-1] // evidence.shape[-1]
        repeated = evidence.repeat_interleave(gap, 2).repeat_interleave(gap, 3)
        features = torch.cat([(base - expected)[:, None] * NATS, repeated], dim=1)
        enhanced = base + self.body(features)[:, 0] / NATS
        on_diagonal = (diagonal == 0)[:, None, None]
        enhanced = torch.where(on_diagonal, (enhanced + enhanced.mT) / 2, enhanced)
        return self.decay(enhanced, diagonal)  # type: ignore[no-any-return]  # torch


def silent(last: nn.Conv2d) -> nn.Conv2d:
    """Make an output layer zero: training starts at the base, as noseq's does."""
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return last


class UNet(nn.Module):
    """Two convolutions a level, halved and doubled grids, skips (Ronneberger et al. 2015)."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels)]
        self.down = nn.ModuleList(self._level(a, b) for a, b in pairwise([INPUTS, *widths]))
        ups = [*pairwise(widths)][::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in ups)
        self.join = nn.ModuleList(self._level(2 * a, a) for a, _ in ups)
        self.out = silent(nn.Conv2d(channels, 1, 1))

    @staticmethod
    def _level(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.GELU()),
            *(nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.GELU()),
        )

    def forward(self, x: Features) -> Features:
        skips: list[Features] = []
        for level in self.down:
            x = level(nn.functional.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat([skip, up(x)], dim=1))
        return self.out(x)  # type: ignore[no-any-return]  # torch


class Residual(nn.Module):
    """Two convolutions and a skip, without normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.body = nn.Sequential(first, nn.ReLU(), second)

    def forward(self, x: Features) -> Features:
        return torch.relu(x + self.body(x))


class Cascade(nn.Module):
    """Steps in a row, after each a 1x1 convolution over all that they have made so far."""

    def __init__(self, steps: Sequence[nn.Module], channels: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        seen = range(2, len(steps) + 2)
        self.fuse = nn.ModuleList(nn.Conv2d(n * channels, channels, 1) for n in seen)

    def forward(self, x: Features) -> Features:
        seen = x
        for step, fuse in zip(self.steps, self.fuse, strict=True):
            seen = torch.cat([seen, step(x)], dim=1)
            x = torch.relu(fuse(seen))
        return x


def hicarn(channels: int, blocks: int) -> nn.Sequential:
    """Return cascades of cascading residual blocks (Hicks and Oluwadare 2022), narrower."""
    inner = [Cascade([Residual(channels) for _ in range(3)], channels) for _ in range(blocks)]
    return nn.Sequential(
        nn.Conv2d(INPUTS, channels, 3, padding=1),
        nn.ReLU(),
        Cascade(inner, channels),
        silent(nn.Conv2d(channels, 1, 3, padding=1)),
    )


NETWORKS: dict[str, Build] = {
    NOSEQ: own_network,
    "noseq, no transformer": WithoutTransformer,
    "U-Net, fine grid": lambda trial, _: OnFineGrid(UNet(24, levels=3), trial.model),
    "like HiCARN, fine grid": lambda trial, _: OnFineGrid(hicarn(24, blocks=3), trial.model),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """A map and how it is trained on."""

    data: DataConfig = SIMULATED.data
    train: TrainConfig = REAL.train
    seeds: int = 3
    """Training seeds of each network."""
    storage: str = "runs/networks"
    """Folder of shards, checkpoints and the table."""


def train(
    trials: Mapping[int, TrialConfig], shards: ShardSet, out: Path
) -> dict[str, dict[int, Path]]:
    """Train every network with every seed; return the checkpoints of each by seed."""
    data = open_data(shards, trials[0].coarse_bin_size, reads_dna=False)
    return {name: sweep(trials, data, out / file_name(name), b) for name, b in NETWORKS.items()}


def opened(folder: Path, build: Build, manifest: Manifest) -> Predictor:
    """Return a checkpoint's network as a predictor."""
    module = build(checkpoint.read_progress(folder).trial, manifest)
    checkpoint.load_weights(folder, module)
    module.eval().to(device())
    return lambda batch: predict(module, batch.arguments())


def judged(folders: Mapping[str, Mapping[int, Path]], shards: ShardSet, size: int) -> GapResult:
    """Score filters, noseq and all other networks on the test windows."""
    result = score_arms({NOSEQ: [*folders[NOSEQ].values()]}, shards, size)
    folder, manifest = shards
    windows = HeldOutWindows(folder, "test", Collate(manifest, size), size)
    rows = {
        name: Row(
            windows.score({seed: opened(p, b, manifest) for seed, p in folders[name].items()})
        )
        for name, b in NETWORKS.items()
    }
    learning = {name: [*map(learnt, own.values())] for name, own in folders.items()}
    return replace(result, rows={**result.rows, **rows}, learning=learning)


def costs(trial: TrialConfig, shards: ShardSet) -> dict[str, tuple[int, float]]:
    """Return each network's parameters and CPU milliseconds of a training window, taking turns."""
    folder, manifest = shards
    torch.set_num_threads(1)
    size, config = trial.coarse_bin_size, trial.train
    collate = Collate(manifest, size)
    tables = HeldOutWindows(folder, "train", collate, size).tables(config.batch_size)
    batch = collate.decode(collate.compact(next(tables)))
    networks = {name: build(trial, manifest) for name, build in NETWORKS.items()}
    optimizers = {name: make_optimizer(model, trial) for name, model in networks.items()}
    spent: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(TIMED_STEPS):
        for name, model in networks.items():
            began = time.process_time()
            loss(model(**batch.arguments()), batch, config).mean().backward()  # type: ignore[no-untyped-call]  # torch
            optimizers[name].step()
            optimizers[name].zero_grad()
            spent[name].append((time.process_time() - began) / len(batch) * 1e3)
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in networks.items()}
    # The first step is slower: its memory is new.
    return {name: (sizes[name], median(spent[name][1:])) for name in networks}


def table(result: GapResult, cost: Mapping[str, tuple[int, float]]) -> str:
    """Return rows of filters and networks in Markdown, what each costs, and where it stopped."""
    heads = ["network", "parameters", "ms a training window", "of noseq's", LABELS["mse"]]
    heads += [*(LABELS[score] for score in JUDGED), *(f"{LABELS[s]} - noseq's" for s in JUDGED)]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name in dict.fromkeys((BASE, RIDGE, result.best_filter, NOSEQ, MAPLESS, *cost, CEILING)):
        row, own = result.rows[name], ["", "", ""]
        if name in cost:
            size, spent = cost[name]
            own = [f"{size:,}", f"{spent:.1f}", f"{spent / cost[NOSEQ][1]:.2f}"]
        scores = [cell(row, score) for score in ("mse", *JUDGED)]
        gains = [gain(row, result.rows[NOSEQ], s) if name != CEILING else "" for s in JUDGED]
        lines.append(f"| {' | '.join([name, *own, *scores, *gains])} |")
    noseq = result.rows[NOSEQ].runs
    note = f"{result.gap} bp, n = {len(noseq[0].windows)} {result.split} windows; mean over "
    note += f"{len(noseq)} seeds ± sd over windows; CPU time of one thread"
    return "\n".join([*lines, "", note, "", *stops(result.learning, result.gap)])


def gain(ours: Row, theirs: Row, score: str) -> str:
    """Return the mean difference of two rows, with its interval where there are enough windows."""
    found = paired_difference(ours.frames, theirs.frames, score)
    interval = f" [{found.low:+.4f}, {found.high:+.4f}]" if found.judged else ""
    return f"{found.mean:+.4f}{interval}"


def main(options: Options) -> None:
    """Train and judge every network at every gap."""
    require_seeds(options.seeds)
    require_genome(options.data, ("off",))
    shards = prepare_shards(options.data, Run(storage=options.storage))
    windows, out = shards.manifest.num_windows("train"), Path(options.storage)
    own = fitted(options.train, windows)
    say(described(own, windows))
    model, texts = started(ModelConfig(sequence="off"), options.data), []
    for size in shards.manifest.coarse_bin_sizes:
        first = TrialConfig(coarse_bin_size=size, model=model, train=own)
        trials = {s: replace(first, train=replace(own, seed=s)) for s in range(options.seeds)}
        result = judged(train(trials, shards, out / f"bins_{size}"), shards, size)
        texts.append(table(result, costs(first, shards)))
    (out / "networks.md").write_text("\n".join(texts) + "\n")
    say("", *texts)


if __name__ == "__main__":
    real = any(word.startswith("--contacts") for word in sys.argv)
    default = Options(data=REAL.data) if real else Options()
    guarded(lambda: main(tyro.cli(Options, default=default, config=(Flat,))))
