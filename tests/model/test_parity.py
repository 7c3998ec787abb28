"""hicray's network beside HiCFoundation's own answers."""

import pytest
import torch

from hicray.model.patches import count_token
from tests.parity import HEADS, check_map, check_tables, io_of, network_of

WITH_COUNT_TOKEN = [name for name in HEADS if name != "tiny_d_finetune"]
UNKNOWN_READS = 1e9
"""What upstream takes for the read count when it is given none."""


@pytest.mark.parametrize("name", HEADS)
def test_the_map_is_the_one_upstream_computes(name):
    check_map(name)


def test_computed_position_tables_are_upstreams():
    check_tables()


@pytest.mark.parametrize("name", WITH_COUNT_TOKEN)
def test_the_count_token_is_upstreams(name):
    io = io_of(name)
    token = count_token(io["total_count"], io["count_token"].shape[1])
    torch.testing.assert_close(token, io["count_token"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_what_enters_and_leaves_both_transformers_is_upstreams(name):
    network, io, seen = network_of(name), io_of(name), {}

    def note(key, value):
        seen[f"inter.{key}"] = value

    for part, module in (("encoder", network.encoder), ("decoder", network.decoder)):
        module.blocks.register_forward_pre_hook(
            lambda _, args, part=part: note(f"{part}_in", args[0])
        )
        module.norm.register_forward_hook(
            lambda _, __, output, part=part: note(f"{part}_out", output)
        )
    network(io["input"], io["total_count"])
    stored = {key for key in io if key.startswith("inter.")}
    assert stored >= {"inter.encoder_out", "inter.decoder_in", "inter.decoder_out"}
    for key in sorted(stored):
        torch.testing.assert_close(seen[key], io[key], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_map_of_unknown_depth_is_one_of_a_billion_reads_upstream():
    """hicray always has the count, so it offers no default; upstream's is 1e9."""
    io = io_of("tiny_c_task0")
    reads = torch.full_like(io["total_count"], UNKNOWN_READS)
    enhanced = network_of("tiny_c_task0")(io["input"], reads)
    torch.testing.assert_close(enhanced, io["output_without_count"], rtol=1e-5, atol=1e-5)


def test_the_fine_tuning_file_gives_up_its_second_head():
    network = network_of("tiny_c_task0")
    assert not [key for key in network.state_dict() if "map_block" in key]
