"""MLflow: the store, what waits to be sent, logged networks."""

import os

# MLflow reads these when it is imported, which modules of this room alone do.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A request that is repeated below could start a run twice: the outbox repeats whole records.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
