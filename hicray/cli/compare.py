"""``hicray compare``: the statement of a search."""

from typing import TYPE_CHECKING

from hicray.cli.data_set import connect
from hicray.cli.guard import say
from hicray.config import Run
from hicray.io.storage import Location

if TYPE_CHECKING:
    from hicray.comparison.report import Statement


def compare(
    storage: Location, tracking_uri: str = "", search: str | None = None, *, use_gpu: bool = False
) -> "Statement":
    """Print and log seq vs noseq from MLflow: per gap, best trials beside the baselines.

    Args:
        storage: Folder of the search.
        tracking_uri: MLflow store or server; as ``open_store`` says if not given.
        search: Run id of the search; the one of this storage that was run last if not given.
        use_gpu: Score on a GPU of the cluster, which is joined or started if need be.
    """
    from hicray.comparison.report import compare as run
    from hicray.tracking import stores, track

    store = track.open_store(storage, tracking_uri, reading=True)
    if use_gpu:
        connect(Run(use_gpu=True))
    statement = run(store, storage, search, use_gpu=use_gpu)
    page = storage / "report" / "compare.html"
    say("", statement.text, "", f"page: {page}", stores.ui_command(store.uri))
    return statement
