"""``hicray embed``: a frozen encoder's output, kept."""

from hicray.cli.data_set import checked, connect, resolved, shards_of
from hicray.cli.guard import say
from hicray.config import DataConfig, ModelConfig, Run, UserError


def embed_windows(data: DataConfig, model: ModelConfig, run: Run) -> None:
    """Prepare, and run the frozen encoder once over all windows of every gap.

    Args:
        data: Maps and windows.
        model: Of a frozen encoder with its weights.
        run: Storage and what to run on.
    """
    if model.encoder != "frozen" or model.embeddings == "none":
        raise UserError(
            f"--encoder {model.encoder} --embeddings {model.embeddings} leaves nothing to embed; "
            "give --encoder frozen with --encoder-weights FILE, and --embeddings bf16 or fp32"
        )
    model = checked(model, data)
    with resolved(data, run) as (data, storage):
        connect(run)
        shards = shards_of(data, storage)
        from hicray.training.embeddings import embed

        for size in shards.manifest.coarse_bin_sizes:
            where, form = embed(model, shards, size, use_gpu=run.use_gpu)
            say(f"{where}: {form.precision} tokens of {size:,} bp maps")
