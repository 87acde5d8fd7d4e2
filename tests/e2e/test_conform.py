"""`conform` against a real stack: it keeps its promises, and each thing that is broken is found by its very number."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest

from mlflow_stack.conform.promises import CHECKS
from tests.e2e.conform import Conformed, conform
from tests.e2e.conftest import NAME
from tests.e2e.proxied import ADMIN, SHOP, Proxied, proxied
from tests.e2e.stack import Stack
from tests.turns import of_today

# The database is for its own host alone, and ours.
NO_CONCERN = {"6.9", "8.18"}
ALL = {check.number for check in CHECKS} - NO_CONCERN


@pytest.fixture(scope="module")
def without_proxy(served: Stack) -> Conformed:
    """A served stack whose servers others reach without a login."""
    served.recovers()
    return conform(served)


@pytest.fixture(scope="module")
def stack(served: Stack, without_proxy: Conformed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """The same with a proxy."""
    with proxied(served, tmp_path_factory.mktemp("ca")) as stack:
        stack.host.run(f"cp -p {NGINX} {PEM} /root/")
        yield stack


def here(*numbers: str) -> set[str]:
    return {f"{NAME} {number}" for number in numbers}


# --- a stack that is well ------------------------------------------------------------------------------------------


def test_stack_with_open_servers_keeps_its_promises(without_proxy: Conformed) -> None:
    of_proxies = {"6.5", "8.1", "8.2", "8.3", "8.4", "8.5", "8.8", "8.12"}

    assert without_proxy.is_kept, without_proxy.output
    assert without_proxy.held == here(*ALL - of_proxies - {"5.3", "5.4", "5.5"})
    assert f"{NAME}  5.3   not asked   No secret" in without_proxy.output
    assert "this host keeps no secret" in without_proxy.output


def test_stack_with_a_proxy_keeps_its_promises(stack: Proxied) -> None:
    count = "journalctl -q -t sudo -o cat | grep -c ' COMMAND=' || true"
    before = int(stack.host.run(count).stdout)

    found = conform(stack)

    commands = int(stack.host.run(count).stdout) - before
    print(f"conform: {len(found.held)} checks on one host in {found.seconds:.1f} s, by {commands} SSH command")
    assert found.is_kept, found.output
    assert found.held == here(*ALL)
    assert commands == 1


def test_nothing_is_changed_and_no_password_is_shown(stack: Proxied) -> None:
    hashes = stack.host.run("awk '!/^#/ { print $4 }' /etc/mlflow/credentials/logins").stdout.split()
    before = stack.fingerprint()

    found = conform(stack)

    assert stack.fingerprint() == before
    assert stack.converge().changed == []
    assert [secret for secret in (ADMIN[1], SHOP[1], *hashes) if secret in found.output] == []


# --- what is broken --------------------------------------------------------------------------------------------------

HASH = "$(awk '!/^#/ { print $4; exit }' /etc/mlflow/credentials/logins)"
NGINX = "/etc/mlflow/proxy/nginx.conf"
PEM = "/etc/mlflow/credentials/proxy/server.pem"
HBA = "/etc/postgresql/15/main/pg_hba.conf"
DROP_IN = "/etc/systemd/system/mlflow-tracking.service.d"
RELOAD = "systemctl reload mlflow-proxy; sleep 1"
RESTORE = f"cat /root/nginx.conf > {NGINX}; {RELOAD}"
INTRUDER = """
group=$(systemctl show -P ControlGroup mlflow-proxy-login)
for root in /sys/fs/cgroup/unified /sys/fs/cgroup; do
  [ ! -e "$root$group/cgroup.procs" ] || echo $$ > "$root$group/cgroup.procs"
