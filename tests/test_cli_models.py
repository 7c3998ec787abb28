"""What a user gets wrong about the network: one sentence, exit code 2, nothing written."""

import pytest

from tests.command_line import words
from tests.parity import GOLDEN
from tests.published import published_file


@pytest.mark.parametrize("verb", ["check", "train"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--encoder", "frozen"], "--encoder frozen needs published weights"),
        (["--encoder", "tuned", "--encoder-weights", "a.pth"], "a.pth do not exist"),
        (["--encoder-weights", "a.pth"], "--encoder scratch would not use"),
    ],
)
def test_an_encoder_without_its_weights_is_one_sentence(refused, files, verb, options, says):
    assert says in refused(verb, *words(files), *options)


@pytest.mark.parametrize("verb", ["check", "embed", "train"])
@pytest.mark.parametrize("name", ["another size", "another kind", "cut off"])
def test_weights_that_do_not_fit_are_refused_before_work_starts(
    refused, files, tmp_path, verb, name
):
    weights = tmp_path / "weights.safetensors"
    published_file(weights, window=32)
    options = ["--encoder", "frozen", "--encoder-weights", weights]
    if name == "another size":
        weights.write_bytes((GOLDEN / "tiny_a_weights.safetensors").read_bytes())
        says = "does not fit this network"
    elif name == "another kind":
        options += ["--preset", "small"]
        says = "does not fit this network"
    else:
        weights.write_bytes(weights.read_bytes()[:-9])
        says = "is not a readable checkpoint"
    assert says in refused(verb, *words(files), *options)


@pytest.mark.parametrize("verb", ["check", "train"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--depth", "0"], "--depth 0 cannot be; give 1 or more"),
        (["--dna", "pooled", "--flank-bins", "2"], "--flank-bins 2 is for the tower"),
        (["--dna-channels", "0"], "--dna-channels 0 cannot be"),
        (["--flank-bins", "-1"], "--flank-bins -1 cannot be; give 0 or more"),
        (["--context-layers", "-2"], "--context-layers -2 cannot be"),
        (["--context", "attention", "--dna-channels", "30"], "attention; give a multiple of 4"),
    ],
)
def test_a_tower_that_cannot_be_is_one_sentence(refused, files, verb, options, says):
    assert says in refused(verb, *words(files), *options)


@pytest.mark.parametrize(
    "options", [[], ["--encoder", "frozen", "--encoder-weights", "a.pth", "--embeddings", "none"]]
)
def test_embedding_without_a_frozen_encoder_is_one_sentence(refused, files, options):
    assert "leaves nothing to embed; give --encoder frozen" in refused(
        "embed", *words(files), *options
    )
