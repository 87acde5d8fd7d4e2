"""Databases as an older MLflow has left them: made by MLflow's own migrations so far, with rows."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from mlflow_stack.domain.environment import schema_revision
from tests.servers.databases import REPOSITORY, Server

TARGET = schema_revision((REPOSITORY / "locks/mlflow-py3.12.txt").read_text()) or ""
# Of MLflow 3.9; a migration some way after it makes the table "guardrails".
OLDER = "c8d9e0f1a2b3"
# What MLflow had before its first migration, then so far.
MIGRATE = """
import sys
from alembic import command
from mlflow.store.db import utils
engine = utils.create_sqlalchemy_engine(sys.argv[1])
utils.InitialBase.metadata.create_all(engine)
config = utils._get_alembic_config(sys.argv[1])
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, sys.argv[2])
"""
SPAN = (
    "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'Ä \\\\ 数', 'active');"
    "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('t', 7, 1, 'OK');"
    "INSERT INTO spans (trace_id, experiment_id, span_id, status, start_time_unix_nano, end_time_unix_nano, content) "
    "VALUES ('t', 7, 's', 'OK', 5, 9, '{\"a\": \"it''s\\n\"}')"
)


def made(server: Server, database: str, dumps: dict[str, str]) -> str:
    """Make the older schema in a database, from the dump of the first one, as migrations take their time; return its
    URI."""
    uri = server.uri(database)
    if server.scheme in dumps:
        server.sql(dumps[server.scheme], database)
        return uri
    variables = {**os.environ, "PGPASSFILE": str(server.password_file)}
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 600, "env": variables}
    subprocess.run([sys.executable, "-c", MIGRATE, uri, OLDER], check=True, **options)
    server.sql(SPAN, database)
    dump = ["pg_dump", "--no-privileges", uri.replace("+psycopg2", "")]
    if server.is_mysql:
        dump = ["mariadb-dump", "--no-defaults", f"--socket={server.directory}/my.sock", database]
    dumps[server.scheme] = subprocess.run(dump, check=True, **options).stdout
    return uri


def rows(server: Server, database: str) -> str:
    return server.sql("SELECT name FROM experiments; SELECT content, duration_ns FROM spans", database)
