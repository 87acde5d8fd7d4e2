"""Checks of what services, and who breaks into one, may do; and of what listens where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from shlex import quote

from mlflow_stack.conform.calling import STRANGER
from mlflow_stack.conform.checks import EVERY, FIREWALL, SERVERS, SOCKETS, TRACKING, Fault, Subject, Unknown, check
from mlflow_stack.conform.working import BODY, SEARCH, address, asking, models, units
from mlflow_stack.domain import firewall, layout
from mlflow_stack.domain.listening import UNIX
from mlflow_stack.domain.obstacles import OWN_UNITS
from mlflow_stack.roles import production, proxy, tracking
from mlflow_stack.settings import Settings

DROP_IN = "systemctl cat {} shows the drop-in of somebody else; remove it, and run the deploy again"
CONFINED = {"CapEff:": "0000000000000000", "CapBnd:": "0000000000000000", "NoNewPrivs:": "1", "Seccomp:": "2"}


# --- the network ---------------------------------------------------------------------------------------------------


def _firewall(_: Settings) -> str:
    return f"""{firewall.NFT} -s list table {firewall.TABLE} | cmp -s - {firewall.LOADED_FILE} && echo same
{firewall.NFT} -s list chain {firewall.TABLE} input | grep -o 'policy [a-z]*'
true"""


@check("8.10", "The firewall lets in SSH and what the settings name, as it was loaded", FIREWALL, _firewall)
def rules(subject: Subject) -> Iterator[Fault]:
    load = f"systemctl restart {firewall.UNIT}"
    lines = subject.lines("8.10")
    if "policy drop" not in lines:
        yield Fault("there is no table of ours, or it lets everything in", "policy drop", load)
    elif "same" not in lines:
        yield Fault("rules were added or taken away since they were loaded", "those that were loaded", load)
    wanted = {opening.rule for opening in subject.settings.openings()}
    # By which ports SSH is reached is known to the run that asks; 8.9 tries those that are not.
    present = {rule for rule in subject.survey.firewall if "comment" in rule and not rule.endswith('"SSH"')}
    for rule in sorted(present - wanted):
        yield Fault(f"{layout.CONFIG_DIR}/firewall.nft has: {rule}", "no such rule")
    for rule in sorted(wanted - present):
        yield Fault(f"{layout.CONFIG_DIR}/firewall.nft lacks a rule", rule)


@check("8.11", "Servers listen beyond their own host only where the settings say so", EVERY, lambda _: "true")
def listening(subject: Subject) -> Iterator[Fault]:
    subject.lines("8.11")
    if not subject.survey.listeners:
        raise Unknown("no listener was found, not even that of SSH")
    reached = {opening.first for opening in subject.settings.openings()}
    for each in subject.survey.listeners:
        if each.unit.startswith(tuple(OWN_UNITS.values())) and not each.is_local and each.port not in reached:
            where = f"{each.address}:{each.port}/{each.protocol}"
            remedy = f"run the deploy again; of a role that the host has no more: systemctl disable --now {each.unit}"
            yield Fault(f"{each.unit} listens on {where}", "127.0.0.1, or a Unix socket", remedy)


def _own_sockets(settings: Settings) -> dict[str, str]:
    """Return who may use each Unix socket, as "USER GROUP"."""
    found = {layout.LOGIN_SOCKET: f"root {layout.PROXY_USER}"} if settings.has_proxy else {}
    if "tracking" in settings.groups and settings.tracking_bind == UNIX:
        found[layout.TRACKING_SOCKET] = f"{layout.TRACKING_USER} {settings.socket_group(layout.TRACKING_USER)}"
    for model in models(settings) if settings.production_bind == UNIX else []:
        group = settings.socket_group(layout.PRODUCTION_USER)
        found[layout.model_socket(model)] = f"{layout.PRODUCTION_USER} {group}"
    return found


def _sockets(settings: Settings) -> str:
    curl = "curl -s -o /dev/null -m 5 --unix-socket"
    return "\n".join(
        [
            f"cd /; for s in {' '.join(map(quote, _own_sockets(settings)))}; do [ -S $s ] || continue",
            f'runuser -u nobody -- {curl} "$s" http://localhost/; echo "$? $(stat -c "%a %U %G %n" "$s")"; done',
        ]
    )


@check("8.12", "Other users of the host are not let in by the servers' Unix sockets", SOCKETS, _sockets)
def sockets(subject: Subject) -> Iterator[Fault]:
    lines = subject.lines("8.12")
    if not lines:
        raise Unknown("there is no socket")
    for line in lines:
        status, mode, user, group, path = line.split(" ", 4)
        expected = f"660 {_own_sockets(subject.settings)[path]}"
        if status in ("1", "126", "127"):  # runuser(1): it could not be started
            raise Unknown("the user nobody could not be made to try")
        if status != "7":  # curl(1): it could not connect
            yield Fault(f"the user nobody reached {path}", "Permission denied")
        elif f"{mode} {user} {group}" != expected:
            yield Fault(f"{path} is {mode} {user} {group}", expected)


def _foreign(settings: Settings) -> str:
    ask = f"{asking(settings)} -o /dev/null -w '%{{http_code}}\\n' -d '{BODY}' -H 'Origin: https://{STRANGER}'"
    return f"{ask} {address(settings.own_tracking_uri, SEARCH)}; true"


@check("8.7", "A request that a page of another site makes is refused", TRACKING, _foreign)
def foreign_origin(subject: Subject) -> Iterator[Fault]:
    status = "".join(subject.lines("8.7"))
    if status in ("", "000"):
        raise Unknown("the tracking server does not answer")
    if status != "403":
        yield Fault(f"HTTP {status} for a page of {STRANGER}", "403")


# --- the services --------------------------------------------------------------------------------------------------


def limits(settings: Settings) -> dict[str, float]:
    """Return how much each service may be exposed, by systemd's own count from 0 (safe) to 10."""
    found = {firewall.UNIT: 2.8}  # no mount namespace, as its template explains
    found |= dict.fromkeys((f"{production.UMBRELLA}.service", f"{proxy.LOGIN}.service"), 0.5)
    found[tracking.UNIT] = 1.3 if settings.tracking_needs_network else 1.0
    servers = {settings.tracking_bind} if "tracking" in settings.groups else set()
    servers |= {settings.production_bind} if models(settings) else set()
    found[f"{proxy.UNIT}.service"] = 0.5 if servers == {UNIX} else 1.1
    own = {unit: found[unit] for unit in units(settings) if unit in found}
    for model in models(settings):
        entry = settings.production.models[model]
        own[f"{production.UMBRELLA}@{model}.service"] = 2.5 if entry.network or entry.gpu else 1.5
    return own


