"""Values that are not finite, in a search with real workers: skipped, or the end in a sentence."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from hicray.windows.stream import epoch_order, train_slice
from tests.faults.processes import TRAIN, data_options, hicray, run
from tests.published import published_file

pytestmark = pytest.mark.slow
EPOCHS, WORKERS, BATCH, SEED = 2, 2, 3, 0


@pytest.fixture(scope="module")
def embedded(tiny_simulation, tmp_path_factory) -> tuple[Path, list[str]]:
    """A storage with tokens in full precision, and the options that it was made with."""
    folder = tmp_path_factory.mktemp("nan")
    weights = published_file(folder / "weights.safetensors", window=64)
    model = ["--encoder", "frozen", "--encoder-weights", weights, "--embeddings", "fp32"]
    options = [*data_options(tiny_simulation), "--storage", folder / "storage", *map(str, model)]
    run(hicray("embed", *options), folder / "log")
    return folder / "storage", options


def poison(storage: Path, rows: slice) -> int:
    """Put a NaN into the tokens of some training windows; return how many windows there are."""
    (path,) = storage.glob("embeddings/*/train-*.parquet")
    table = pq.read_table(path)
    columns = []
    for name in table.column_names:
        tokens = table[name].to_pylist()
        for i in range(*rows.indices(len(tokens))):
            tokens[i] = np.float32(np.nan).tobytes() + tokens[i][4:]
        columns.append(pa.array(tokens, type=table.schema.field(name).type))
    pq.write_table(
        pa.table(columns, schema=table.schema), path, compression="none", use_dictionary=False
    )
    return table.num_rows


def train(options: list[str], workers: int) -> list[str]:
    sizes = ["--workers", workers, "--epochs", EPOCHS, "--sequence", "off"]
    return hicray("train", *options, *TRAIN, *sizes, "--batch-size", BATCH)


def steps_of(row: int, rows: int) -> list[int]:
    """Return how many steps of each epoch see a window: one, or none where it is left over."""
    end = train_slice(rows, WORKERS - 1, WORKERS, BATCH).end
    return [int(row in epoch_order(rows, SEED, epoch)[:end]) for epoch in range(EPOCHS)]


def test_a_window_that_is_not_finite_costs_one_step_on_all_workers(embedded, tmp_path):
    storage, options = embedded
    rows = poison(storage, slice(0, 1))
    run(train(options, WORKERS), tmp_path / "log")
    notes = [json.loads(p.read_text()) for p in storage.glob("trials/*/checkpoint_*/trial.json")]
    history = max((note["history"] for note in notes), key=len)
    assert [epoch["train_skipped_steps"] for epoch in history] == steps_of(0, rows)
    assert sum(steps_of(0, rows))
    for epoch in history:
        assert np.isfinite([epoch["train_loss"], epoch["val_loss"]]).all()
    for path in storage.glob("trials/*/checkpoint_*/weights.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values())


def test_a_run_without_a_finite_batch_ends_in_one_sentence(embedded, tmp_path):
    storage, options = embedded
    poison(storage, slice(None))
    for log in ("first", "again"):
        said = run(train(options, 1), tmp_path / log, code=2)
        assert said.splitlines()[-1].startswith("hicray: every noseq trial at 512->128 diverged: ")
        assert "lower --base-learning-rate (it is 0.032)" in said.splitlines()[-1]
        assert "Traceback" not in said
    (own,) = {path.parent for path in storage.glob("trials/*/diverged.txt")}
    assert not list(own.glob("checkpoint_*"))
