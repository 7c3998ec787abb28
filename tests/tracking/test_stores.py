"""MLflow stores that cannot be used as they are: one sentence, and nothing is made or migrated."""

import shlex
import sqlite3
import subprocess
from pathlib import Path

import mlflow
import pytest
from alembic import command as alembic
from alembic.config import Config
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

from hicray.config import UserError
from hicray.figures import loss_curves
from hicray.tracking.logged import read_model
from hicray.tracking.stores import default_uri, refusal, require_store, ui_command
from hicray.tracking.track import TRIAL, Store, open_store

MIGRATIONS = Path(mlflow.__file__).parent / "store" / "db_migrations"
OLDER = "bd07f7e963c5"  # of MLflow 1.27: metrics have indices
ODD = ["a b", "a%20b", "100%", "why?", "no#1", "a|b", "it's", "me@uni", "ü"]


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """The database of a store of this MLflow, without any run."""
    folder = tmp_path_factory.mktemp("database")
    Store(default_uri(folder), folder / "artifacts").experiment()
    return folder / "mlflow.db"


def copy_of(database: Path, folder: Path, statement: str = "") -> str:
    """Copy a database, changed by a statement; return its URI."""
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.execute(statement)
    connection.close()
    return default_uri(folder)


def of_older(folder: Path) -> str:
    """Make a database as an MLflow of old made it, by MLflow's own migrations; return its URI."""
    uri = default_uri(folder)
    engine = create_engine(uri)
    Base.metadata.create_all(engine)
    config = Config(str(MIGRATIONS / "alembic.ini"))
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, OLDER)
    engine.dispose()
    return uri


def refused(uri: str, folder: Path) -> set[str]:
    """Return the sentences with which a store is refused to whoever opens it."""
    said = set()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for opening in (
        lambda: open_store(folder, uri).experiment(),
        lambda: open_store(folder, uri, reading=True).last_search(folder / "shards"),
        lambda: open_store(folder, uri, reading=True).run("a" * 32),
        lambda: read_model("models:/m-0", uri),
    ):
        with pytest.raises(UserError) as error:
            opening()
        said.add(str(error.value))
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return said


def test_a_database_of_an_older_mlflow_is_left_as_it_is(tmp_path):
    uri = of_older(tmp_path)
    (said,) = refused(uri, tmp_path)
    assert f"its schema is {OLDER}, not " in said
    upgrade = shlex.split(said.split("`")[1])
    assert upgrade[1:] == ["db", "upgrade", uri]
    subprocess.run(upgrade, check=True, capture_output=True)
    assert open_store(tmp_path, uri).experiment()


def test_a_database_of_a_newer_mlflow_is_left_as_it_is(database, tmp_path):
    uri = copy_of(database, tmp_path, "UPDATE alembic_version SET version_num = 'feedc0ffee12'")
    (said,) = refused(uri, tmp_path)
    assert "was made by a newer MLflow than" in said
    assert "its schema is feedc0ffee12" in said


def test_a_database_of_another_program_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE genes (name TEXT)")
    connection.close()
    (said,) = refused(default_uri(tmp_path), tmp_path)
    assert said.endswith("is none of MLflow's; give another --tracking-uri")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    (said,) = refused(default_uri(tmp_path), tmp_path)
    assert "cannot be read" in said
    assert "file is not a database" in said


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", "file:///tmp/mlruns"])
def test_a_folder_of_runs_is_refused(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    (said,) = refused(uri, tmp_path)
    assert said.startswith(f"the MLflow store {uri} is a folder, where MLflow keeps no runs")


def test_a_store_of_no_known_kind_is_refused(tmp_path):
    assert all("carrier://pigeon" in said for said in refused("carrier://pigeon", tmp_path))


def test_reading_makes_neither_database_nor_experiment(database, tmp_path):
    with pytest.raises(UserError, match="there is no MLflow database at sqlite:///"):
        open_store(tmp_path, "", reading=True).last_search(tmp_path / "shards")
    assert not list(tmp_path.iterdir())
    uri = copy_of(database, tmp_path, "DELETE FROM experiments WHERE name = 'hicray'")
    with pytest.raises(UserError, match="holds no search"):
        open_store(tmp_path, uri, reading=True).last_search(tmp_path / "shards")
    assert Store(uri, tmp_path).client.get_experiment_by_name("hicray") is None


def test_an_empty_database_is_filled_by_who_writes(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(UserError, match="is none of MLflow's"):
        require_store(default_uri(tmp_path), reading=True)
    assert open_store(tmp_path, "").experiment()


@pytest.mark.parametrize("name", ODD)
def test_a_storage_may_have_any_name(database, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    store = Store(copy_of(database, folder, "DELETE FROM experiments"), folder / "artifacts")
    run = store.find_or_start(TRIAL, "odd", {}, {})
    store.figure(run, loss_curves({"a": {"train": [2.0, 1.0]}}), "loss_curves.png")
    assert list(folder.glob("artifacts/*/artifacts/loss_curves.png"))
    assert [one.path for one in store.client.list_artifacts(run)] == ["loss_curves.png"]
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert shlex.split(ui_command(store.uri))[1:] == ["ui", "--backend-store-uri", store.uri]
    assert shlex.split(ui_command(store.uri), comments=True)[-1] == store.uri


def test_no_password_of_a_store_is_shown(tmp_path):
    for uri in ("http://me:s3cret@127.0.0.1:9", "postgresql://me:s3cret@127.0.0.1:9/x?ssl=s3cret"):
        assert all("s3cret" not in said for said in refused(uri, tmp_path))
        assert "s3cret" not in ui_command(uri)


def test_a_server_that_is_called_by_another_name_says_what_it_lacks():
    error = MlflowException("403: Invalid Host header - possible DNS rebinding attack detected")
    said = str(refusal("http://me:s3cret@mlflow:5000", error))
    assert said.endswith("--allowed-hosts mlflow:5000, the name by which it is called")
