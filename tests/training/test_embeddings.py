"""A frozen encoder's tokens: computed once, the same as anew, resumable, keyed by their inputs."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch

from hicray.cli.embed import embed_windows
from hicray.config import ModelConfig, Run, TrainConfig, TrialConfig, UserError
from hicray.maps.genome import read_packed
from hicray.model import checkpoint
from hicray.model.build import build
from hicray.model.checkpoint import Progress
from hicray.training import embeddings
from hicray.training.data import Data
from hicray.training.embeddings import NOTE, embed
from hicray.training.optimizer import make_optimizer
from hicray.training.train import Loop, Worker, network
from hicray.training.trial import trial_name
from hicray.windows.collate import Collate
from hicray.windows.manifest import GENOME, ShardSet
from hicray.windows.reading import columns, read_rows, shard_at
from hicray.windows.stream import Files, Reader, open_windows, whole_slice
from hicray.windows.tokens import FLIPPED, TOKENS, TokenFormat
from tests.published import published_file

COARSE = 512
CPU = Worker(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return published_file(tmp_path_factory.mktemp("weights") / "tiny.safetensors", window=64)


@pytest.fixture(scope="module")
def model(weights):
    return ModelConfig(
        preset="tiny", encoder="frozen", encoder_weights=str(weights), depth=1, dna_channels=8
    )


@pytest.fixture(scope="module")
def shards(tiny_shards, tmp_path_factory):
    """A shard set of its own, so that tokens beside it are these tests'."""
    folder = tmp_path_factory.mktemp("embeddings") / "shards"
    shutil.copytree(tiny_shards[0], folder)
    return tiny_shards._replace(folder=folder)


@pytest.fixture(scope="module", params=["bf16", "fp32"])
def embedded(request, shards, model):
    """Configuration, folder of tokens and their format."""
    config = replace(model, embeddings=request.param)
    return config, *embed(config, shards, COARSE)


def data_of(shards, *, tokens=None, form=None, streamed=False):
    folder, manifest = shards
    train, val = (open_windows(shards, s, COARSE, tokens) for s in ("train", "val"))
    if streamed:
        files = [shard_at(folder, shard, tokens) for shard in manifest.files("train")]
        train = Files(files, columns(COARSE))
    genome = ray.put(read_packed(folder / GENOME))
    return Data(manifest, train, val, genome, form)


def make_loop(config, data, *, epochs=1):
    train = TrainConfig(epochs=epochs, batch_size=8, accumulate=1, base_learning_rate=0.03)
    trial = TrialConfig(coarse_bin_size=COARSE, model=config, train=train)
    torch.manual_seed(trial.train.seed)
    bare = network(trial, data)
    return Loop(trial, data, CPU, bare, make_optimizer(bare, trial))


def test_tokens_lie_beside_their_rows_in_both_orientations(embedded, shards, model):
    config, out, form = embedded
    folder, manifest = shards
    whole = build(model, window_bins=64, bin_size=128, factor=2).eval()
    collate = Collate(manifest, COARSE)
    tolerance = {"bf16": 2**-8, "fp32": 0}[config.embeddings]
    for shard in manifest.shards:
        stored = pq.read_table(out / shard.file)
        assert stored.column_names == ([TOKENS, FLIPPED] if shard.split == "train" else [TOKENS])
        rows = pq.read_table(folder / shard.file, columns=columns(COARSE))
        batch = collate.decode(collate.compact(rows))
        views = {TOKENS: batch}
        if shard.split == "train":
            everything = torch.ones(len(batch), dtype=torch.bool)
            views[FLIPPED] = batch.reverse_complemented(everything)
        for name, view in views.items():
            with torch.no_grad():
                anew = whole.encoder(view.image, view.total_reads)
            torch.testing.assert_close(
                form.unpack(stored[name]).float(), anew, rtol=max(tolerance, 1e-6), atol=1e-5
            )


@pytest.mark.parametrize("streamed", [False, True])
def test_losses_are_those_of_running_the_encoder_anew(embedded, shards, streamed):
    """Exactly so with fp32 storage; bf16 keeps 8 bits of each token's value."""
    config, out, form = embedded
    anew = make_loop(config, data_of(shards, streamed=streamed), epochs=2)
    stored = make_loop(config, data_of(shards, tokens=out, form=form, streamed=streamed), epochs=2)
    tolerance = {"bf16": 2e-3, "fp32": 1e-6}[config.embeddings]
    for epoch in range(2):
        expected, found = anew.epoch(epoch), stored.epoch(epoch)
        for name in ("train_loss", "val_loss", "val_oe_pearson"):
            assert found[name] == pytest.approx(expected[name], rel=tolerance)


def test_a_killed_pass_keeps_its_finished_files(shards, model):
    """A pass that died has files, a half-written one, and no note."""
    config = replace(model, embeddings="fp32")
    out, _ = embed(config, shards, COARSE)
    files = sorted(out.glob("*.parquet"))
    kept, lost = files[0], files[-1]
    before = {f: f.read_bytes() for f in files}
    stamp = kept.stat().st_mtime_ns
    (out / NOTE).unlink()
    lost.rename(lost.with_suffix(".4711.unfinished"))
    assert embeddings.find(config, shards, COARSE) is None
    assert embed(config, shards, COARSE).folder == out
    assert kept.stat().st_mtime_ns == stamp
    assert {f: f.read_bytes() for f in files} == before
    assert embeddings.find(config, shards, COARSE) is not None


