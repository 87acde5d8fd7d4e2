"""Types of single settings: what one may be, and the words in which a bad one is refused.

A validator's message completes a sentence that begins with the setting's name and ends with what was found.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from mlflow_stack.domain.firewall import parse_opening
from mlflow_stack.domain.listening import UNIX
from mlflow_stack.domain.model_uri import parse_model_uri
from mlflow_stack.on_host.database import Server, parse

REPOSITORY = Path(__file__).resolve().parent.parent


def matches(pattern: str, expected: str) -> AfterValidator:
    """Validate that a whole string matches `pattern`; `expected` completes "expected …"."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def bind_address(value: str) -> str:
    """Validate where a server listens, "" where the roles of the host say it."""
    if value in (UNIX, "") or _is_ipv4(value):
        return value
    raise ValueError('expected an IPv4 address of the host, "127.0.0.1", "0.0.0.0" or "unix"')


def proxy_address(value: str) -> str:
    if not _is_ipv4(value):
        raise ValueError('expected an IPv4 address of the host, "127.0.0.1" or "0.0.0.0"')
    return value


def _is_ipv4(value: str) -> bool:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return True


def network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f'expected a network like "10.0.0.0/24" ({error})') from None
    return value


def secret_reference(value: str) -> str:
    if not _is_reference(value):
        # The value is left out of the message on purpose: it may be the secret itself.
        raise ValueError('expected a reference: "generated", "env:NAME", "file:PATH" or "cmd:COMMAND"')
    return value


def outside_reference(value: str) -> str:
    """Validate a reference to a secret that somebody else made, or "" where there is none."""
    if value and (value == "generated" or not _is_reference(value)):
        raise ValueError('expected a reference: "env:NAME", "file:PATH" or "cmd:COMMAND"')
    return value


def _is_reference(value: str) -> bool:
    return bool(re.fullmatch(r"generated|env:[A-Za-z_][A-Za-z0-9_]*|file:.+|cmd:.+", value))


def database_uri(value: str) -> str:
    if not value:
        return value
    if not value.startswith(("postgresql+psycopg2://", "mysql+pymysql://")):
        raise ValueError(
            "expected postgresql+psycopg2://USER@HOST:PORT/DATABASE, or mysql+pymysql://… for MySQL and MariaDB; the "
            "driver must be named, because SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, which is not "
            "installed"
        )
    if without_password(value) != value:
        raise ValueError("holds a password; leave it out of the URI and set tracking_database_password to a reference")
    try:
        server = parse(value)
    except ValueError:
        raise ValueError("expected a number as port") from None
    if server.is_mysql:
        _whole_mysql_uri(server)
    return value


def _whole_mysql_uri(server: Server) -> None:
    """Raise ValueError for what PyMySQL would guess at, or understand in another way than SQLAlchemy does."""
    if not (server.host and server.user and re.fullmatch(r"[A-Za-z0-9_$][A-Za-z0-9_$-]{0,63}", server.database)):
        raise ValueError("expected mysql+pymysql://USER@HOST:PORT/DATABASE")
    if surplus := set(server.options) - {"ssl_disabled"}:
        raise ValueError(
            f"{min(surplus)} can't be given here; tracking_database_password and tracking_database_ca_file say what "
            "there is to say, and ssl_disabled=true that no TLS is wanted"
        )
    if server.options.get("ssl_disabled", "true") != "true":
        raise ValueError("expected ssl_disabled=true, or none of it: PyMySQL takes any other word for true as well")


def without_password(text: str) -> str:
    """Return a text in which the passwords of URIs are masked: //USER:PASSWORD@ as SQLAlchemy splits it, password=…"""
    return re.sub(r"(?<=[?&]password=)[^&'\"]+", "***", re.sub(r"(//[^:/]*:)[^@]*@", r"\1***@", text))


def lock_exists(version: str) -> str:
    known = sorted(path.stem.removeprefix("mlflow-py") for path in (REPOSITORY / "locks").glob("mlflow-py*.txt"))
    if version not in known:
        raise ValueError(f"no lock file for it; expected one of {', '.join(known)}, or run `make lock` for a new one")
    return version


def firewall_entry(value: str) -> str:
    parse_opening(value)
    return value


def model_uri(value: str) -> str:
    parse_model_uri(value)
    return value


Port = Annotated[int, Field(ge=1024, le=65535)]
AnyPort = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(ge=1)]
ABSOLUTE_PATH = r"(?!.*/\.\.?(/|$))(/[A-Za-z0-9._-]+){2,}"
AbsolutePath = Annotated[str, matches(ABSOLUTE_PATH, 'an absolute path below the top level, without ".."')]
PgName = Annotated[
    str,
    matches(
        r"(?!pg_|postgres$)[a-z_][a-z0-9_]{0,62}",
        "a lower-case name of letters, digits and _, and none of PostgreSQL's own (postgres, pg_…)",
    ),
]
HostName = Annotated[
    str, matches(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?", "a host name or IPv4 address, without a port")
]
HttpUrl = Annotated[str, matches(r"https?://[^\s'\"]+", "an address that starts with http:// or https://")]
RegistryUrl = Annotated[
    str,
    # A login has settings of its own.
    matches(
        r"(https?://(?![^/]*@)[^\s'\"]+)?", "an address that starts with http:// or https://, without a login in it"
    ),
]
IndexUrl = Annotated[
    str,
    # A login would show in arguments and logs; it belongs into the host's /etc/pip.conf or /etc/uv/uv.toml.
    matches(
        r"(https?://(?![^/]*@)[^\s'\"]+)?", "an address that starts with http:// or https://, without a login in it"
    ),
]
# Both stand in a unit's command line; they are narrower than the standards are.
AcmeUrl = Annotated[
    str,
    matches(r"(https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?)?", "the address of an ACME directory, with https://"),
]
MailAddress = Annotated[
    str, matches(r"([A-Za-z0-9._+-]+@[A-Za-z0-9.-]+[A-Za-z0-9])?", "a mail address, as admin@example.com")
]
BindAddress = Annotated[str, AfterValidator(bind_address)]
ProxyAddress = Annotated[str, AfterValidator(proxy_address)]
StackName = Annotated[
    str, matches(r"([a-z][a-z0-9_-]{0,30})?", "a short name of lower-case letters, digits, - and _, a letter first")
]
ModelName = Annotated[str, matches(r"[a-z0-9][a-z0-9_-]{0,62}", "a unit name of lower-case letters, digits, - and _")]