done
exec sleep 600
"""


def sql(statement: str, database: str = "postgres") -> str:
    return f'cd /; runuser -u postgres -- psql -q -d {database} -c "{statement}"'


def nginx(edit: str) -> tuple[str, str]:
    return f"sed -i '{edit}' {NGINX}; {RELOAD}", RESTORE


# What is done to the host, how it is undone, and the numbers of the checks that then fail.
BROKEN: dict[str, tuple[str, str, set[str]]] = {
    "a commit that is not on the disk": (
        sql("ALTER DATABASE mlflow_db SET synchronous_commit = off"),
        sql("ALTER DATABASE mlflow_db RESET synchronous_commit"),
        {"4.1"},
    ),
    "hashes that a group reads": (
        "chmod 640 /etc/mlflow/credentials/logins",
        # A file that was changed since its service began, if only in its mode, has the next run restart it.
        "chmod 600 /etc/mlflow/credentials/logins; systemctl restart mlflow-proxy-login",
        {"5.1"},
    ),
    "a configuration that others see": ("chmod 755 /etc/mlflow", "chmod 750 /etc/mlflow", {"5.2"}),
    # systemd writes such a unit to a file below /run that everybody can read.
    "a secret in a unit": (
        f'systemd-run --quiet --unit leak -p Environment="X={HASH}" sleep 600',
        "systemctl stop leak",
        {"5.3", "5.5"},
    ),
    "a credential that everybody reads": (
        "install -m 644 /etc/mlflow/credentials/logins /tmp/copy",
        "rm /tmp/copy",
        {"5.5"},
    ),
    "a model that is stopped": (
        "systemctl stop mlflow-production@diabetes",
        "systemctl start mlflow-production@diabetes",
        {"6.1", "6.3", "6.6"},
    ),
    "a unit that does not start with the host": (
        "systemctl disable -q mlflow-tracking",
        "systemctl enable -q mlflow-tracking",
        {"6.1"},
    ),
    "a certificate of somebody else": (
        "cd /root && umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out other -subj /CN=other "
        f"2> /dev/null && cat key other > {PEM}; {RELOAD}",
        f"cat /root/server.pem > {PEM}; {RELOAD}",
        {"8.1"},
    ),
    "a proxy that speaks old TLS": (
        *nginx(
            "s/ssl_protocols /ssl_protocols TLSv1.1 /; s/ssl_ciphers /ssl_ciphers @SECLEVEL=0:ECDHE-ECDSA-AES128-SHA:/"
        ),
        {"8.2"},
    ),
    "a proxy that answers without TLS": (*nginx('s/return 301 .*/return 200 "hello";/'), {"8.3"}),
    "a proxy that lets in without a login": (*nginx("/auth_request .*tracking;/d"), {"8.4"}),
    "a proxy that answers to any name": (*nginx('s/return 421 .*/return 200 "hello";/'), {"8.6"}),
    "a proxy that tells browsers nothing": (*nginx("/add_header X-Frame-Options/d"), {"8.8"}),
    "a port that is open": (
        "nft insert rule inet mlflow_stack input tcp dport 9100 accept; "
        "systemd-run --quiet --unit by-hand python3 -m http.server 9100; sleep 1",
        "systemctl stop by-hand; systemctl restart mlflow-firewall",
        {"8.9", "8.10"},
    ),
    "a firewall that is gone": ("nft delete table inet mlflow_stack", "systemctl restart mlflow-firewall", {"8.10"}),
    "a server that listens everywhere": (
        "systemd-run --quiet --unit mlflow-tracking.by-hand.service python3 -m http.server 9101; sleep 1",
        "systemctl stop mlflow-tracking.by-hand.service",
        {"8.11"},
    ),
    "a socket for everybody": (
        "chmod 666 /run/mlflow/tracking.sock",
        "chmod 660 /run/mlflow/tracking.sock",
        {"8.12"},
    ),
    "a drop-in that opens the sandbox": (
        f"mkdir {DROP_IN}; printf '[Service]\\nProtectSystem=no\\nPrivateDevices=no\\nPrivateNetwork=no\\n"
        "RestrictNamespaces=no\\nSystemCallFilter=\\nProtectProc=default\\nPrivateUsers=no\\n' "
        f"> {DROP_IN}/hand.conf; systemctl daemon-reload",
        f"rm -r {DROP_IN}; systemctl daemon-reload",
        {"8.13"},
    ),
    # Root among the processes of a service; what a service's own became would take a hole in it.
    "a process with rights": (
        f"cat > /root/intruder <<'END'\n{INTRUDER}END\nsystemd-run --quiet --unit intruder sh /root/intruder; sleep 1",
        "systemctl restart mlflow-proxy-login; systemctl stop intruder 2> /dev/null; sleep 1",
        {"8.14"},
    ),
    "a right too many": (
        sql("ALTER ROLE mlflow_user CREATEDB"),
        sql("ALTER ROLE mlflow_user NOCREATEDB"),
        {"8.15"},
    ),
    "a database for everybody": (
        sql("GRANT CONNECT ON DATABASE mlflow_db TO PUBLIC"),
        sql("REVOKE CONNECT ON DATABASE mlflow_db FROM PUBLIC"),
        {"8.16"},
    ),
    "a role for dumps that may write": (
        sql("GRANT INSERT ON runs TO mlflow_dump", "mlflow_db"),
        sql("REVOKE INSERT ON runs FROM mlflow_dump", "mlflow_db"),
        {"8.24"},
    ),
    "a rule that trusts everybody": (
        f"sed -i '1i local all all trust' {HBA}",
        f"sed -i 1d {HBA}; systemctl reload postgresql@15-main; sleep 1",
        {"8.17"},
    ),
    "a program that others can change": (
        "chmod 646 /opt/mlflow/libexec/ready.py",
        "chmod 644 /opt/mlflow/libexec/ready.py",
        {"8.19"},
    ),
    "a service's user with a shell": (
        "usermod --shell /bin/bash mlflow-model",
        "usermod --shell /usr/sbin/nologin mlflow-model",
        {"8.20"},
    ),
    # The last one: it takes the journal of all the others with it.
    "a secret in the journal": (
        f'logger -t leak "X={HASH}"; sleep 1',
        "journalctl -q --rotate; sleep 2; journalctl -q --vacuum-time=1s",
        {"5.4"},
    ),
}


@pytest.mark.parametrize("what", of_today(BROKEN, 2))
def test_what_is_broken_is_found_by_its_number(stack: Proxied, what: str) -> None:
    breaks, mends, numbers = BROKEN[what]
    stack.host.run(breaks)
    try:
        found = conform(stack)
    finally:
        stack.host.run(mends, check=False)

    assert (found.failed, found.unknown, found.status) == (here(*numbers), set(), 2), found.output
    stack.recovers()


def test_password_is_not_sent_to_who_can_not_prove_who_it_is(stack: Proxied) -> None:
    breaks, mends, _ = BROKEN["a certificate of somebody else"]
    stack.host.run(breaks)
    try:
        found = conform(stack)
    finally:
        stack.host.run(mends, check=False)

    assert found.skipped >= here("6.5", "6.6")
    assert "no password is sent to a server that does not prove who it is; see 8.1" in found.output


def test_tracking_server_that_is_down_is_found_by_all_who_ask_it(stack: Proxied) -> None:
    stack.host.run("systemctl stop mlflow-tracking")
    try:
        found = conform(stack)
    finally:
        stack.host.run("systemctl start mlflow-tracking")

    assert found.failed == here("6.1", "6.2", "6.4", "6.5"), found.output
    assert (found.unknown, found.status) == (here("8.7"), 2)
    stack.recovers()


def test_what_was_mended_holds_again(stack: Proxied) -> None:
    found = conform(stack)

    assert found.is_kept, found.output
    assert found.held == here(*ALL)
    assert stack.converge().changed == []


# --- waivers, and hosts that are not there ---------------------------------------------------------------------------


def test_what_is_waived_is_no_failure_and_a_needless_waiver_is_named(stack: Proxied) -> None:
    waivers = stack.directory / "waivers.yaml"
    until = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)).date()
    waivers.write_text(
        f"- {{number: 8.20, host: {NAME}, reason: they log in to look at their model, until: {until}}}\n"
        f"- {{number: 5.1, host: all, reason: nobody else has an account here, until: {until}}}\n"
    )
    breaks, mends, _ = BROKEN["a service's user with a shell"]
    stack.host.run(breaks)
    try:
        found = conform(stack, "--waivers", str(waivers))
    finally:
        stack.host.run(mends)

    assert found.status == 0, found.output
    assert found.skipped >= here("8.20")
    assert "waiver of 5.1 on all: not needed any more; remove it" in found.output


def test_host_that_is_not_reached_ends_with_1_and_the_others_are_judged(stack: Proxied) -> None:
    nobody = f"{stack.host.address.rpartition('.')[0]}.250"

    found = conform(stack, second={"ssh_hostname": nobody})

    assert found.status == 1
    assert f"{NAME}: {len(ALL)} hold, {len(NO_CONCERN)} no concern" in found.output
    assert "mlflow2: not reached, so nothing is known about it" in found.output
    assert found.unknown == {"mlflow2 can"}
