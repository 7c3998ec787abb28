"""From raw counts to the network's input and back, beside what upstream made of the same counts.

The images of the network fixtures were made as upstream's fine-tuning makes them: each window by
its own maximum, the main diagonal as it is. Upstream's inference, which hicray follows, zeroes the
diagonal of windows on it. So one window's image differs between the two; ``diagonal`` tells which.
"""

import numpy as np
import pytest
import torch

from hicray.windows.scales import LOG_MAX, caps_of, contact_image, from_network, to_network
from tests import oracles
from tests.oracles import WINDOW
from tests.parity import HEADS, chromosomes, io_of, pipeline

ON, OFF = 0, WINDOW
"""First column minus first row of a window on the diagonal, and of one off it."""
ROUNDING = {"rtol": 0, "atol": 1e-6}
"""Upstream's images are single precision."""
FIRST_BIN = 40
"""Of the inference windows, on chromosome chrA."""


def image_of(counts, *, diagonal, cap):
    counts = counts if counts.ndim == 3 else counts[None]
    return contact_image(counts, torch.full((len(counts),), diagonal), caps_of([cap] * len(counts)))


def inference_window():
    full = oracles.both_triangles(chromosomes()["chrA"])
    end = FIRST_BIN + WINDOW
    return torch.tensor(full[FIRST_BIN:end, FIRST_BIN:end])


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", HEADS)
def test_images_off_the_diagonal_are_those_of_fine_tuning(name, precision):
    io = io_of(name)
    image = image_of(io["raw_counts"].to(precision), diagonal=OFF, cap=None)
    torch.testing.assert_close(image.float(), io["input"], **ROUNDING)


@pytest.mark.parametrize("cap", [None, 100.0])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_images_on_the_diagonal_are_those_of_inference(cap, precision):
    window = inference_window()
    assert window.diagonal().max() == window.max(), "the diagonal decides the image"
    assert window.max() < 100, "upstream divides by the cap even so"
    image = image_of(window.to(precision), diagonal=ON, cap=cap)
    name = "infer_window2_cut100" if cap else "infer_window2_cutNone"
    expected = torch.tensor(pipeline()[name])
    torch.testing.assert_close(image[0].float(), expected, **ROUNDING)
    own = oracles.image(window.numpy(), on_diagonal=True, cap=cap)
    torch.testing.assert_close(torch.tensor(own), expected, **ROUNDING)


def test_the_diagonal_of_a_fine_tuning_window_is_kept_upstream_and_zeroed_here():
    raw = torch.tensor(pipeline()["finetune_raw"]).double()
    upstream = torch.tensor(pipeline()["finetune_input"])
    kept = image_of(raw, diagonal=OFF, cap=None)[0]
    torch.testing.assert_close(kept.float(), upstream, **ROUNDING)
    zeroed = image_of(raw, diagonal=ON, cap=None)[0]
    no_contact = (1 - 0.456) / 0.224
    assert (zeroed[1].diagonal() - no_contact).abs().max() < 1e-12
    assert (zeroed - upstream).abs().max() > 4
    without = image_of(raw - torch.diag(raw.diagonal()), diagonal=OFF, cap=None)[0]
    assert torch.equal(zeroed, without), "the diagonal is all that differs, the maximum included"


def test_counts_above_the_cap_look_like_the_cap():
    counts = torch.tensor([[[5.0, 100.0], [100.5, 1e6]]]).double()
    image = image_of(counts, diagonal=OFF, cap=100.0)[0, 1]
    full_contact = -0.456 / 0.224
    assert image[0, 1] == image[1, 0] == image[1, 1] == pytest.approx(full_contact)
    assert image[0, 0] > full_contact


def test_network_values_become_contacts_by_the_published_inverse():
    """10^(v log10 1001) - 1, clamped at 0, as upstream's inference undoes its network."""
    values = torch.linspace(-1, 2, 301, dtype=torch.float64).reshape(1, 1, -1)
    expected = np.maximum(10 ** (values.numpy() * np.log10(1001)) - 1, 0)
    np.testing.assert_allclose(from_network(values), expected, rtol=1e-12, atol=1e-12)
    assert from_network(values)[0, 0, :100].max() == 0


def test_the_cap_of_a_thousand_is_that_of_the_published_target_alone():
    """Upstream trained on min(contacts, 1000); neither its inverse nor hicray's scale has a cap."""
    many = torch.tensor([[[999.0, 1_000.0, 50_000.0]]], dtype=torch.float64)
    published_target = torch.log10(many.clamp(max=1_000) + 1) / LOG_MAX
    assert published_target.max() == pytest.approx(1)
    assert to_network(many)[0, 0, 2] > 1.5
    torch.testing.assert_close(from_network(to_network(many)), many)
    torch.testing.assert_close(from_network(published_target), many.clamp(max=1_000))
