"""object_store URI [--read-only]: exit 0 when a tracking server can keep artifacts below URI and nobody else sees them.

Run with the Python of an MLflow environment that has the client of the store, and with the variables of the server.
Standard input is what the server's files hold: the authorities that the store's certificate has to be from (PEM), if
there are any, and then the credentials, if there are any; else the identity of the host counts.

The bucket is there, and in the region that AWS_DEFAULT_REGION names; what is below URI can be listed; an object can be
written, read, listed and deleted, and nobody sees it without a login. With --read-only nothing is written. What is
wrong is said on standard error, a sentence each; the exit status is then 1.

Beside this file are the stores, a module for each scheme, since an environment has the client of one. Each has a class
`Store(URI, credentials, path of the authorities)` with what is done to objects by their names, what it may raise in
doing so (`errors`), what such an error means (`meaning`, a key of MEANINGS), and which settings name the way there
(`way`).
"""

import logging
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

MODULES = {"s3": "s3_store", "gs": "gcs_store", "wasbs": "azure_store"}
CONTENT = b"MLflow Stack has tried whether artifacts can be kept here.\n"
AUTHORITIES = re.compile(r"(.*-----END CERTIFICATE-----\n?)?(.*)", re.DOTALL)
PARTICIPLE = {"read": "read", "list": "listed"}
SETTING = "tracking_artifacts_"
MEANINGS = {
    "absent": f"there is no {{bucket}}; make it, or correct {SETTING}destination",
    "elsewhere": f"{{bucket}} is in another region; set {SETTING}region to that",
    "no credentials": f"there are no credentials for it; give the host an identity there, or set {SETTING}credentials",
    "expired": f"the credentials have expired; renew what {SETTING}credentials refers to",
    "unknown": f"the credentials are not known there; correct {SETTING}credentials",
    "forbidden": "the credentials don't let the server {action} below {uri}; they need {right}",
    "unreachable": "it can't be reached; correct {way}, or the way there from this host",
    "certificate": f"its certificate is not trusted; set {SETTING}ca_file to the authority that it is from",
}


def sentence(store: Any, uri: str, action: str, error: Exception) -> str:
    """Return what is wrong with a store that answered an action so."""
    words = MEANINGS.get(store.meaning(error), f"it can't {{action}} below {{uri}}; look at {SETTING}destination")
    said = (str(error).splitlines() or [type(error).__name__])[0][:300]
    filled = words.format(
        bucket=store.bucket, uri=uri, action=action, right=store.rights.get(action, ""), way=f"{SETTING}{store.way}"
    )
    return f"{uri}: {filled} ({said})"


def problems(store: Any, uri: str, read_only: bool) -> Iterator[str]:
    """Yield what is wrong with a store, a sentence each; only the first when nothing else can be seen for it."""
    try:
        present = store.names(store.prefix)
    except store.errors as error:
        yield sentence(store, uri, "list", error)
        return
    named, found = os.environ.get("AWS_DEFAULT_REGION", ""), store.region()
    if named and found and named != found:
        yield (
            f"{uri}: {store.bucket} is in region {found}, and {SETTING}region is {named!r}; set it to {found!r}, or "
            "take a bucket there"
        )
    if rule := store.opened_by():
        yield public(store, uri, rule)
    if not read_only:
        yield from round_trip(store, uri, is_open=bool(rule))
    elif present and not rule and store.is_open(present[0]):
        yield public(store, uri, "a rule")


def round_trip(store: Any, uri: str, *, is_open: bool) -> Iterator[str]:
    """Write an object, read, list and delete it, and yield what went wrong; `is_open`: that it is public was said."""
    name = f"{store.prefix}.mlflow-stack-probe-{uuid.uuid4().hex}"
    actions: dict[str, Callable[[], object]] = {
        "write": lambda: store.write(name, CONTENT),
        "read": lambda: store.read(name) == CONTENT,
        "list": lambda: name in store.names(name),
        "hide": lambda: is_open or not store.is_open(name),
        "delete": lambda: store.delete(name),
    }
    for action, act in actions.items():
        try:
            result = act()
        except store.errors as error:
            left = f"; {name} is left there" if action == "delete" else ""
            yield f"{sentence(store, uri, action, error)}{left}"
            if action == "write":
                return
            continue
        if result is False and action == "hide":
            yield public(store, uri, "a rule")
        elif result is False:
            yield f"{uri}: what was written can't be {PARTICIPLE[action]} again; take another store"


def public(store: Any, uri: str, opened_by: str) -> str:
    return f"{uri}: {store.bucket} is public, {opened_by} lets everybody in; {store.closing}"


def opened(uri: str, given: str, authorities: str) -> Any:
    """Return the store; SystemExit with a sentence that has nothing of the credentials in it when they are none."""
    module = import_module(MODULES[uri.partition("://")[0]])
    try:
        return module.Store(uri, given, authorities)
    except module.NO_CREDENTIALS:
        sys.exit(f"{uri}: {MEANINGS['no credentials']}")
    except Exception as error:
        sys.exit(f"{uri}: {SETTING}credentials are none for it ({type(error).__name__}); correct what it refers to")


def main() -> int:
    logging.disable()  # what a client logs is said by its error too
    uri, read_only = sys.argv[1], "--read-only" in sys.argv[2:]
    match = AUTHORITIES.fullmatch(sys.stdin.read())
    authorities, credentials = match.groups("") if match else ("", "")
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(authorities)
        file.flush()
        store = opened(uri, credentials.strip(), file.name if authorities else "")
        found = list(problems(store, uri, read_only))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
