"""Dumps of the tracking database before its schema is upgraded, and how one of MySQL is restored.

A dump of PostgreSQL is pg_dump's own format, one of MySQL is SQL of mariadb-dump's, compressed. Each is read to its end
before it counts.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from database import (  # type: ignore[import-not-found]  # its neighbour on the host
    OPTION_FILE,
    libpq_uri,
    mariadb_options,
    option_file,
    parse,
)

# The last line of a dump of MySQL: what comes before is all that there was.
COMPLETE = b"-- MLflow Stack: complete\n"
UNTOUCHED = "Nothing was changed on the database or the running server"
# Where the option file is for root; a process that is not root has a copy (database.OPTION_FILE).
ROOTS_OPTION_FILE = "/etc/mlflow/credentials/mysql.cnf"


def dump_obstacle(database: Any) -> str:
    """Return why a database can't be dumped from this host; "" when it can."""
    if not database.takes_back:
        missing = not shutil.which("mariadb-dump")
        reason = "there is no mariadb-dump; install mariadb-client here"
        return f"it can't be dumped before an upgrade: {reason}. {UNTOUCHED}" if missing else ""
    return pg_dump_obstacle(database.connection.server_version // 10000)


def pg_dump_obstacle(server: int) -> str:
    """Return why pg_dump can't dump a server of this major version; "" when it can, as with its own and older ones."""
    printed = subprocess.run(["pg_dump", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    found = re.search(r"\(PostgreSQL\) (\d+)", printed)
    if found and int(found[1]) >= server:
        return ""
    return (
        f"it can't be dumped before an upgrade: the server is PostgreSQL {server}, and on this host is {printed}; "
        f"install postgresql-client-{server} here. {UNTOUCHED}"
    )


def dump(database: Any, uri: str, revision: str, directory: str) -> Path:
    """Dump the database and read the dump to its end; return its path."""
    os.umask(0o077)
    suffix = ".dump" if database.takes_back else ".sql.gz"
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = Path(directory) / f"before-upgrade-from-{revision}-{moment}{suffix}"
    part = path.with_name(f"{path.name}.part")
    if database.takes_back:
        subprocess.run(["pg_dump", "--format=custom", "--no-privileges", f"--file={part}", libpq_uri(uri)], check=True)
        # pg_restore --list reads the table of contents only and passes a corrupted dump; this reads all of it.
        subprocess.run(["pg_restore", "--file=/dev/null", str(part)], check=True)
    else:
        _dump_mysql(database, uri, part)
        read_through(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())  # a power cut amid the upgrade is what it is for
    part.rename(path)
    return path


def _dump_mysql(database: Any, uri: str, part: Path) -> None:
    """Write SQL that makes everything anew.

    mariadb-dump gives generated columns values, which MariaDB passes over and MySQL refuses (its error 3105): there the
    rows of tables that have some are written here. The server of MLflow is stopped, so that both see the same.
    """
    server = parse(uri)
    apart = {} if database.is_mariadb else dict(_tables_with_generated_columns(database))
    command = ["mariadb-dump", *mariadb_options(server, option_file(server)), "--single-transaction", "--hex-blob"]
    command += ["--no-tablespaces", "--default-character-set=utf8mb4"]
    command += [f"--ignore-table-data={server.database}.{table}" for table in apart]
    with gzip.open(part, "wb", compresslevel=6) as file:
        with subprocess.Popen([*command, server.database], stdout=subprocess.PIPE) as dumping:
            assert dumping.stdout
            shutil.copyfileobj(dumping.stdout, file)
        if dumping.returncode:
            sys.exit(f"mariadb-dump ended with status {dumping.returncode}; no schema was changed")
        for table, columns in apart.items():
            file.writelines(_inserts(database, table, columns))
        file.write(COMPLETE)


def _tables_with_generated_columns(database: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the tables, with the columns that are not generated."""
    of_table = "FROM information_schema.columns WHERE table_schema = database() AND"
    given = f"SELECT column_name {of_table} table_name = %s AND generation_expression = '' ORDER BY ordinal_position"
    for (table,) in database.rows(f"SELECT DISTINCT table_name {of_table} generation_expression <> ''"):
        yield str(table), [str(column) for (column,) in database.rows(given, table)]


def _inserts(database: Any, table: str, columns: list[str]) -> Iterator[bytes]:
    """Yield a statement for each row, one at a time: rows of traces can be large, and many."""
    cursors = import_module("pymysql.cursors")
    names = ", ".join(f"`{column}`" for column in columns)
    statement = f"INSERT INTO `{table}` ({names}) VALUES ({', '.join(['%s'] * len(columns))})"
    with database.connection.cursor(cursors.SSCursor) as cursor:
        cursor.execute(f"SELECT {names} FROM `{table}`")
        for row in cursor:
            yield f"{cursor.mogrify(statement, row)};\n".encode()


def read_through(path: Path) -> None:
    """Read a dump of MySQL to its end, which gzip has a checksum for. SystemExit when it is not whole."""
    last = b""
    try:
        with gzip.open(path) as file:
            for line in file:
                last = line
    except (OSError, EOFError) as error:
        sys.exit(f"{path} is not whole ({error}); no schema was changed")
    if last != COMPLETE:
        sys.exit(f"{path} is not whole (its last line is missing); no schema was changed")


def clear(database: Any) -> None:
    """Remove all tables of a database of MySQL, and with them their triggers."""
    query = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_type = 'BASE TABLE'"
    )
    tables = ", ".join(f"`{table}`" for (table,) in database.rows(query))
    database.rows("SET SESSION foreign_key_checks = 0")
    if tables:
        database.rows(f"DROP TABLE {tables}")
    database.rows("SET SESSION foreign_key_checks = 1")


def restore(database: Any, uri: str, path: Path) -> None:
    """Put a dump of MySQL in the place of all that is in its database. SystemExit when it is not whole, or fails."""
    read_through(path)
    clear(database)
    server = parse(uri)
    command = ["mariadb", *mariadb_options(server, option_file(server)), "--default-character-set=utf8mb4"]
    with subprocess.Popen([*command, server.database], stdin=subprocess.PIPE) as restoring, gzip.open(path) as file:
        assert restoring.stdin
        with suppress(BrokenPipeError):  # it says itself what it does not like
            shutil.copyfileobj(file, restoring.stdin)
    if restoring.returncode:
        sys.exit(f"mariadb ended with status {restoring.returncode}; the dump is as it was: run this again")


def restore_command(uri: str, path: str) -> str:
    """Return the command that restores a dump, for root on this host."""
    program = Path(__file__).resolve().with_name("schema.py")
    variable = f"{OPTION_FILE}={ROOTS_OPTION_FILE} " if os.environ.get(OPTION_FILE) else ""
    return f"{variable}{sys.executable} -I {program} restore '{uri}' {path}"
