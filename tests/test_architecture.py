"""The house as a test: which way imports go, one home per library, short files."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hicray"
FILES = sorted(PACKAGE.rglob("*.py"))
GROUND = {
    "config", "figures", "panels", "cluster", "storage", "copies", "machine", "progress", "wording"
}  # fmt: skip
"""Modules beside the rooms, which any room may use and which use no room."""
ROOMS = ("maps", "windows", "model", "training", "evaluation", "jobs", "cli")
HOMES = {
    "alembic": {"training.stores"},
    "Bio": {"maps.fasta"},
    "bioframe": {"maps.assembly"},
    "cooler": {
        "maps.contacts", "maps.features", "maps.levels", "maps.pixels", "maps.write",
    },
    "cooltools": {"maps.features"},
    "hictkpy": {"maps.contacts", "maps.levels", "maps.pixels"},
    "markdown_it": {"evaluation.page"},
    "matplotlib": {"figures", "panels", "training.track"},
    "mlflow": {"training.logged", "training.stores", "training.track"},
    "sqlalchemy": {"training.stores"},
    "optuna": {"training.searcher"},
    "pyfaidx": {"maps.fasta"},
    "pytorch_msssim": {"training.losses"},
    "scipy": {"evaluation.paired", "evaluation.window_scores"},
    "timm": {"model.encoder"},
    "tqdm": {"progress"},
    "tyro": {"cli"},
    "ray": {
        "cluster", "windows.shards", "windows.stream",
        "training.data", "training.embeddings", "training.gaps", "training.halving",
        "training.record", "training.searcher", "training.state", "training.sweep",
        "training.train", "training.trial", "training.tune",
        "evaluation.enhance",
    },
}  # fmt: skip
TORCH_ROOMS = {"windows", "model", "training", "evaluation"}
TORCHLESS = {
    "windows.enough",
    "windows.plan",
    "windows.sources",
    "windows.manifest",
    "windows.cut",
    "windows.parts",
    "windows.shards",
    "windows.claim",
    "windows.trained",
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
