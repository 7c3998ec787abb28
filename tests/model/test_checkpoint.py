"""Checkpoints that are not what was written: named, never loaded."""

import json

import pytest
import torch

from hicray.config import ModelConfig, UserError
from hicray.model import checkpoint
from hicray.model.build import build
from hicray.model.checkpoint import best_checkpoint, checkpoints
from tests.trained import write_checkpoint

SMALL = ModelConfig(sequence="off")
SIZES = {"window_bins": 64, "bin_size": 128, "factor": 2}


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path / "checkpoint_1", SMALL, None, **SIZES)


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", [checkpoint.WEIGHTS, checkpoint.OPTIMIZER])
@pytest.mark.parametrize("harm", [flip, cut, lambda path: path.unlink()])
def test_a_damaged_file_is_named_and_nothing_is_loaded(folder, name, harm):
    assert checkpoint.damage(folder) == ""
    harm(folder / name)
    assert name in checkpoint.damage(folder)
    model = build(SMALL, **SIZES)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=rf"{folder} is damaged: {name} is .*; give an earlier"):
        checkpoint.load_weights(folder, model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_cut_off_description_is_damage_too(folder):
    cut(folder / checkpoint.TRIAL)
    assert "cannot be read" in checkpoint.damage(folder)


def test_a_trial_falls_back_to_what_is_whole(folder, tmp_path):
    for number, score in ((2, 0.7), (3, 0.9)):
        other = write_checkpoint(tmp_path / f"checkpoint_{number}", SMALL, None, **SIZES)
        fields = json.loads((other / checkpoint.TRIAL).read_text())
        fields["history"][0]["val_oe_pearson"] = score
        (other / checkpoint.TRIAL).write_text(json.dumps(fields))
    assert best_checkpoint(tmp_path) == other
    cut(other / checkpoint.WEIGHTS)
    assert [place.name for place in checkpoints(tmp_path)] == ["checkpoint_1", "checkpoint_2"]
    assert best_checkpoint(tmp_path) == tmp_path / "checkpoint_2"
