"""Where the MLflow store is and how to browse it. Never imports mlflow, which takes seconds."""

from __future__ import annotations

import os
import re
import shlex

VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_URI = "sqlite:///mlflow.db"
PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^/]*@")


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or an SQLite file in the current directory if it is not set."""
    return os.environ.get(VARIABLE, "").strip() or DEFAULT_URI


def ui_command(uri: str, program: str = "mlflow") -> str:
    """The shell command that browses the store; for a server, `open URI`.

    `program` is how the shell finds MLflow's command. A password is never printed.
    """
    if uri.startswith(("http://", "https://")):
        return f"open {without_password(uri)}"
    address = f'"${VARIABLE}"' if uri != without_password(uri) else shlex.quote(uri)
    return f"{shlex.quote(program)} ui --backend-store-uri {address}"


def without_password(uri: str) -> str:
    """An address with its password hidden: `postgresql://me:***@host/db`."""
    return PASSWORD.sub(r"\1:***@", uri)
