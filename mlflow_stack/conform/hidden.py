"""Checks that nothing secret can be read by others: modes, and a search for every secret that the host itself keeps."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow_stack.conform.checks import EVERY, Fault, NotAsked, Subject, check
from mlflow_stack.domain import layout
from mlflow_stack.settings import Settings

CHANGE = "find out what wrote it there; then change the secret (docs/how-to/check-a-stack.md) and remove it"

# Prints each secret of the host, a line each; of a key what is not in its certificate too, as an RSA modulus can be.
# What is shorter than eight characters is anywhere. All goes from pipe to pipe, and never into an argument or a file.
SECRETS = f"""
secrets() {{
  cd {layout.CREDENTIALS_DIR} || return 1
  {{
    [ ! -f pgpass ] || sed 's/^\\*:\\*:\\*:\\*://; s/\\\\\\(.\\)/\\1/g' pgpass
    [ ! -f mysql.cnf ] || sed -n 's/^password="\\(.*\\)"$/\\1/p' mysql.cnf
    [ ! -f tracking-password ] || cat tracking-password
    [ ! -f permissions-key ] || cat permissions-key
    find acme -name private_key.json -exec sed 's/.*"d": "\\([^"]*\\)".*/\\1/' {{}} + 2> /dev/null
    [ ! -f logins ] || awk '!/^#/ {{ print $4 }}' logins
    cat proxy/*.pem proxy/*.key {layout.DATABASE_TLS_DIR}/*.pem {layout.DATABASE_TLS_DIR}/*.key 2> /dev/null | awk '
      /-----BEGIN / {{ private = /PRIVATE KEY/; next }}
      /-----END / {{ next }}
      private {{ key[$0] }}
      !private {{ public[$0] }}
      END {{ for (line in key) if (!(line in public)) print line }}'
  }} | awk 'length >= 8'
}}
echo "secrets $(secrets | wc -l)"
"""


def _keys(settings: Settings) -> str:
    places = [layout.CREDENTIALS_DIR, *([layout.DATABASE_TLS_DIR] if settings.serves_database else [])]
    return f"find {' '.join(places)} -printf '%y %m %u %g %p\\n'; true"


@check("5.1", "Passwords, keys and hashes are in files that their one user alone can read", EVERY, _keys)
def keys(subject: Subject) -> Iterator[Fault]:
    found = [line.split(" ", 4) for line in subject.lines("5.1")]
    if not any(path == layout.CREDENTIALS_DIR for *_, path in found):
        yield Fault(f"there is no {layout.CREDENTIALS_DIR}", "700 root root")
    for kind, mode, owner, group, path in found:
        if path == layout.DATABASE_AUTHORITY:
            continue  # what clients trust, beside the keys; the directory is closed
        user = "postgres" if path.startswith(layout.DATABASE_TLS_DIR) else "root"
        modes = ("700",) if kind == "d" else ("600", "400")
        expected = f"{modes[0]} {user} {user}"
        if kind not in "df" or mode not in modes or (owner, group) != (user, user):
            what = f"{path} is {mode} {owner} {group}" if kind in "df" else f"{path} is neither file nor directory"
            yield Fault(what, expected, "run the deploy again; remove what is none of ours")


def _closed_directories(settings: Settings) -> list[str]:
    own = [layout.CONFIG_DIR, layout.STATE_DIR, layout.STAMPS_DIR, layout.BACKUP_DIR]
    return [*own, settings.own_artifact_directory] if settings.own_artifact_directory else own


def _stat_directories(settings: Settings) -> str:
    return f"stat -c '%a %n' {' '.join(_closed_directories(settings))}; true"


@check("5.2", "Other users of the host see neither configuration nor artifacts nor dumps", EVERY, _stat_directories)
def closed(subject: Subject) -> Iterator[Fault]:
    modes = {path: mode for mode, _, path in (line.partition(" ") for line in subject.lines("5.2"))}
    for path in _closed_directories(subject.settings):
        mode = modes.get(path, "")
        if not mode.endswith("0"):
            yield Fault(f"{path} is {mode}" if mode else f"there is no {path}", "no right for others")


def _hits(subject: Subject, number: str) -> list[str]:
    """Return where a secret was found; NotAsked on a host that has none."""
    count, *hits = subject.lines(number)
    if count == "secrets 0":
        raise NotAsked("this host keeps no secret")
    return hits


def _arguments(_: Settings) -> str:
    return f"""{SECRETS}
cd /
show() {{ runuser -u nobody -- systemctl show "$@"; }}
[ -n "$(show -p Version)" ] || exit
if show '*' | grep -qaFf <(secrets); then
  for unit in $(systemctl list-units --all --plain --no-legend | awk '{{ print $1 }}'); do
    if show -- "$unit" | grep -qaFf <(secrets); then echo "unit $unit"; fi
  done
fi
for file in $(grep -slaFf <(secrets) /proc/[0-9]*/cmdline); do
  echo "process $(cat "${{file%/cmdline}}/comm")"
done
true"""


@check("5.3", "No secret is in what any user is told of a unit or of a process", EVERY, _arguments)
def arguments(subject: Subject) -> Iterator[Fault]:
    for hit in _hits(subject, "5.3"):
        kind, _, name = hit.partition(" ")
        shown = "what systemctl shows" if kind == "unit" else "the arguments"
        yield Fault(f"a secret of the host is in {shown} of {name}", "nowhere but in its file", CHANGE)


def _journal(_: Settings) -> str:
    return f"""{SECRETS}
[ -n "$(journalctl -q -n 1)" ] || exit
journalctl -q --no-pager --all --since=-24h | grep -aFf <(secrets) | awk '
  $5 ~ /^[A-Za-z0-9_.@-]+(\\[[0-9]+\\])?:$/ {{ sub(/(\\[[0-9]+\\])?:$/, "", $5); print $5; next }}
  {{ print "a program that writes several lines" }}' | sort | uniq -c
true"""


@check("5.4", "No secret is in the journal of the last day", EVERY, _journal)
def journal(subject: Subject) -> Iterator[Fault]:
    for hit in _hits(subject, "5.4"):
        count, _, program = hit.strip().partition(" ")
        yield Fault(f"a secret of the host is in {count} lines of {program}", "in none", CHANGE)


def _readable(_: Settings) -> str:
    places = f"/etc /run /tmp /var/tmp /dev/shm /var/log {layout.LIBEXEC_DIR}"
    # Another user says what can be read, and root looks into it: a process of that user would have the secrets.
    look = "runuser -u nobody -- find {} -xdev -type f -size -1025k -readable -print0"
    return f"""{SECRETS}
cd /
mapfile -d '' -t files < <({look.format(places)}; {look.format("/home -maxdepth 3")})
[ ${{#files[@]}} != 0 ] || exit
for ((i = 0; i < ${{#files[@]}}; i += 1000)); do
  grep -slaFf <(secrets) -- "${{files[@]:i:1000}}"
done | head -n 20
true"""


@check("5.5", "No secret is in a file that any user can read", EVERY, _readable)
def readable(subject: Subject) -> Iterator[Fault]:
    for path in _hits(subject, "5.5"):
        yield Fault(f"a secret of the host is in {path}, which everybody can read", "in no such file", CHANGE)


CHECKS = (keys, closed, arguments, journal, readable)
