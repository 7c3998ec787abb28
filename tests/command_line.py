"""Fixtures that run `hicray` in this process, where Ray cannot start."""

import sys

import pytest

from hicray.cli.main import main
from hicray.cluster import connection
from tests.shared_data import write_fasta, write_map

SIZES = {"chrA": 60_000, "chrB": 40_300, "chrC": 33_000}


def words(options):
    return [word for pair in options.items() for word in pair]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working folder, from which Ray cannot start."""

    def connect(*_args, **_options):
        raise AssertionError("Ray was about to start")

    monkeypatch.setattr(connection, "connect", connect)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def hicray(work, monkeypatch, capsys):
    """Run a command line; return exit code and the two outputs."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["hicray", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(hicray, work):
    """Run a command line that must be refused; return its one sentence."""

    def run(*words):
        code, out, err = hicray(*words)
        assert (code, out) == (2, "")
        assert err.startswith("hicray: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert not list(work.iterdir())
        return err

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Options of a map and a genome in which nothing is wrong."""
    folder = tmp_path_factory.mktemp("files")
    return {
        "--contacts": write_map(folder / "map.cool", SIZES, 1_000, weights="weight"),
        "--genome": write_fasta(folder / "genome.fa", SIZES),
        "--fine-bin-size": 1_000,
        "--coarse-bin-sizes": 2_000,
        "--split": "val=chrB;test=chrC",
        "--window-bins": 32,
    }
