"""Ctrl-C: one sentence, the shell's exit code, no process left; the same command goes on."""

import signal

import pytest

from tests.faults.processes import TRAIN, Command, data_options, hicray, run

pytestmark = pytest.mark.slow


def interrupt(words, log, pattern, storage) -> None:
    """Interrupt a command once a file is there, and look what remains."""
    with Command(words, log) as command:
        command.wait_for(lambda: any(storage.glob(pattern)))
        command.signal(signal.SIGINT)
        said = command.end(code=130, limit=60)
        assert command.left() == []
    assert said.splitlines()[-1] == (
        "hicray: interrupted; the same command goes on from what is finished"
    )
    assert "Traceback" not in said


def test_an_interrupted_command_leaves_no_process_and_goes_on(tiny_simulation, tmp_path):
    storage = tmp_path / "storage"
    options = [*data_options(tiny_simulation), "--storage", storage]
    prepare = hicray("prepare", *options)
    interrupt(prepare, tmp_path / "prepare", "shards/parts/*.json", storage)
    assert not (storage / "shards" / "manifest.json").exists()
    run(prepare, tmp_path / "prepare again")
    assert (storage / "shards" / "manifest.json").exists()
    train = hicray("train", *options, *TRAIN, "--sequence", "off", "--epochs", 4)
    interrupt(train, tmp_path / "train", "trials/*/checkpoint_*/trial.json", storage)
    run(train, tmp_path / "train again")