def _exposure(settings: Settings) -> str:
    names = " ".join(map(quote, limits(settings)))
    return f"for u in {names}; do systemd-analyze security --no-pager $u | tail -n 1; done"


@check("8.13", "No service is more exposed than promised, as systemd counts it", EVERY, _exposure)
def exposure(subject: Subject) -> Iterator[Fault]:
    pattern = re.compile(r"exposure level for (\S+): ([\d.]+)")
    found = {match[1]: match[2] for match in map(pattern.search, subject.lines("8.13")) if match}
    for unit, limit in limits(subject.settings).items():
        if unit not in found:
            raise Unknown(f"systemd-analyze says nothing of {unit}")
        if float(found[unit]) > limit:
            yield Fault(f"{unit}: {found[unit]}", f"at most {limit}", DROP_IN.format(unit))


def _servers(settings: Settings) -> list[str]:
    names = (tracking.UNIT, f"{proxy.UNIT}.service", f"{proxy.LOGIN}.service")
    return [
        *(unit for unit in units(settings) if unit in names),
        *(f"{production.UMBRELLA}@{model}.service" for model in models(settings)),
    ]


def _processes(settings: Settings) -> str:
    wanted = "|".join(["Uid", *(name.rstrip(":") for name in CONFINED)])
    return (
        f"for u in {' '.join(map(quote, _servers(settings)))}; do "
        'for p in $(grep -lF "/$u" /proc/[0-9]*/cgroup | cut -d/ -f3); do '
        f'echo "$u $p $(awk \'/^({wanted}):/ {{ printf "%s%s ", $1, $2 }}\' /proc/$p/status)"; done; done; true'
    )


