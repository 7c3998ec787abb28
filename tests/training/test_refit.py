"""Which network is refitted, and the line that enhances by it; nothing is trained here."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hicray.cli.main import tune_from_command_line
from hicray.config import DataConfig, ModelConfig, SequenceMode, TrainConfig, TrialConfig, UserError
from hicray.maps.bins import Split, nothing_held_out, parse_split, read_split
from hicray.maps.contacts import ContactMap
from hicray.model import checkpoint
from hicray.training.refit import ShardSet, _line, best
from hicray.training.space import Cell, SearchConfig, require_taken_home, search_name
from hicray.training.state import note_end
from hicray.training.trial import Resources, trial_name
from hicray.windows.sources import Source
from hicray.wording import command
from tests.command_line import words
from tests.comparison.results import MANIFEST

WHAT = SearchConfig(
    model=ModelConfig(),
    train=TrainConfig(epochs=9),
    sequences=("off", "on", "composition"),
    trials=2,
)


def trained(storage: Path, sequence: SequenceMode, ssim_weight: float, *scores: float) -> str:
    """Leave the checkpoints of a trial of which nothing but the scores counts."""
    trial = TrialConfig(
        coarse_bin_size=16_000,
        model=replace(WHAT.model, sequence=sequence),
        train=replace(WHAT.train, ssim_weight=ssim_weight),
    )
    name, history = trial_name(trial, MANIFEST.plan), []
    for epoch, score in enumerate(scores, start=1):
        history.append({"epoch": epoch, "val_oe_pearson": score})
        place = storage / "trials" / name / f"checkpoint_{epoch}"
        place.mkdir(parents=True)
        module = torch.nn.Linear(1, 1)
        progress = checkpoint.Progress(trial, MANIFEST.plan, list(history))
        checkpoint.save(place, module, torch.optim.SGD(module.parameters()), progress)
    return name


def test_the_better_of_seq_and_noseq_is_refitted_for_the_epochs_to_its_best(tmp_path):
    state = tmp_path / "search" / search_name(WHAT, MANIFEST)
    ran = {
        "off": [trained(tmp_path, "off", 0.1, 0.3, 0.4), trained(tmp_path, "off", 0.2, 0.1)],
        "on": [trained(tmp_path, "on", 0.1, 0.2), trained(tmp_path, "on", 0.4, 0.3, 0.5, 0.41)],
        "composition": [trained(tmp_path, "composition", 0.1, 0.9)],
    }
    trained(tmp_path, "off", 0.3, 0.95)  # another search's
    for sequence, names in ran.items():
        (state / f"{sequence}-16000").mkdir(parents=True)
        note_end(state / f"{sequence}-16000", dict.fromkeys(names, "FINISHED"))
    searched = ShardSet(tmp_path / "shards", MANIFEST)
    found = best(WHAT, searched, 16_000)
    assert (found.model.sequence, found.train.ssim_weight) == ("on", 0.4)
    assert (found.refit_epochs, found.train.epochs, found.most_epochs) == (2, 9, 2)
    own = trial_name(found, MANIFEST.plan)
    assert own.startswith("refit-seq-16000-")
    assert own.removeprefix("refit-") not in ran["on"]
    for name in ran["off"] + ran["on"]:
        (tmp_path / "trials" / name).rename(tmp_path / name)
    with pytest.raises(UserError, match="holds no whole checkpoint of noseq-16000-"):
        best(WHAT, searched, 16_000)


def test_the_line_is_quoted_for_the_shell_and_says_all_that_the_network_needs():
    lab, (program,) = "/a lab's", shlex.split(command("hicray"))
    coarse = ContactMap(f"{lab}/H1.mcool::/resolutions/16000", 16_000, {"chr1": 9}, "KR")
    source = Source("H1", replace(coarse, bin_size=4_000), {16_000: coarse})
    data = DataConfig(genome=f"{lab}/g.fa", match_chr=True)
    for sequence, dna in (("on", ["--genome", f"{lab}/g.fa", "--match-chr"]), ("off", [])):
        trial = Cell(16_000, sequence).first_guess(WHAT)
        line = _line(Path(f"{lab}/refit-1"), source, trial, data, Resources(use_gpu=True))
        assert shlex.split(line) == [
            *[program, "enhance", "--checkpoint", f"{lab}/refit-1", "--contacts", coarse.uri],
            *[*dna, "--weights", "KR", "--out", "H1.16000-to-4000.mcool", "--use-gpu"],
        ]


def test_controls_alone_are_not_taken_home(work, files, capsys):
    """Said before work starts."""
    require_taken_home(("off", "blank"))
    require_taken_home(("on",))
    given = [*map(str, words(files)), "--arms", "blank", "elsewhere", "--refit"]
    with pytest.raises(SystemExit) as stop:
        tune_from_command_line(given)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "--refit with --arms blank elsewhere has nothing to take home" in said
    assert said.count("\n") == 1
    assert not list(work.iterdir())


def test_a_refit_trains_on_what_its_search_trained_validated_and_tested_on():
    assert read_split(nothing_held_out("orca")) == Split(None, (), ())
    assert read_split(nothing_held_out("val=2L:0-3M;test=2L:18M-23M")) == Split(None, (), ())
    # What somebody left out of all three sets stays out.
    own = nothing_held_out("train=2L:5M-9M,X;val=2L:0-3M;test=2R")
    assert read_split(own) == Split(("2L:5M-9M", "X", "2L:0-3M", "2R"), (), ())
    for text in ("all", own):
        with pytest.raises(UserError, match="is not known; name one of orca"):
            parse_split(text)