def test_the_verb_embeds_every_gap_and_goes_on_from_what_is_there(
    embedded, shards, tiny_data, capsys
):
    config, out, _ = embedded
    before = {f: f.stat().st_mtime_ns for f in out.iterdir()}
    embed_windows(tiny_data, config, Run(storage=str(shards[0].parent)))
    assert {f: f.stat().st_mtime_ns for f in out.iterdir()} == before
    said = capsys.readouterr().out
    for size in (256, 512):
        kept = embeddings.find(config, shards, size)
        assert f"{kept.folder}: {config.embeddings} tokens of {size} bp maps" in said
        assert {f.name for f in kept.folder.iterdir()} == {f.name for f in out.iterdir()}


def test_every_input_has_a_folder_of_its_own(shards, model, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "_run", lambda job, actors: None)
    other = published_file(tmp_path / "other.pth", window=64)
    content = bytearray(other.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    folder, manifest = shards
    passes = [
        (model, manifest, 512),
        (replace(model, embeddings="fp32"), manifest, 512),
        (replace(model, encoder_weights=str(other)), manifest, 512),
        (model, replace(manifest, plan="another"), 512),
        (model, manifest, 256),
    ]
    folders = {embed(config, ShardSet(folder, m), size)[0] for config, m, size in passes}
    assert len(folders) == len(passes)
    # What the tokens do not depend on shares them: arms, depths, the file's place.
    moved = Path(shutil.copy(model.encoder_weights, tmp_path / "moved.safetensors"))
    same = replace(model, encoder_weights=str(moved), sequence="off", depth=5)
    assert embed(same, shards, 512)[0] in folders


def test_a_checkpoint_of_a_frozen_model_holds_what_was_trained(embedded, shards, tmp_path):
    config, out, form = embedded
    loop = make_loop(config, data_of(shards, tokens=out, form=form))
    loop.epoch(0)
    digest = checkpoint.weights_digest(config.encoder_weights)
    progress = Progress(loop.trial, "plan", [], digest)
    checkpoint.save(tmp_path, loop.bare, loop.optimizer, progress)
    whole = build(config, window_bins=64, bin_size=128, factor=4)
    encoder = sum(p.numel() for p in whole.encoder.parameters()) * 4
    head = sum(t.numel() * t.element_size() for t in loop.bare.state_dict().values())
    size = (tmp_path / checkpoint.WEIGHTS).stat().st_size
    assert head <= size < head + min(encoder, 20_000)
    checkpoint.load_weights(tmp_path, whole)
    for name, tensor in loop.bare.state_dict().items():
        assert torch.equal(whole.head.state_dict()[name], tensor)


def test_a_checkpoint_is_refused_with_another_frozen_encoder(shards, model, tmp_path):
    own = Path(shutil.copy(model.encoder_weights, tmp_path / "own.safetensors"))
    config = replace(model, encoder_weights=str(own), embeddings="none")
    loop = make_loop(config, data_of(shards))
    digest = checkpoint.weights_digest(own)
    checkpoint.save(tmp_path, loop.bare, loop.optimizer, Progress(loop.trial, "", [], digest))
    content = bytearray(own.read_bytes())
    content[-1] ^= 1
    own.write_bytes(content)
    with pytest.raises(UserError, match="other encoder weights"):
        checkpoint.load_weights(tmp_path, loop.bare)


def test_a_trial_is_named_by_the_content_of_its_weights(model, tmp_path):
    def name(weights):
        config = replace(model, encoder_weights=str(weights))
        return trial_name(TrialConfig(coarse_bin_size=512, model=config, train=TrainConfig()), "")

    own = Path(shutil.copy(model.encoder_weights, tmp_path / "own.safetensors"))
    before = name(own)
    assert name(model.encoder_weights) == before
    own.write_bytes(own.read_bytes() + b"0")
    assert name(own) != before


def test_windows_of_one_strand_are_not_flipped(embedded, shards):
    _, out, form = embedded
    windows = open_windows(shards, "val", COARSE, out)
    collate = Collate(shards[1], COARSE, tokens=form)
    table = next(Reader(windows, 2).ordered(whole_slice(2, 0, 1)))
    batch = collate.decode(collate.compact(table))
    with pytest.raises(ValueError, match="one strand only"):
        batch.reverse_complemented(torch.ones(2, dtype=torch.bool))


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_tokens_come_back_as_they_were_packed(precision):
    form = TokenFormat(precision, 6)
    tokens = torch.randn(5, 3, 6).to({"bf16": torch.bfloat16, "fp32": torch.float32}[precision])
    column = pa.chunked_array([form.pack(tokens[:2].float()), form.pack(tokens[2:].float())])
    assert torch.equal(form.unpack(column), tokens)
    assert torch.equal(form.unpack(column.slice(1, 3)), tokens[1:4])


def test_a_flipped_byte_of_stored_tokens_is_refused(embedded, shards, tmp_path):
    _, out, _ = embedded
    shard = shards[1].files("train")[0]
    content = bytearray((out / shard.file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / shard.file).write_bytes(content)
    with pytest.raises(UserError, match=rf"{tmp_path / shard.file} is damaged or gone .* again"):
        list(read_rows(shard_at(shards[0], shard, tmp_path), columns(COARSE)))
