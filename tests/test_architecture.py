"""The house as a test: which way imports go, one home per library, short files."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hicray"
FILES = sorted(PACKAGE.rglob("*.py"))
GROUND = {"config", "figures", "panels", "wording", "io", "cluster"}
"""What stands under the rooms: any of them may use it, and it uses none."""
ROOMS = (
    "maps", "simulation", "windows", "metrics", "evaluation", "model", "dna_models", "tracking",
    "training", "predict", "comparison", "cli",
)  # fmt: skip
MODELLESS = {"metrics", "evaluation"}
"""Rooms that score maps whoever made them: they know neither networks, Ray nor MLflow."""
HOMES = {
    "alembic": {"tracking.stores"},
    "Bio": {"maps.fasta"},
    "bioframe": {"maps.assembly"},
    "cooler": {
        "maps.contacts", "maps.features", "maps.levels", "maps.pixels", "maps.write",
    },
    "cooltools": {"maps.features"},
    "hictkpy": {"maps.contacts", "maps.levels", "maps.pixels"},
    "markdown_it": {"comparison.page"},
    "matplotlib": {"figures", "panels", "tracking.track"},
    "mlflow": {"tracking.logged", "tracking.stores", "tracking.track"},
    "sqlalchemy": {"tracking.stores"},
    "optuna": {"training.searcher"},
    "pybigtools": {"maps.tracks", "simulation.occupancy"},
    "pyfaidx": {"maps.fasta"},
    "pytorch_msssim": {"metrics.pixelwise"},
    "scipy": {"metrics.paired", "metrics.window_scores"},
    "timm": {"model.encoder"},
    "tqdm": {"io.progress"},
    "tyro": {"cli.main"},
    "ray": {
        "cluster.connection", "windows.shards", "windows.stream",
        "training.data", "training.embeddings", "training.gaps", "training.halving",
        "training.record", "training.searcher", "training.state", "training.sweep",
        "training.train", "training.trial", "training.tune",
        "predict.actors", "dna_models.actors",
    },
}  # fmt: skip
TORCH_ROOMS = {
    "windows", "metrics", "evaluation", "model", "dna_models", "tracking", "training",
    "predict", "comparison",
}  # fmt: skip
TORCHLESS = {
    "windows.enough",
    "windows.plan",
    "windows.sources",
    "windows.manifest",
    "windows.cut",
    "windows.parts",
    "windows.shards",
    "windows.claim",
}
"""Every worker that cuts windows would pay for importing torch."""
MAX_LINES = 300


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrow_faults(path: Path) -> list[str]:
    room = module_name(path).split(".")[0]
    faults = []
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "hicray" or len(parts) == 1:
            continue
        there = parts[1]
        if there not in ROOMS:
            continue
        if room in GROUND or (room in ROOMS and ROOMS.index(there) > ROOMS.index(room)):
            faults.append(f"{module_name(path)} imports {name}")
    return faults


def home_faults(path: Path) -> list[str]:
    name = module_name(path)
    libraries = {imported.split(".")[0] for imported in imports(path)}
    faults = [f"{name} imports {lib}" for lib in libraries if name not in HOMES.get(lib, {name})]
    torch_free = name.split(".")[0] not in TORCH_ROOMS or name in TORCHLESS
    if "torch" in libraries and torch_free:
        faults.append(f"{name} imports torch")
    return faults


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_room_imports_only_from_rooms_to_its_left(path: Path):
    assert arrow_faults(path) == []


@pytest.mark.parametrize("room", sorted(MODELLESS))
def test_scores_of_maps_know_nothing_of_models(room: str):
    # Whatever these rooms import in turn counts too.
    found, left = set(), list((PACKAGE / room).glob("*.py"))
    while left:
        for name in imports(left.pop()):
            path = PACKAGE.parent / f"{name.replace('.', '/')}.py"
            if name not in found and path.exists():
                left.append(path)
            found.add(name)
    foreign = {"ray", "mlflow", "timm", "hicray.model", "hicray.tracking", "hicray.training"}
    assert [name for name in found if ".".join(name.split(".")[:2]) in foreign] == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_every_library_has_one_home(path: Path):
    assert home_faults(path) == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_short(path: Path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_a_wrong_direction_and_a_wrong_home_are_seen(tmp_path: Path, monkeypatch):
    bad = tmp_path / "maps" / "bad.py"
    bad.parent.mkdir()
    bad.write_text("import torch\nimport mlflow\nfrom hicray.training import track\n")
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert arrow_faults(bad)
    assert len(home_faults(bad)) == 2
