"""What the transformer's map adds: noseq is shown zeros for it, with the same weights."""

import shutil

import numpy as np
import pytest
import torch

from hicray.comparison.arms import load, score_arms, windows_of
from hicray.comparison.results import MAPLESS, NOSEQ
from hicray.comparison.table import render
from hicray.config import ModelConfig
from hicray.metrics.scores import OBJECTIVE
from hicray.model.checkpoint import read_progress
from hicray.model.trained import trained_on
from hicray.predict.predictors import mapless_predictor, model_predictor
from hicray.training.embeddings import embed
from hicray.windows.manifest import ShardSet
from tests.published import published_file
from tests.trained import write_checkpoint

COARSE = 512
SCRATCH = ModelConfig(sequence="off")


def judged(folder, shards, map_factor):
    """The rows of a noseq network that nobody trained."""
    trained = trained_on(shards[1], COARSE)
    place = write_checkpoint(folder / "noseq", SCRATCH, trained, map_factor=map_factor)
    return score_arms({NOSEQ: [place]}, shards, COARSE)


def test_a_map_that_is_zero_adds_exactly_nothing(alone_shards, tmp_path):
    result = judged(tmp_path, alone_shards, 0.0)
    ours, theirs = (result.rows[name].runs[0] for name in (NOSEQ, MAPLESS))
    assert ours.windows.equals(theirs.windows)
    assert ours.decay_error == theirs.decay_error
    assert all(one.mean == 0 for one in result.differences[NOSEQ, MAPLESS].values())


def test_a_map_that_is_not_zero_adds_something_and_the_statement_says_what(alone_shards, tmp_path):
    result = judged(tmp_path, alone_shards, 3.0)
    ours, theirs = (result.rows[name].windows(OBJECTIVE) for name in (NOSEQ, MAPLESS))
    assert (np.abs(ours - theirs) > 1e-5).all()
    gain = result.differences[NOSEQ, MAPLESS][OBJECTIVE]
    assert gain.mean == pytest.approx((ours - theirs).mean())
    text = render([result], alone_shards[1])
    assert f"| {MAPLESS} |" in text
    assert f"| {NOSEQ} - {MAPLESS} | O/E Pearson | {gain} |" in text


def with_zeros(model, batch):
    """Predict with zeros in place of what the decoder says."""
    hook = model.head.decoder.register_forward_hook(lambda _module, _given, out: 0 * out)
    values = model_predictor(model)(batch)
    hook.remove()
    return values


@pytest.mark.parametrize("stored", [False, True])
def test_a_frozen_encoders_map_is_zeroed_with_stored_tokens_and_without(
    stored, tiny_shards, tmp_path
):
    weights = published_file(tmp_path / "tiny.safetensors", window=64)
    config = ModelConfig(
        sequence="off",
        encoder="frozen",
        encoder_weights=str(weights),
        embeddings="fp32" if stored else "none",
    )
    # Of its own, so that tokens beside it are this test's.
    folder, manifest = tmp_path / "set" / "shards", tiny_shards[1]
    shutil.copytree(tiny_shards[0], folder)
    if stored:
        embed(config, ShardSet(folder, manifest), COARSE)
    place = write_checkpoint(tmp_path / "noseq", config, trained_on(manifest, COARSE))
    trials = {NOSEQ: [read_progress(place).trial]}
    batch = next(windows_of(trials, ShardSet(folder, manifest), COARSE, "test").batches())
    assert (batch.tokens is not None) == stored
    model = load(place, manifest)
    mapless = mapless_predictor(model)(batch)
    assert torch.equal(mapless, with_zeros(model, batch))
    assert not torch.allclose(mapless, model_predictor(model)(batch), atol=1e-4)
