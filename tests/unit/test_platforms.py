"""The table of distributions."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlflow_stack import platforms
from mlflow_stack.domain.obstacles import Needs, obstacles
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.platforms import PLATFORMS, Platform

UNIT = "[Service]\nExecStart=/bin/true\n"


@pytest.mark.parametrize(
    ("os_id", "version", "title", "postgresql"),
    [
        ("debian", "11", "Debian 11 (bullseye)", 13),
        ("debian", "12", "Debian 12 (bookworm)", 15),
        ("debian", "13", "Debian 13 (trixie)", 17),
        ("debian", "forky", "Debian forky (testing)", 18),
        ("ubuntu", "22.04", "Ubuntu 22.04 LTS (jammy)", 14),
        ("ubuntu", "24.04", "Ubuntu 24.04 LTS (noble)", 16),
    ],
)
def test_platform_is_found_by_its_os_release(os_id: str, version: str, title: str, postgresql: int) -> None:
    platform = platforms.find_platform(os_id, version)

    assert platform is not None
    assert platform.title == title
    assert platform.postgresql_packages == (f"postgresql-{postgresql}",)
    assert platform.client_packages == (f"postgresql-client-{postgresql}",)
    assert platform.postgresql_conf_dir == f"/etc/postgresql/{postgresql}/main"
    assert platform.postgresql_bin_dir == f"/usr/lib/postgresql/{postgresql}/bin"
    assert platform.postgresql_unit == f"postgresql@{postgresql}-main.service"


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=lambda platform: platform.title)
def test_platform_has_every_field(platform: Platform) -> None:
    assert platform.title
    assert platform.packages
    assert platform.systemd >= 247
    assert platform.postgresql >= 13


def test_platforms_have_names_of_their_own() -> None:
    assert len({platform.title for platform in PLATFORMS.values()}) == len(PLATFORMS)


@pytest.mark.parametrize(("os_id", "version"), [("debian", "10"), ("debian", ""), ("ubuntu", "20.04"), ("", "")])
def test_platform_that_is_not_in_the_table_is_not_supported(os_id: str, version: str) -> None:
    assert platforms.find_platform(os_id, version) is None


def test_supported_platforms_are_named_for_people() -> None:
    assert platforms.supported() == (
        "Debian 11 (bullseye), Debian 12 (bookworm), Debian 13 (trixie), Debian forky (testing), "
        "Ubuntu 22.04 LTS (jammy), Ubuntu 24.04 LTS (noble)"
    )


@pytest.mark.parametrize(
    ("os_id", "version", "title"),
    [
        ("debian", "10", "Debian GNU/Linux 10 (buster)"),
        ("ubuntu", "25.10", "Ubuntu 25.10"),
        ("rocky", "9.6", "Rocky Linux 9.6 (Blue Onyx)"),
    ],
)
def test_any_other_system_is_refused_by_its_name(os_id: str, version: str, title: str) -> None:
    survey = HostSurvey(os_id=os_id, version_id=version, title=title)

    found = obstacles(survey, Needs(1, 1, {}, ("x86_64",), True))

    assert found == [f"{title} is not supported; expected {platforms.supported()}"]


def test_platforms_of_which_only_the_documentation_is_known_are_ubuntus() -> None:
    untested = {platform.title: platform.remark for platform in PLATFORMS.values() if platform.remark}

    assert untested == {
        "Ubuntu 22.04 LTS (jammy)": "Ubuntu 22.04 LTS (jammy) is supported from its documentation alone: no test has "
        "run on it",
        "Ubuntu 24.04 LTS (noble)": "Ubuntu 24.04 LTS (noble) is supported from its documentation alone: no test has "
        "run on it",
    }


@pytest.mark.parametrize("release", ["11", "12"])
@pytest.mark.parametrize(
    ("unit", "fault"),
    [
        (UNIT, ""),
        (f"{UNIT}Bogus=yes\n", "Unknown key"),
        (f"{UNIT}ExecStartPre=/no/such\n", "Command /no/such is not executable: No such file or directory"),
    ],
    ids=["no-fault", "unknown-key", "missing-program"],
)
def test_unit_with_a_fault_is_refused_with_the_fault(release: str, unit: str, fault: str, tmp_path: Path) -> None:
    """Both ways to verify are tried here; tests/e2e/test_releases.py tries each on its own systemd."""
    if not shutil.which("systemd-analyze"):
        assert not os.environ.get("CI"), "systemd-analyze is missing: install systemd"
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "checked.service"
    file.write_text(unit)
    verify = PLATFORMS["debian", release].verify_unit

    done = subprocess.run(
        ["sh", "-euc", verify],
        env={**os.environ, "new": str(file)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert fault in done.stderr
    assert done.returncode == (1 if fault else 0), done.stderr


def test_certbot_comes_without_its_timer_and_its_python_writes_code_on_debian_11_alone() -> None:
    assert {platform.acme_packages for platform in PLATFORMS.values()} == {("certbot",)}
    assert {platform.never_started["certbot"] for platform in PLATFORMS.values()} == {"certbot.timer"}
    assert [version for (_, version), platform in PLATFORMS.items() if platform.old_libffi] == ["11"]


def test_keys_are_exchanged_by_curves_alone_and_safe_from_quantum_computers_where_openssl_can() -> None:
    groups = {version: platform.tls_groups for (_, version), platform in PLATFORMS.items()}

    curves = "X25519:prime256v1:secp384r1"
    assert groups == {
        "11": curves,
        "12": curves,
        "13": f"X25519MLKEM768:{curves}",
        "forky": f"X25519MLKEM768:{curves}",
        "22.04": curves,
        "24.04": curves,
    }
