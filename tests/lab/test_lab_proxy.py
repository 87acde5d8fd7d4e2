"""The package proxy, as hosts use it: apt, pip and uv with no option of their own."""

from __future__ import annotations

import ensurepip
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Host, Lab

pytestmark = pytest.mark.lab

PACKAGE = "six"


@pytest.fixture
def channel(lab: Lab, one: Host) -> Iterator[str]:
    """A static file of 1000 bytes; its URL."""
    (lab.static_dir / "channel").mkdir(exist_ok=True)
    (lab.static_dir / "channel/index.json").write_bytes(b"x" * 1000)
    yield f"{lab.proxy_url}/static/channel/index.json"
    lab.set_faults({})


def fetch(host: Host, url: str) -> list[str]:
    """Status, content type and bytes received, as curl on the host saw them; then curl's own exit status."""
    form = "%{http_code} %{content_type} %{size_download} %{exitcode}"
    return host.run(f"curl -s -o /dev/null --path-as-is -w '{form}' '{url}'", check=False).stdout.split()


@pytest.fixture(scope="module")
def pip(one: Host) -> str:
    """The command of a pip on the host: the wheel that Python brings along, run from its archive."""
    wheel = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    one.put(f"/opt/{wheel.name}", wheel.read_bytes())
    return f"python3 /opt/{wheel.name}/pip"


def test_apt_updates_and_installs(one: Host) -> None:
    one.run("apt-get update && apt-get install -y --no-install-recommends tree")

    assert one.run("tree --version").stdout.startswith("tree v")


def test_pip_downloads_from_this_machine_s_index(one: Host, pip: str) -> None:
    one.run(f"{pip} download --no-cache-dir --dest /tmp/pip {PACKAGE}")

    assert one.run("ls /tmp/pip").stdout.startswith("six-")


def test_uv_installs_with_and_without_naming_the_index(lab: Lab, one: Host, pip: str) -> None:
    one.run(f"{pip} install --no-compile --quiet --target /opt/uv uv")
    uv = "/opt/uv/bin/uv pip install --no-cache --python /usr/bin/python3"

    one.run(f"{uv} --target /tmp/configured {PACKAGE}")
    one.run(f"{uv} --target /tmp/named --index-url {lab.proxy_url}/simple/ {PACKAGE}")

    assert one.run("ls /tmp/configured/six.py /tmp/named/six.py").stdout.count("six.py") == 2


def test_static_files_are_served_and_nothing_beside_them(lab: Lab, one: Host, channel: str) -> None:
    assert fetch(one, channel) == ["200", "application/octet-stream", "1000", "0"]
    assert fetch(one, f"{lab.proxy_url}/static/channel/missing")[0] == "404"
    for path in ("/static/../key", "/static/%2e%2e/key", "/static/channel/../../key"):
        assert fetch(one, lab.proxy_url + path)[0] == "404"


@pytest.mark.parametrize("path", ["/", "/etc/passwd", "/files/192.0.2.1/x.whl", "/files/../x", "/upstream/unknown/x"])
def test_what_is_no_package_source_is_refused(lab: Lab, one: Host, path: str) -> None:
    assert fetch(one, lab.proxy_url + path)[0] == "403"


def test_proxy_is_no_way_out_to_other_hosts(lab: Lab, one: Host) -> None:
    assert one.run(f"curl -s -x {lab.proxy_url} http://192.0.2.1/").stdout == "403: not a package source of this lab\n"


def test_named_upstream_is_passed_on(lab: Lab, one: Host, channel: str) -> None:
    assert fetch(one, f"{lab.proxy_url}/upstream/itself/channel/index.json")[::2] == ["200", "1000"]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("404", ["404", "text/plain", "0"]),
        ("500", ["500", "text/plain", "0"]),
        ("truncated", ["200", "application/octet-stream", "18"]),
        ("html", ["200", "text/html;", "0"]),
    ],
)
def test_fault_is_what_the_client_sees_until_it_is_taken_away(
    lab: Lab, one: Host, channel: str, fault: str, seen: list[str]
) -> None:
    lab.set_faults({"/static/channel/*": fault})
    broken = fetch(one, channel)
    lab.set_faults({})

    assert [broken[0], broken[1], broken[-1]] == seen
    assert fetch(one, channel) == ["200", "application/octet-stream", "1000", "0"]


def test_unknown_fault_is_refused_with_those_there_are(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"^faults \['slow'\]: expected 404, 500, truncated, html$"):
        lab.set_faults({"*": "slow"})
