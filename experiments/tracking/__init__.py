"""MLflow: the only package that imports it. It sets MLflow's switches before mlflow is imported."""

import logging
import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read at the import
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"  # a call returns when its data are stored
# MLflow would wait for minutes for a server that is away.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
# No progress bar for every image that is downloaded from a remote store.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# MLflow logs every migration, and a traceback for what it raises as well.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
logging.getLogger("alembic").setLevel(logging.ERROR)
