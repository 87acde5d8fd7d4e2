"""The tracking database: what its URI becomes, the file that its password is in, and who may read that."""

from __future__ import annotations

import posixpath
from shlex import join, quote

from mlflow_stack.domain import layout
from mlflow_stack.on_host.database import MYSQL, OPTION_FILE, encrypted, extended, libpq_uri, mariadb_options, parse

PASSFILE = f"{layout.CREDENTIALS_DIR}/pgpass"
MYSQL_PASSFILE = f"{layout.CREDENTIALS_DIR}/mysql.cnf"
# How a program finds its copy of each.
VARIABLES = {PASSFILE: "PGPASSFILE", MYSQL_PASSFILE: OPTION_FILE}
# The group of the option file that is PyMySQL's; that takes every character as it is, where MariaDB's programs have
# escapes.
GROUP = "pymysql"

# What libpq is told to be sure of the database's server: encrypted, and it is the one (libpq, "SSL Support").
VERIFIED = f"sslmode=verify-full&sslrootcert={layout.DATABASE_CA_FILE}"
# The same for PyMySQL, in the words of SQLAlchemy's dialect. Not `ssl_verify_identity`, which PyMySQL knows as well:
# SQLAlchemy passes it on beside ssl_ca, and then PyMySQL looks at no certificate.
MYSQL_VERIFIED = f"ssl_ca={layout.DATABASE_CA_FILE}&ssl_check_hostname=true"


def is_mysql(uri: str) -> bool:
    return uri.startswith(f"{MYSQL}:")


def passfile(uri: str) -> str:
    """Return where the password of this database is kept."""
    return MYSQL_PASSFILE if is_mysql(uri) else PASSFILE


def secured(uri: str, *, is_verified: bool) -> str:
    """Return a URI whose server is looked at where `is_verified`, and that is encrypted in any case on another host."""
    if is_verified:
        return extended(uri, MYSQL_VERIFIED if is_mysql(uri) else VERIFIED)
    return encrypted(uri)


def with_password(uri: str) -> str:
    """Return a URI that says where the tracking server finds the password; libpq's is in its environment."""
    if not is_mysql(uri):
        return uri
    copy = f"{layout.TRACKING_RUN_DIR}/{posixpath.basename(MYSQL_PASSFILE)}"
    return extended(uri, f"read_default_file={copy}", f"read_default_group={GROUP}")


def mysql_options(password: str) -> str:
    """Return an option file with a password, for PyMySQL and for MariaDB's programs. See password_fault."""
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return (
        "# Managed by MLflow Stack (mlflow_stack/domain/database.py); changes are overwritten.\n"
        f'[client]\npassword="{escaped}"\n[{GROUP}]\npassword="{password}"\n'
    )


def as_tracking_user(command: str, passfile: str) -> str:
    """Return a command that runs `command` as the tracking server's user, with the database password if there is one.

    The password file is root's alone; systemd hands it over, so it is neither in an argument nor in an environment.
    libpq wants a file that its user alone may read, and since systemd 254 a credential's mode says otherwise (systemd
    issue 29096): the user makes a copy in a directory that goes when the command ends. A plan and a run may be there at
    the same time, so each shell ($$) has a directory of its own.
    """
    if not passfile:
        return f"runuser -u {layout.TRACKING_USER} -- env -C / {command}"
    name = posixpath.basename(passfile)
    own = f"$RUNTIME_DIRECTORY/{name}"
    script = f"install --mode=600 $CREDENTIALS_DIRECTORY/{name} {own}; {VARIABLES[passfile]}={own} exec {command}"
    return (
        f"systemd-run --quiet --wait --pipe --collect -p User={layout.TRACKING_USER} "
        f"-p LoadCredential={name}:{passfile} -p PrivateMounts=yes "
        f"-p RuntimeDirectory=mlflow-stack-$$ -p RuntimeDirectoryMode=0700 sh -c {quote(script)}"
    )


def revision_query(uri: str, passfile: str) -> str:
    """Return the command of the database's own client that prints the schema's revision, as on_host/schema.py does.

    For a plan that comes before the environment with Python in it; whether the revision is known, no client can say.
    """
    if not is_mysql(uri):
        query = "SELECT json_build_object('revision', version_num) FROM alembic_version"
        return f"psql -X -A -t -q {quote(libpq_uri(uri))} -c {quote(query)}"
    server = parse(uri)
    first, *options = mariadb_options(server, passfile)
    query = "SELECT json_object('revision', version_num) FROM alembic_version"
    # The copy of the option file that as_tracking_user makes.
    file = f"--defaults-file=$RUNTIME_DIRECTORY/{posixpath.basename(passfile)}" if passfile else first
    return f"mariadb {file} {join([*options, '--batch', '--skip-column-names', f'--execute={query}', server.database])}"
