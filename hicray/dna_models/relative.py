"""Attention that knows how far apart two positions are, as Transformer-XL and Enformer have it.

What a query finds at a position is a sum of two products: one with the key there, one with a key
that is made from features of the lag between both. There are ``2 * positions - 1`` lags, so that
the second product is the largest tensor of the network: it is made for some queries at a time.

Axis names: ``lags`` run from ``1 - positions`` to ``positions - 1``; a lag is that of the position
that is read, seen from the one that asks. ``seen`` are the lags that some queries look at.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

QUERIES = 256
"""Positions that ask at a time: memory for attention grows with it, results do not change."""


def all_lags(positions: int) -> Float[Tensor, " lags"]:
    """Return the lags between so many positions, on the CPU even while a network has no device."""
    return torch.arange(1 - positions, positions, dtype=torch.float64, device="cpu")


def within(
    lags: Float[Tensor, " lags"], widths: Float[Tensor, " features"]
) -> Float[Tensor, "lags features"]:
    """Return for each width a feature that is 1 where a lag is shorter, else 0."""
    return (widths > lags.abs()[:, None]).to(lags.dtype)


def with_direction(
    features: Float[Tensor, "lags features"], lags: Float[Tensor, " lags"]
) -> Float[Tensor, "lags both"]:
    """Return features of the length of a lag, then the same times its sign, as single floats."""
    return torch.cat([features, lags.sign()[:, None] * features], dim=1).float()


class RelativeAttention(nn.Module):
    """Multi-head attention with a key for each position and one for each lag.

    Args:
        dim: Width of what goes in and comes out.
        heads: Attention heads.
        key_dim: Width of a head's queries and keys.
        value_dim: Width of a head's values.
        features: How many features a lag has.
    """

    def __init__(
        self, dim: int, *, heads: int, key_dim: int, value_dim: int, features: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = key_dim**-0.5
        self.query = nn.Linear(dim, heads * key_dim, bias=False)
        self.key = nn.Linear(dim, heads * key_dim, bias=False)
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.lag_key = nn.Linear(features, heads * key_dim, bias=False)
        self.key_bias = nn.Parameter(torch.randn(1, heads, 1, key_dim))
        self.lag_bias = nn.Parameter(torch.randn(1, heads, 1, key_dim))
        self.out = nn.Linear(heads * value_dim, dim)

    def forward(
        self,
        x: Float[Tensor, "batch positions dim"],
        places: Float[Tensor, "2*positions-1 features"],
    ) -> Float[Tensor, "batch positions dim"]:
        query = self._by_head(self.query(x)) * self.scale
        key, value = self._by_head(self.key(x)), self._by_head(self.value(x))
        lag_key = self._by_head(self.lag_key(places)[None])
        found, positions = [], x.shape[1]
        for first in range(0, positions, QUERIES):
            asking = query[:, :, first : first + QUERIES]
            start = positions - first - asking.shape[2]  # the lag from the last one to position 0
            seen = lag_key[:, :, start : start + positions + asking.shape[2] - 1]
            found.append(self._weights(asking, key, seen) @ value)
        joined: Tensor = self.out(torch.cat(found, dim=2).transpose(1, 2).flatten(2))
        return joined

    def _by_head(
        self, x: Float[Tensor, "batch length joined"]
    ) -> Float[Tensor, "batch {self.heads} length width"]:
        batch, length, _ = x.shape
        return x.reshape(batch, length, self.heads, -1).transpose(1, 2)

    def _weights(
        self,
        query: Float[Tensor, "batch heads queries key_dim"],
        key: Float[Tensor, "batch heads positions key_dim"],
        lag_key: Float[Tensor, "1 heads seen key_dim"],
    ) -> Float[Tensor, "batch heads queries positions"]:
        by_position = (query + self.key_bias) @ key.mT
        by_lag = (query + self.lag_bias) @ lag_key.mT
        return (by_position + _by_position(by_lag)).softmax(dim=-1)


def _by_position(
    by_lag: Float[Tensor, "batch heads queries seen"],
) -> Float[Tensor, "batch heads queries positions"]:
    """Return what each query found by lag, by position: each row begins one lag before the last.

    Position 0 of the last query is its first lag; of the query before, its second; and so on. In
    memory, a row therefore begins ``seen - 1`` values after the row above it.
    """
    by_lag = by_lag.contiguous()
    batch, heads, queries, seen = by_lag.shape
    size = (batch, heads, queries, seen - queries + 1)
    steps = (heads * queries * seen, queries * seen, seen - 1, 1)
    return by_lag.as_strided(size, steps, by_lag.storage_offset() + queries - 1)


class TransformerBlock(nn.Module):
    """Relative attention, then two linear layers, each added to what goes into it.

    Args:
        dim: Width of what goes in and comes out; between the linear layers it is twice that.
        heads: Attention heads.
        key_dim: Width of a head's queries and keys.
        value_dim: Width of a head's values.
        features: How many features a lag has.
        eps: Of the normalisations.
    """

    def __init__(
        self, dim: int, *, heads: int, key_dim: int, value_dim: int, features: int, eps: float
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=eps)
        self.attention = RelativeAttention(
            dim, heads=heads, key_dim=key_dim, value_dim=value_dim, features=features
        )
        self.hidden = nn.Sequential(
            nn.LayerNorm(dim, eps=eps), nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)
        )

    def forward(
        self,
        x: Float[Tensor, "batch positions dim"],
        places: Float[Tensor, "2*positions-1 features"],
    ) -> Float[Tensor, "batch positions dim"]:
        x = x + self.attention(self.attention_norm(x), places)
        deeper: Tensor = x + self.hidden(x)
        return deeper
