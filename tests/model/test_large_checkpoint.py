"""A file as upstream writes it, at full size: it loads, runs and trains in little memory."""

import argparse
import json
import resource
import subprocess
import sys
import time
from math import prod
from pathlib import Path

import pytest
import torch
from torch import nn

from hicray.config import ModelConfig
from hicray.model import hicfoundation
from hicray.model.build import build
from hicray.model.enhancer import Enhancer

LISTING = json.loads((Path(__file__).parents[1] / "golden" / "hicfoundation_keys.json").read_text())
TASK_3 = LISTING["finetune_task3_resolution_224x224"]
PARAMETERS = 330_303_208
MOST_MEMORY_GIB = 12
WINDOW = 224


def random_weights():
    """All of task 3's tensors: scales near 1, the rest small; one layer under two names."""
    chance = torch.Generator().manual_seed(0)
    # Pieces of one sequence: drawing 330 million numbers takes longer than all else here.
    drawn = torch.empty(8_000_000).normal_(0, 0.02, generator=chance)
    weights = {}
    for key, shape in TASK_3.items():
        first = int(torch.randint(len(drawn) - prod(shape), (), generator=chance))
        about = 1.0 if "norm" in key and key.endswith("weight") else 0.0
        weights[key] = (drawn[first : first + prod(shape)] + about).reshape(shape)
    for name in ("weight", "bias"):
        weights[f"patch_embed.proj.{name}"] = weights[f"vit_backbone.patch_embed.proj.{name}"]
    return weights


@pytest.fixture
def checkpoint(tmp_path):
    weights = random_weights()
    assert sum(value.numel() for value in set(weights.values())) == PARAMETERS
    some = torch.nn.Parameter(weights["decoder_norm.bias"])
    content = {
        "model": weights,
        "optimizer": torch.optim.AdamW([some]).state_dict(),
        "epoch": 49,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0},
        "args": argparse.Namespace(task=3, blr=1e-3, input_row_size=WINDOW),
    }
    path = tmp_path / "model_best.pth.tar"
    torch.save(content, path)
    del content, weights
    yield path
    path.unlink()  # 1.3 GB, which pytest would keep


def window():
    chance = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, WINDOW, WINDOW, generator=chance)
    return image, torch.tensor([3e8])


def published_map(network: hicfoundation.HiCFoundation) -> None:
    with torch.no_grad():
        enhanced = network(*window())
    assert enhanced.shape == (1, WINDOW, WINDOW)
    assert enhanced.isfinite().all()
    assert enhanced.std() > 0


def one_step(path: str) -> Enhancer:
    """Fine-tune an Enhancer on one window by one step of AdamW."""
    config = ModelConfig(
        preset="large",
        encoder="frozen",
        encoder_weights=path,
        fusion="tokens",
        sequence="off",
        residual=False,
        coarse_path="off",
    )
    model = build(config, window_bins=WINDOW, bin_size=4_000, factor=2)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-3)
    base, evidence = torch.zeros(1, WINDOW, WINDOW), torch.zeros(1, 5, WINDOW // 2, WINDOW // 2)
    enhanced = model(*window(), base, base, evidence, torch.tensor([0]))
    (enhanced - 0.5).square().mean().backward()
    optimizer.step()
    return model


def changed(now: nn.Module, published: nn.Module) -> set[str]:
    found, before = now.state_dict(), published.state_dict()
    assert found.keys() == before.keys()
    return {key for key in found if not torch.equal(found[key], before[key])}


def main(path: str) -> None:
    torch.set_num_threads(1)  # as in all tests: threads that wait for each other burn the CPU
    began = time.monotonic()
    published = hicfoundation.load(path)
    published_map(published)
    enhanced = time.monotonic()
    model = one_step(path)
    stepped = time.monotonic()
    measured = {
        "encoder_changed": sorted(changed(model.encoder, published.encoder)),
        "decoder_unchanged": sorted(
            published.decoder.state_dict().keys() - changed(model.head.decoder, published.decoder)
        ),
        "enhance_seconds": round(enhanced - began, 1),
        "step_seconds": round(stepped - enhanced, 1),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print(json.dumps(measured))  # noqa: T201  # read by the test


def test_a_full_size_checkpoint_runs_and_trains_a_decoder_in_little_memory(checkpoint):
    """In a process of its own; the peak includes that of this one, if this one's is higher."""
    call = [sys.executable, "-m", "tests.model.test_large_checkpoint", str(checkpoint)]
    root = Path(__file__).parents[2]
    done = subprocess.run(call, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    print(measured)  # noqa: T201  # shown by pytest -rP
    assert measured["encoder_changed"] == []
    assert measured["decoder_unchanged"] == ["pos_embed"], "its positions are not learned"
    assert measured["peak_gib"] < MOST_MEMORY_GIB


if __name__ == "__main__":
    main(sys.argv[1])