@check("8.14", "Every process of a server is without root, capabilities and a way to get them", SERVERS, _processes)
def processes(subject: Subject) -> Iterator[Fault]:
    lines = [line.split() for line in subject.lines("8.14")]
    if _servers(subject.settings) and not lines:
        raise Unknown("no process of a server was found")
    for unit, pid, *status in lines:
        if status and "Uid:0" in status:
            yield Fault(f"process {pid} of {unit} is root", "a user of its own", DROP_IN.format(unit))
        for name, expected in CONFINED.items():
            if status and f"{name}{expected}" not in status:
                found = next((each for each in status if each.startswith(name)), f"no {name}")
                yield Fault(f"process {pid} of {unit} has {found}", f"{name}{expected}", DROP_IN.format(unit))


# --- the files and users -------------------------------------------------------------------------------------------


def _writable(settings: Settings) -> str:
    places = [layout.LIBEXEC_DIR, layout.CONFIG_DIR, layout.ENVS_DIR, settings.conda.prefix]
    others = r"\( ! -user root -o -perm /002 -o -perm /020 ! -group root \)"
    return (
        f"[ -d {layout.LIBEXEC_DIR} ] || exit; "
        f"find {' '.join(map(quote, places))} {layout.UNIT_DIR}/mlflow* -xdev ! -type l {others} "
        "-printf '%m %u %g %p\\n' | head -n 10; true"
    )


@check("8.19", "What root and the services run and read can be changed by root alone", EVERY, _writable)
def writable(subject: Subject) -> Iterator[Fault]:
    for mode, owner, group, path in (line.split(" ", 3) for line in subject.lines("8.19")):
        remedy = f"look at what is in it, chown root:root and chmod go-w {quote(path)}; then run the deploy again"
        yield Fault(f"{path} is {mode} {owner} {group}", "root's, and written by nobody else", remedy)


def _users(settings: Settings) -> list[str]:
    own = [layout.TRACKING_USER, layout.PRODUCTION_USER]
    return [*own, layout.PROXY_USER] if settings.has_proxy else own


def _accounts(settings: Settings) -> str:
    return (
        f"for u in {' '.join(_users(settings))}; do "
        'echo "$u $(passwd -S $u | cut -d" " -f2) $(getent passwd $u | cut -d: -f3,7)"; done; true'
    )


@check("8.20", "Nobody can log in as a user of the services", EVERY, _accounts)
def accounts(subject: Subject) -> Iterator[Fault]:
    for user, *found in map(str.split, subject.lines("8.20")):
        if len(found) < 2:
            yield Fault(f"there is no user {user}", "a system user")
            continue
        state, (number, _, shell) = found[0], found[1].partition(":")
        if number == "0":
            yield Fault(f"{user} is root", "a user of its own", "find out who did that")
        if state == "P":
            yield Fault(f"{user} has a password", "none", f"passwd -l {user}")
        if shell not in ("/usr/sbin/nologin", "/bin/false", "/usr/bin/false"):
            remedy = f"usermod --shell /usr/sbin/nologin {user}"
            yield Fault(f"the shell of {user} is {shell or 'sh'}", "/usr/sbin/nologin", remedy)


CHECKS = (foreign_origin, rules, listening, sockets, exposure, processes, writable, accounts)
