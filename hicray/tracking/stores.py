"""Which MLflow store is meant, and whether it can be used as it is: nothing is opened before.

MLflow itself makes a database where there is none, and migrates one of an older version.
"""

import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from mlflow.utils.uri import get_uri_scheme
from sqlalchemy import URL, create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from hicray.config import UserError
from hicray.io.storage import Location, S3Path
from hicray.wording import command, reason, shown

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def default_uri(storage: Location) -> str:
    """Return a SQLite store inside the storage folder.

    Raises:
        UserError: The storage is a bucket, which no database can lie in.
    """
    if isinstance(storage, S3Path):
        raise UserError(
            f"MLflow's database cannot lie in {storage}; start `mlflow server` and give its "
            "address by --tracking-uri or MLFLOW_TRACKING_URI"
        )
    path = str(storage.resolve() / "mlflow.db")
    plain = f"sqlite:///{path}"
    if make_url(plain).database == path:
        return plain
    # Quoted. By the driver's name, or MLflow would make a folder of the quoted path.
    return URL.create("sqlite+pysqlite", database=path).render_as_string()


def ui_command(uri: str) -> str:
    """Return what browses a store: its address, or a line for any shell."""
    if uri.startswith("http"):
        return f"MLflow: {shown(uri)}"
    hidden = "" if shown(uri) == uri else "  # with your user, password and options"
    return command("mlflow", "ui", "--backend-store-uri", shown(uri)) + hidden


def require_store(uri: str, *, reading: bool) -> None:
    """Refuse a store that MLflow would make, migrate or not know.

    Args:
        uri: Tracking URI.
        reading: Nothing may be made; else an empty database is as good as a full one.

    Raises:
        UserError: It is a folder, no MLflow database or one of another version, or a server's
            address with options.
    """
    scheme = get_uri_scheme(uri)
    if scheme in ("", "file"):
        raise UserError(
            f"the MLflow store {shown(uri)} is a folder, where MLflow keeps no runs any more; give "
            "sqlite:////FOLDER/mlflow.db or a server's address as --tracking-uri (`mlflow "
            "migrate-filestore` brings old runs over)"
        )
    if scheme in ("http", "https") and "?" in uri:
        raise UserError(
            f"the address {shown(uri)} of an MLflow server holds options; give http://HOST:PORT as "
            "--tracking-uri"
        )
    if scheme not in _DATABASES:
        return
    file = make_url(uri).database if scheme == "sqlite" else None
    if file in (None, "", ":memory:") or Path(file).is_file():
        _require_schema(uri, reading=reading)
    elif reading:
        raise UserError(
            f"there is no MLflow database at {shown(uri)}; name the --storage or --tracking-uri of "
            "a search that was run"
        )


def _require_schema(uri: str, *, reading: bool) -> None:
    ours = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    (latest,) = ours.get_heads()
    theirs, tables = _schema(uri)
    # Up to date; or empty, and MLflow may make its tables.
    if theirs == latest or not (theirs or tables or reading):
        return
    where = f"the database {shown(uri)}"
    if theirs is None:
        raise UserError(f"{where} is none of MLflow's; give another --tracking-uri")
    try:
        ours.get_revision(theirs)
    except CommandError:
        raise UserError(
            f"{where} was made by a newer MLflow than {mlflow.__version__}, which is installed "
            f"here (its schema is {theirs}, known here is {latest}); install that one, or give "
            "another --tracking-uri"
        ) from None
    upgrade = command("mlflow", "db", "upgrade", shown(uri))
    raise UserError(
        f"{where} was made by an older MLflow than {mlflow.__version__}, which is installed here "
        f"(its schema is {theirs}, not {latest}); make a copy of it and run `{upgrade}`, or give "
        "another --tracking-uri"
    )


def _schema(uri: str) -> tuple[str | None, list[str]]:
    """Return which revision of MLflow's schema a database has, if any, and its tables."""
    try:
        engine = create_engine(uri)
        try:
            with engine.connect() as connection:
                revision = MigrationContext.configure(connection).get_current_revision()
                return revision, inspect(connection).get_table_names()
        finally:
            engine.dispose()
    except (SQLAlchemyError, CommandError, ImportError) as error:
        raise UserError(
            f"the MLflow store {shown(uri)} cannot be read ({reason(error)}); check --tracking-uri"
        ) from error


def refusal(uri: str, error: MlflowException) -> UserError:
    """Return what a store has against being used, and the way out."""
    way = "check --tracking-uri"
    if "Invalid Host header" in str(error):
        host = urlsplit(uri).netloc.rpartition("@")[2]
        way = f"start that server with --allowed-hosts {host}, the name by which it is called"
    return UserError(f"the MLflow store {shown(uri)} does not answer ({reason(error)}); {way}")


def use(uri: str) -> None:
    """Make a store the one that MLflow's own functions mean; of MLflow's words, errors are left."""
    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.ERROR)
    name = "MLFLOW_TRACKING_URI"
    before = os.environ.get(name)
    mlflow.set_tracking_uri(uri)
    # It names the store in the environment too, for whatever this process starts later on.
    os.environ.pop(name, None)
    if before is not None:
        os.environ[name] = before
