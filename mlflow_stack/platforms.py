"""What differs between distributions: the only module that knows their names, packages and paths."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """One release of one distribution.

    `packages` are installed on every host of ours, `postgresql_packages` on database hosts, `client_packages` on
    tracking hosts (pg_dump before a migration).
    """

    title: str
    postgresql_version: str
    packages: tuple[str, ...] = ("ca-certificates", "curl")

    @property
    def postgresql_packages(self) -> tuple[str, ...]:
        """The server in this very version: the unversioned package may be newer, from another source of packages."""
        return (f"postgresql-{self.postgresql_version}",)

    @property
    def client_packages(self) -> tuple[str, ...]:
        return (f"postgresql-client-{self.postgresql_version}",)

    @property
    def postgresql_conf_dir(self) -> str:
        """Directory of postgresql.conf, pg_hba.conf and conf.d/ of the cluster that the package creates."""
        return f"/etc/postgresql/{self.postgresql_version}/main"

    @property
    def postgresql_bin_dir(self) -> str:
        return f"/usr/lib/postgresql/{self.postgresql_version}/bin"

    @property
    def postgresql_unit(self) -> str:
        return f"postgresql@{self.postgresql_version}-main.service"


# (ID, VERSION_ID) of /etc/os-release.
PLATFORMS = {
    ("debian", "12"): Platform(title="Debian 12 (bookworm)", postgresql_version="15"),
}

# `uname -m` of the architectures that Miniconda is made for and that the lock files cover.
ARCHITECTURES = ("x86_64", "aarch64")


def find_platform(os_id: str, version_id: str) -> Platform | None:
    """Return the platform of an os-release, or None when it is not supported."""
    return PLATFORMS.get((os_id, version_id))


def supported() -> str:
    """Name the supported platforms, for messages."""
    return ", ".join(platform.title for platform in PLATFORMS.values())
