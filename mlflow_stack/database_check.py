"""Asks a database that somebody else manages, before anything is changed, whether a host could use it.

It is asked from here, with the drivers of here, through the SSH connection with the host that is to use it: a fresh
host has no driver yet. Where that can't be, the host asks before the schema is touched (on_host/schema.py check).
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.connectors.local import LocalConnector

from mlflow_stack import secret_store
from mlflow_stack.domain.environment import schema_revision
from mlflow_stack.on_host.database import (
    Database,
    DatabaseError,
    MySQL,
    PostgreSQL,
    Server,
    driver,
    libpq_uri,
    mysql_arguments,
    parse,
    password_fault,
)
from mlflow_stack.on_host.needs import faults, refusal
from mlflow_stack.session import transport_of
from mlflow_stack.settings import Settings
from mlflow_stack.tunnel import Forbidden, Unreached, through

ANSWER_S = 20
LATER = "it is looked at on the host, before the schema is touched"


class Unasked(Exception):
    """Nobody could look from here; the message says why."""


def problems(host: Host, settings: Settings) -> list[str]:
    """Return, a sentence each, why this host can't use its database. Raises Unasked."""
    server = parse(settings.database_uri)
    if "," in server.host or server.host.startswith("/") or not server.host:
        raise Unasked(f"the database can't be asked from here, as its URI names {server.host or 'no host'}; {LATER}")
    if "sslrootcert" in settings.tracking.database_uri:
        raise Unasked(f"the database can't be asked from here, as its sslrootcert is a file of the host; {LATER}")
    try:
        password = _password(settings)
        with _way(host, server) as port, closing(connect(settings, password, port)) as database:
            found = faults(database, _target(settings))
    except Forbidden:
        raise Unasked(f"the database can't be asked from here, as the host's sshd forwards nothing; {LATER}") from None
    except (DeployError, DatabaseError, Unreached) as error:
        return [_sentence(error, server)]
    return [f"tracking_database_uri: {server.address}: {fault}" for fault in found]


def _sentence(error: Exception, server: Server) -> str:
    if isinstance(error, DeployError):
        return str(error)
    if isinstance(error, Unreached):
        error = DatabaseError(f"unreachable: {error}")
    return f"tracking_database_uri: {refusal(error, server)}"


def _password(settings: Settings) -> str:
    if not settings.database_password:
        return ""
    reference, setting = settings.database_password
    password = secret_store.resolve(reference, setting, stack=settings.inventory.stack)
    if fault := password_fault(settings.database_uri, password):
        raise DeployError(f"{setting} {fault}")
    return password


def _target(settings: Settings) -> str:
    return schema_revision(settings.conda.locked()) or ""


def _way(host: Host, server: Server) -> AbstractContextManager[int]:
    """Return a way to the server as the host has it: a port of 127.0.0.1, 0 for none where the host is this machine."""
    if isinstance(host.connector, LocalConnector):
        return nullcontext(0)
    transport = transport_of(host)
    if not transport:
        raise Unasked(f"the database can't be asked from here, as there is no SSH connection with the host; {LATER}")
    return through(transport, server.host, server.port)


def connect(settings: Settings, password: str, port: int) -> Database:
    """Connect as the host will, through a port of 127.0.0.1 (0: directly). Raises DatabaseError."""
    ca_file = settings.tracking.database_ca_file
    authority = str(Path(ca_file).expanduser()) if ca_file else ""
    # Not at the top of this file: what the database of a stack's own needs no time for.
    module, open_one = (driver("pymysql"), _mysql) if settings.uses_mysql else (driver("psycopg2"), _postgresql)
    try:
        return open_one(module, settings.database_uri, password, port, authority)
    except module.Error as error:
        raise DatabaseError(error) from error


def _postgresql(psycopg2: Any, uri: str, password: str, port: int, authority: str) -> Database:
    psycopg2.extensions.set_wait_callback(partial(_wait, psycopg2))
    arguments = psycopg2.extensions.parse_dsn(libpq_uri(uri))
    if port:
        # The name stays that of the server, whose certificate is looked at.
        arguments |= {"hostaddr": "127.0.0.1", "port": str(port)}
    if authority:
        arguments["sslrootcert"] = authority
    return PostgreSQL(psycopg2.connect(**arguments, **({"password": password} if password else {})))


def _wait(psycopg2: Any, connection: Any) -> None:
    """Wait for libpq, while what passes its bytes on, and the other hosts, go on: all of a run is one thread (gevent).

    Raises OperationalError when the server says nothing.
    """
    end = time.monotonic() + ANSWER_S
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        left = max(0.0, end - time.monotonic())
        reads, writes = ([connection], []) if state == psycopg2.extensions.POLL_READ else ([], [connection])
        if not any(select.select(reads, writes, [], left)):
            raise psycopg2.OperationalError(f"timed out: no answer within {ANSWER_S} s")


def _mysql(pymysql: Any, uri: str, password: str, port: int, authority: str) -> Database:
    server = parse(uri)
    if authority:
        server = replace(server, options={**server.options, "ssl_ca": authority})
    limits = {"connect_timeout": ANSWER_S, "read_timeout": ANSWER_S}
    connection = pymysql.connect(**mysql_arguments(server), **limits, password=password, defer_connect=True)
    connection.connect(socket.create_connection(("127.0.0.1", port), ANSWER_S) if port else None)
    return MySQL(connection)
