"""What differs between distributions: the only module that knows their names, versions and paths.

The table holds facts; what follows from them for a role is a property, so that no role asks which distribution it is
on. Everything else that a host of ours needs is the same on all of them: `apt-get`, Debian's layout of PostgreSQL
clusters (postgresql-common), systemd 247 or newer.
"""

from __future__ import annotations

from dataclasses import dataclass

# systemd 250 brought `systemd-analyze verify --recursive-errors=`. Without recursion: other people's units may have
# faults of their own. The command exits 0 for an unknown directive: what it prints is what counts.
_VERIFY_UNIT_SINCE = 250
_VERIFY_UNIT = (
    'out=$(systemd-analyze verify --recursive-errors=no "$new" 2>&1) && [ -z "$out" ] || { echo "$out" >&2; exit 1; }'
)
# Before that, it complains about every unit that ours is ordered after: only lines that name ours count.
_VERIFY_UNIT_BEFORE = (
    'out=$(SYSTEMD_COLORS=0 systemd-analyze verify "$new" 2>&1 | grep -F "${new##*/}") && { echo "$out" >&2; exit 1; } '
    "|| true"
)


@dataclass(frozen=True)
class Platform:
    """One release of one distribution.

    `postgresql` is the major version of its PostgreSQL, `systemd` the version of its systemd. `packages` are installed
    on every host of ours. `tested`: our tests deploy to it; otherwise its entry is from its documentation alone.
    `post_quantum`: its OpenSSL is 3.5 or newer. `old_libffi`: it is older than 3.4, and calls back into Python by code
    that it writes itself.
    """

    title: str
    postgresql: int
    systemd: int
    tested: bool = True
    packages: tuple[str, ...] = ("ca-certificates", "curl")
    post_quantum: bool = False
    old_libffi: bool = False

    @property
    def firewall_packages(self) -> tuple[str, ...]:
        """nft. Its own service stays off, as Debian installs it."""
        return ("nftables",)

    @property
    def proxy_packages(self) -> tuple[str, ...]:
        return ("nginx", "openssl")

    @property
    def acme_packages(self) -> tuple[str, ...]:
        return ("certbot",)

    @property
    def tls_groups(self) -> str:
        """How keys are exchanged, in OpenSSL's names: Mozilla's "intermediate" (https://ssl-config.mozilla.org).

        OpenSSL's own list goes on with finite fields, of which a client that only says hello makes a server compute the
        longest (CVE-2022-40735).
        """
        return f"{'X25519MLKEM768:' if self.post_quantum else ''}X25519:prime256v1:secp384r1"

    @property
    def never_started(self) -> dict[str, str]:
        """Units, by the package that brings them, which would run beside ours."""
        return {"nginx": "nginx.service", "certbot": "certbot.timer"}

    @property
    def postgresql_packages(self) -> tuple[str, ...]:
        """The server in this very version: the unversioned package may be newer, from another source of packages."""
        return (f"postgresql-{self.postgresql}",)

    @property
    def client_packages(self) -> tuple[str, ...]:
        """For hosts without the server: pg_dump before a migration of the schema."""
        return (f"postgresql-client-{self.postgresql}",)

    @property
    def mysql_client_packages(self) -> tuple[str, ...]:
        """The same for MySQL: MariaDB's programs, which all of them have, and which know MySQL's servers too."""
        return ("mariadb-client",)

    @property
    def postgresql_conf_dir(self) -> str:
        """Directory of postgresql.conf, pg_hba.conf and conf.d/ of the cluster that the package creates."""
        return f"/etc/postgresql/{self.postgresql}/main"

    @property
    def postgresql_bin_dir(self) -> str:
        return f"/usr/lib/postgresql/{self.postgresql}/bin"

    @property
    def postgresql_unit(self) -> str:
        return f"postgresql@{self.postgresql}-main.service"

    @property
    def verify_unit(self) -> str:
        """Shell command that exits 0 when the unit file "$new" has no fault, and prints its faults otherwise."""
        return _VERIFY_UNIT if self.systemd >= _VERIFY_UNIT_SINCE else _VERIFY_UNIT_BEFORE

    @property
    def remark(self) -> str:
        """A sentence for whoever deploys to it; empty when there is nothing to say."""
        return "" if self.tested else f"{self.title} is supported from its documentation alone: no test has run on it"


# (ID, VERSION_ID) of /etc/os-release; a release that is still being made has no VERSION_ID, but a VERSION_CODENAME.
# Versions of PostgreSQL and systemd: packages.debian.org, packages.ubuntu.com.
PLATFORMS = {
    ("debian", "11"): Platform("Debian 11 (bullseye)", postgresql=13, systemd=247, old_libffi=True),
    ("debian", "12"): Platform("Debian 12 (bookworm)", postgresql=15, systemd=252),
    ("debian", "13"): Platform("Debian 13 (trixie)", postgresql=17, systemd=257, post_quantum=True),
    ("debian", "forky"): Platform("Debian forky (testing)", postgresql=18, systemd=262, post_quantum=True),
    ("ubuntu", "22.04"): Platform("Ubuntu 22.04 LTS (jammy)", postgresql=14, systemd=249, tested=False),
    ("ubuntu", "24.04"): Platform("Ubuntu 24.04 LTS (noble)", postgresql=16, systemd=255, tested=False),
}


def find_platform(os_id: str, version_id: str) -> Platform | None:
    """Return the platform of an os-release, or None when it is not supported."""
    return PLATFORMS.get((os_id, version_id))


def supported() -> str:
    """Name the supported platforms, for messages."""
    return ", ".join(platform.title for platform in PLATFORMS.values())
