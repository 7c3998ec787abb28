"""Networks by configuration: whole, the head alone, the encoder alone."""

import pytest
import torch
from safetensors.torch import load_file

from hicray.config import ModelConfig, UserError
from hicray.model.build import build, build_encoder, build_head
from tests.published import published_file

WINDOW, BIN_SIZE = 64, 24


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return published_file(tmp_path_factory.mktemp("weights") / "tiny.safetensors", window=WINDOW)


def frozen(weights, **choices):
    settings = {"encoder": "frozen", "encoder_weights": str(weights), "depth": 1}
    return ModelConfig(preset="tiny", dna_channels=8, **settings | choices)


@pytest.mark.parametrize("encoder", ["tuned", "frozen"])
def test_a_tuned_or_frozen_encoder_needs_weights(encoder):
    config = ModelConfig(preset="tiny", encoder=encoder)
    for make in (build, build_head):
        with pytest.raises(UserError, match="needs published weights"):
            make(config, window_bins=WINDOW, bin_size=BIN_SIZE, factor=2)


@pytest.mark.parametrize("encoder", ["tuned", "frozen"])
def test_the_contact_encoder_is_the_files(weights, encoder):
    model = build(frozen(weights, encoder=encoder), window_bins=WINDOW, bin_size=BIN_SIZE, factor=2)
    stored = load_file(weights)
    assert torch.equal(model.encoder.cls_token, stored["vit_backbone.cls_token"])
    assert all(p.requires_grad == (encoder == "tuned") for p in model.encoder.parameters())
    assert not any(p.is_meta for p in model.parameters())


@pytest.mark.parametrize("fusion", ["tokens", "both"])
def test_head_and_encoder_alone_are_those_of_the_whole(weights, fusion):
    config = frozen(weights, fusion=fusion)
    torch.manual_seed(3)
    whole = build(config, window_bins=WINDOW, bin_size=BIN_SIZE, factor=2)
    torch.manual_seed(3)
    head = build_head(config, window_bins=WINDOW, bin_size=BIN_SIZE, factor=2)
    encoder = build_encoder(config, window_bins=WINDOW)
    for part, own in ((head, whole.head), (encoder, whole.encoder)):
        assert part.state_dict().keys() == own.state_dict().keys()
        assert all(torch.equal(a, own.state_dict()[k]) for k, a in part.state_dict().items())
