"""Networks from configurations, with the published weights that they ask for."""

from dataclasses import replace

import torch

from hicray.config import ModelConfig, UserError
from hicray.model.encoder import PRESETS, ContactEncoder
from hicray.model.enhancer import Enhancer
from hicray.model.head import Head
from hicray.model.hicfoundation import fitting, load_into


def build(config: ModelConfig, *, window_bins: int, bin_size: int, factor: int) -> Enhancer:
    """Build an Enhancer with the contact encoder that its configuration asks for.

    Args:
        config: The network.
        window_bins: Fine bins along each side of a window.
        bin_size: Of the fine map, in bp.
        factor: Fine bins to a coarse one.

    Raises:
        UserError: A tuned or frozen encoder without weights, or with ones that do not fit.
    """
    require_weights(config)
    enhancer = Enhancer(config, window_bins=window_bins, bin_size=bin_size, factor=factor)
    if config.encoder != "scratch":
        load_into(enhancer, config.encoder_weights)
    return enhancer


def build_head(config: ModelConfig, *, window_bins: int, bin_size: int, factor: int) -> Head:
    """Build what follows a frozen encoder, exactly as ``build`` would, without the encoder.

    Args:
        config: The network.
        window_bins: Fine bins along each side of a window.
        bin_size: Of the fine map, in bp.
        factor: Fine bins to a coarse one.

    Raises:
        UserError: As ``build`` does.
    """
    require_weights(config)
    head = Head(
        config, PRESETS[config.preset], window_bins=window_bins, bin_size=bin_size, factor=factor
    )
    with torch.device("meta"):
        whole = Enhancer(config, window_bins=window_bins, bin_size=bin_size, factor=factor)
    # The whole network is shapes alone: all keys of the file are checked, the encoder's as well.
    weights = fitting(whole, config.encoder_weights)
    head_weights = {k.removeprefix("head."): v for k, v in weights.items() if k.startswith("head.")}
    head.load_state_dict(head_weights, strict=False)
    return head


def build_encoder(config: ModelConfig, *, window_bins: int) -> ContactEncoder:
    """Build a published contact encoder alone, in eval mode.

    Raises:
        UserError: As ``build`` does.
    """
    require_weights(config)
    # All is shapes until the file gives its tensors; of the head, nothing is used.
    plain = replace(config, encoder="frozen", sequence="off", coarse_path="off")
    with torch.device("meta"):
        whole = Enhancer(plain, window_bins=window_bins, bin_size=1, factor=1)
    load_into(whole, config.encoder_weights)
    return whole.encoder.eval()


def check_weights(config: ModelConfig, *, window_bins: int) -> None:
    """Find out whether published weights fit, before anything is prepared for them.

    Raises:
        UserError: They are missing, cannot be read, or do not fit the network.
    """
    if config.encoder != "scratch":
        require_weights(config)
        # The file is compared with encoder and decoder, whose shapes depend on no bin size or gap.
        with torch.device("meta"):
            whole = Enhancer(
                replace(config, sequence="off"), window_bins=window_bins, bin_size=1, factor=1
            )
        fitting(whole, config.encoder_weights)


def require_weights(config: ModelConfig) -> None:
    """Refuse a tuned or frozen encoder without weights.

    Raises:
        UserError: It has none.
    """
    if config.encoder != "scratch" and not config.encoder_weights:
        raise UserError(
            f"a {config.encoder} contact encoder needs published weights: set encoder_weights to "
            "a HiCFoundation checkpoint, or encoder to scratch"
        )
