"""The experiments' own parts: what they compare, refuse and print; their runs are in LOG.md."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch

from hicray.comparison.results import MAPLESS, SHOWN
from hicray.config import DataConfig, ModelConfig, TrainConfig, TrialConfig, UserError
from hicray.evaluation.baselines import BASE
from hicray.evaluation.rivals import CEILING, RIDGE
from hicray.maps.bins import parse_split
from hicray.metrics.paired import paired_difference
from hicray.training.losses import loss
from hicray.windows.collate import Collate
from hicray.windows.manifest import ShardSet
from tests.comparison.results import MANIFEST, result_of

FOLDER = Path(__file__).parent.parent / "experiments"


def program(name):
    """Import an experiment's file as a module."""
    spec = importlib.util.spec_from_file_location(f"experiments_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table1():
    return program("table1")


def test_table_1_trains_the_reports_eight_networks(table1):
    data = DataConfig(contacts=("a.mcool", "b.mcool"), genome="g.fa")
    sets = table1._data_sets(data)
    trained = [
        (one.contacts, size, arm)
        for one in sets.values()
        for size in one.coarse_bin_sizes
        for arm in ("noseq", "seq")
    ]
    assert len(trained) == 8
    near = {(one.contacts, size) for one in sets.values() for size in one.coarse_bin_sizes}
    both = ("a.mcool", "b.mcool")
    assert near == {(both[:1], 8_000), (both[:1], 16_000), (both[1:], 8_000), (both, 8_000)}


def test_table_1_follows_the_reports_recipe(table1):
    recipe, model = table1.RECIPE, table1.REPORTED
    assert (recipe.epochs, recipe.batch_size, recipe.accumulate, recipe.workers) == (32, 4, 4, 2)
    assert (recipe.ssim_weight, recipe.base_learning_rate) == (0.2, 1.5e-3)
    assert (model.dna, model.fusion, model.residual) == ("pooled", "tokens", False)
    assert replace(table1.SMALL.train, base_learning_rate=1.5e-3) == recipe


@pytest.mark.parametrize(
    "changes", [{"contacts": ("a.mcool",)}, {"coarse_bin_sizes": (8_000,)}, {"contacts": ()}]
)
def test_table_1_needs_two_maps_and_two_gaps(table1, changes, tmp_path):
    data = replace(DataConfig(contacts=("a.mcool", "b.mcool"), genome="g.fa"), **changes)
    with pytest.raises(UserError, match="two maps at two gaps"):
        table1._two_maps(data, tmp_path)


def test_the_designs_table_pairs_gains_by_seed():
    designs = program("dna_designs")
    run = {"parameters": 10, "dna_parameters": 4, "mse": 0.1, "epochs": 2, "val_windows": 7}
    results = {
        (name, seed): run | {"score": 0.5 + seed + (name != designs.NOSEQ) / 4, "seconds": 2.0}
        for name in designs.DESIGNS
        for seed in range(2)
    }
    lines = designs.table(results, seeds=2, windows=100).splitlines()
    assert len(lines) == 2 + len(designs.DESIGNS) + 2
    row = next(line for line in lines if line.startswith("| tower depth 6"))
    assert row.split(" | ")[3:] == [
        "10.0",
        "0.100000 ± 0.000000",
        "1.2500 ± 0.7071",
        "+0.2500 ± 0.0000 |",
    ]
    assert lines[-1].startswith("n = 7 validation windows, 2 seeds")


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("dna_designs", "compare_designs"),
        ("networks", "main"),
        ("planted_signal", "main"),
        ("real_maps", "main"),
    ],
)
def test_no_seeds_are_refused_before_anything_is_prepared(name, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = program(name)
    options = experiment.Options(storage=str(tmp_path / "runs"), seeds=0)
    with pytest.raises(UserError, match="--seeds 0 trains nothing; give 1 or more"):
        getattr(experiment, run)(options)
    assert not list(tmp_path.iterdir())


def test_what_dna_costs_is_measured_for_every_encoder(monkeypatch):
    speed = program("speed")
    monkeypatch.setattr(speed, "WINDOW", 2)
    monkeypatch.setattr(speed, "BIN_SIZE", 64)
    for name, parameters in (("tower depth 1", 10_272), ("pooled", 404_672)):
        cells = speed._dna_row(name, repeats=1).split(" | ")
        assert cells[:2] == [f"| {name}", f"{parameters:,}"]
        assert all(float(cell.split()[0]) >= 0 for cell in cells[2:])


@pytest.fixture(scope="module")
def planted():
    return program("planted_signal")


def planted_results(planted, **changed):
    """Results as they must come out, but for the rows of the planted signal that are changed."""
    pair = {"noseq": 0.65, "seq": 0.83, planted.RATES: 0.9, planted.SPLIT: 0.88}
    controls = {"blank": 0.65, "composition": 0.66, planted.TOKENS: 0.65, planted.REPORT: 0.65}
    swaps = {"seq, shuffled DNA": 0.64, "seq, another locus' DNA": 0.5, "elsewhere": 0.65}
    levels = {
        (planted.PLANTED, 4): pair | controls | swaps | changed,
        (planted.PLANTED, 2): pair | {"noseq": 0.78},
        (planted.NEGATIVE, 4): pair | {"seq": 0.65},
        (planted.LOOPS, 4): pair | {"seq": 0.66},
    }
    known = {RIDGE: 0.6, CEILING: 0.9, planted.RATES: 0.9}
    return {key: beaten(result_of(known | rows, seeds=3)) for key, rows in levels.items()}


def beaten(result):
    """Hold noseq against a filter, as a judged gap does."""
    pair = result.rows["noseq"].frames, result.rows[RIDGE].frames
    scores = {score: paired_difference(*pair, score) for score in SHOWN}
    differences = {**result.differences, ("noseq", RIDGE): scores}
    return replace(result, differences=differences, best_filter=RIDGE)


def test_the_planted_signals_checks_hold_where_it_comes_out(planted):
    results = planted_results(planted)
    checks = planted.checks(results)
    assert [what for what, _, holds in checks if not holds] == []
    assert len(checks) == 14
    assert planted.closed(results[planted.PLANTED, 4], planted.RATES) == pytest.approx(
        0.72, abs=0.02
    )


@pytest.mark.parametrize(
    ("changed", "fails"),
    [
        ({"seq": 0.65}, "larger at 4x"),
        ({"blank": 0.83}, "seq - blank is above 0"),
        ({"seq, shuffled DNA": 0.7}, "seq, shuffled DNA - noseq is under a tenth"),
        ({"elsewhere": 0.7}, "trained on another locus' DNA"),
        ({"tower, tokens alone": 0.68}, "tower, tokens alone - noseq is under a tenth"),
    ],
)
def test_what_fails_is_named_in_the_last_sentence(planted, changed, fails):
    results = planted_results(planted, **changed)
    cases = {
        name: planted.Case(simulation=None, shards=ShardSet(None, MANIFEST))
        for name in planted.TITLES
    }
    text = planted.state(cases, results)
    last = text.splitlines()[-1]
    assert "of 14 checks fail" in last
    assert fails in last
    assert text.count("## Simulation") == 3


@pytest.fixture(scope="module")
def networks():
    return program("networks")


FIELD = ("noseq, no transformer", "U-Net, fine grid", "like HiCARN, fine grid")
TRIAL = TrialConfig(
    coarse_bin_size=512,
    model=ModelConfig(sequence="off"),
    train=TrainConfig(epochs=1, batch_size=8, accumulate=1, base_learning_rate=0.064),
)


@pytest.fixture(scope="module")
def few_windows(networks, alone_shards):
    folder, manifest = alone_shards
    return next(networks.HeldOutWindows(folder, "test", Collate(manifest, 512), 512).batches())


@pytest.mark.parametrize("name", FIELD)
@pytest.mark.parametrize("width", [0.0, 1.5])
def test_the_fields_networks_start_where_noseq_does(
    networks, alone_shards, few_windows, name, width
):
    trial = replace(TRIAL, model=replace(TRIAL.model, start_width_bins=width))
    starts = [
        networks.NETWORKS[one](trial, alone_shards[1])(**few_windows.arguments())
        for one in (name, "noseq")
    ]
    assert torch.equal(*starts)
    assert torch.allclose(starts[0], few_windows.base, atol=1e-6) == (width == 0)


@pytest.mark.parametrize("name", FIELD)
def test_the_fields_networks_read_all_evidence_learn_whole_and_stay_symmetric(
    networks, alone_shards, few_windows, name
):
    torch.manual_seed(0)
    network = networks.NETWORKS[name](TRIAL, alone_shards[1])
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    evidence = few_windows.evidence.clone().requires_grad_()
    sharpened = network(**few_windows.arguments() | {"evidence": evidence})
    assert torch.equal(sharpened, sharpened.mT)
    loss(sharpened, few_windows, TRIAL.train).mean().backward()
    still = [
        name for name, own in network.named_parameters() if own.grad is None or not own.grad.any()
    ]
    assert still == []
    assert evidence.grad.abs().amax(dim=(0, 2, 3)).all()


def test_the_networks_table_holds_each_against_noseq(networks):
    levels = {BASE: 0.6, RIDGE: 0.65, "noseq": 0.8, MAPLESS: 0.79}
    levels |= {**dict(zip(FIELD, (0.8, 0.75, 0.7), strict=True)), CEILING: 0.9}
    result = replace(result_of(levels), best_filter=RIDGE)
    cost = {"noseq": (360_769, 6.0)} | dict.fromkeys(FIELD, (1000, 24.0))
    rows = {
        cells[0]: cells
        for cells in (line[2:-2].split(" | ") for line in networks.table(result, cost).splitlines())
    }
    assert list(levels) == [name for name in rows if name in levels]
    assert rows["noseq"][1:4] == ["360,769", "6.0", "1.00"]
    unet = rows["U-Net, fine grid"]
    assert unet[1:4] == ["1,000", "24.0", "4.00"]
    assert [float(gain.split()[0]) for gain in unet[-2:]] == pytest.approx([-0.05] * 2, abs=0.002)
    assert all(gain.endswith("]") for gain in unet[-2:])


@pytest.fixture
def by_value(networks):
    """Ray's workers know a program's functions by value, as of any program that is run."""
    ray.cloudpickle.register_pickle_by_value(networks)
    yield
    ray.cloudpickle.unregister_pickle_by_value(networks)


def test_the_fields_networks_train_and_are_scored_beside_noseq(
    networks, by_value, tiny_data, local_ray, tmp_path
):
    data = replace(tiny_data, genome="", coarse_bin_sizes=(512,), train_stride_bins=32)
    options = networks.Options(data=data, train=TRIAL.train, seeds=1, storage=str(tmp_path))
    networks.main(options)
    assert len([*tmp_path.glob("bins_512/*/*/trial.json")]) == len(networks.NETWORKS)
    lines = (tmp_path / "networks.md").read_text().splitlines()
    rows = {line[2:].split(" | ")[0]: line[2:].split(" | ") for line in lines}
    assert {"noseq", MAPLESS, BASE, RIDGE, CEILING, *FIELD} <= rows.keys()
    scores = {name: float(rows[name][5].split()[0]) for name in (BASE, *FIELD)}
    assert all(0 < abs(scores[name] - scores[BASE]) < 0.2 for name in FIELD)


def test_the_encoder_that_is_stored_learnt_from_other_chromosomes():
    encoders = program("dna_encoders")
    sets = [parse_split(split) for split in encoders.SPLITS.values()]
    first, second = (set(split.train) for split in sets)
    assert len(first) == len(second) == encoders.HALF
    assert not first & second
    assert (sets[0].val, sets[0].test) == (sets[1].val, sets[1].test)
    assert not (first | second) & {*sets[0].val, *sets[0].test}
    assert len(sets[0].test) == encoders.JUDGED_ON


def test_what_a_window_brings_beside_its_maps_is_counted():
    encoders = program("dna_encoders")
    stored = ModelConfig(dna="embeddings", dna_embeddings="x", embedding_channels=5, flank_bins=2)
    found = [
        encoders.bytes_a_window(model, 64, 128)
        for model in (ModelConfig(sequence="off"), ModelConfig(), stored)
    ]
    # Three bits a base; both strands of every bin in four bytes.
    assert found == [0, 64 * 128 * 3 // 8, 68 * 2 * 5 * 4]
