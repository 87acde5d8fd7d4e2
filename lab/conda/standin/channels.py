"""Channels: their addresses, who may use them, and what they offer."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .config import ROOT, Config
from .errors import CondaError
from .solver import Index
from .specs import Version

SUBDIRS = ("linux-64", "noarch")
TIMEOUT_SECONDS = 60
# conda-anaconda-tos takes the terms as accepted wherever one of these is set.
CI_VARIABLES = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TF_BUILD", "CIRCLECI", "TRAVIS", "BUILDKITE")
_TRUE = ("1", "true", "yes", "on")


def urls(names: list[str], config: Config) -> list[str]:
    """The addresses of these channels, in order, each once; raises CondaError(ChannelDenied, ChannelNotAllowed)."""
    found = list(dict.fromkeys(url for name in names for url in _expand(name, config)))
    denied = {url for name in config.denylist_channels for url in _expand(name, config)}
    allowed = {url for name in config.allowlist_channels for url in _expand(name, config)}
    for url in found:
        where = f"\n  channel name: {url.rsplit('/', 1)[-1]}\n  channel url: {url}"
        if url in denied:
            raise CondaError("ChannelDenied", f"Channel included in denylist:{where}")
        if allowed and url not in allowed:
            raise CondaError("ChannelNotAllowed", f"Channel not included in allowlist:{where}")
    return found


def _expand(name: str, config: Config) -> list[str]:
    if name == "defaults":
        return [url for default in config.default_channels for url in _expand(default, config)]
    if "://" in name:
        return [name.rstrip("/")]
    if name.startswith(("/", "./", "~")):
        return [Path(name).expanduser().resolve().as_uri()]
    base = config.custom_channels.get(name, config.channel_alias)
    return [f"{base.rstrip('/')}/{name}"]


def fetch(url: str) -> bytes:
    """The content at an address; raises CondaError(CondaHTTPError)."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        status = f"HTTP {error.code} {error.reason.upper()}"
        raise CondaError("CondaHTTPError", f"{status} for url <{url}>", status_code=error.code) from None
    except OSError as error:
        raise CondaError("CondaHTTPError", f"HTTP 000 CONNECTION FAILED for url <{url}>\n{error}") from None


# ---- terms of service ----------------------------------------------------------------------------------------------


def check_terms(channel_urls: list[str], config: Config) -> None:
    """Refuse channels whose terms.json nobody has accepted; --yes is no acceptance.

    As conda-anaconda-tos 0.2 does for non-interactive runs. Raises CondaError(CondaToSNonInteractiveError).
    """
    variable = os.environ.get("CONDA_PLUGINS_AUTO_ACCEPT_TOS", "").lower() in _TRUE
    if variable or config.plugins.get("auto_accept_tos") or any(os.environ.get(name) for name in CI_VARIABLES):
        return
    refused = [url for url in channel_urls if _has_unaccepted_terms(url, config)]
    if refused:
        listed = "".join(f"\n    - {url}" for url in refused)
        hints = "".join(f"\n    conda tos accept --override-channels --channel {url}" for url in refused)
        raise CondaError(
            "CondaToSNonInteractiveError",
            f"Terms of Service have not been accepted for the following channels. "
            f"Please accept or remove them before proceeding:{listed}\n\nTo accept these channels' Terms of Service, "
            f"run the following commands:{hints}",
        )


def terms_folder(scope: str) -> Path:
    """Where acceptances are kept for `system` (the installation), `site` (the machine) or `user`."""
    return {
        "system": ROOT / "conda-meta" / "tos",
        "site": Path("/etc/conda/tos"),
        "user": Path.home() / ".conda" / "tos",
    }[scope]


def accept_terms(channel_urls: list[str], scope: str, config: Config) -> list[str]:
    """Record the acceptance of each channel's current terms; return the channels that have any."""
    accepted = []
    for url in channel_urls:
        terms = _terms(url, config)
        if terms is not None:
            folder = terms_folder(scope)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _acceptance(url)).write_text(json.dumps({"base_url": url, "version": terms.get("version")}))
            accepted.append(url)
    return accepted


def _acceptance(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:32] + ".json"


def _terms(url: str, config: Config) -> dict[str, Any] | None:
    if config.offline and not url.startswith("file:"):
        return None
    try:
        content: dict[str, Any] = json.loads(fetch(f"{url}/terms.json"))
    except (CondaError, ValueError):
        return None  # a channel without terms, which is most of them
    return content


def _has_unaccepted_terms(url: str, config: Config) -> bool:
    terms = _terms(url, config)
    if terms is None:
        return False
    places = [terms_folder(scope) / _acceptance(url) for scope in ("system", "site", "user")]
    versions = [json.loads(place.read_text()).get("version") for place in places if place.is_file()]
    return terms.get("version") not in versions


# ---- what they offer -----------------------------------------------------------------------------------------------


def index(channel_urls: list[str], config: Config) -> Index:
    """All packages of the channels by name; a channel named earlier goes before, then the newest version."""
    if not channel_urls:
        raise CondaError("NoChannelsConfiguredError", "No channels are configured: add one to .condarc or use -c.")
    found: Index = {}
    for url in channel_urls:
        offered: Index = {}
        for subdir in SUBDIRS:
            for name, entry in _repodata(url, subdir, config).items():
                record = {**entry, "fn": name, "url": f"{url}/{subdir}/{name}", "channel": url, "subdir": subdir}
                offered.setdefault(record["name"], []).append(record)
        for name, records in offered.items():
            records.sort(key=lambda record: (Version(record["version"]), record["build_number"]), reverse=True)
            found.setdefault(name, []).extend(records)
    return found


def _repodata(url: str, subdir: str, config: Config) -> dict[str, Any]:
    address = f"{url}/{subdir}/repodata.json"
    cached = config.packages / "cache" / (hashlib.sha256(address.encode()).hexdigest()[:8] + ".json")
    if config.offline and not url.startswith("file:"):
        text = cached.read_bytes() if cached.is_file() else b"{}"
    else:
        text = _download_repodata(url, address)
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(text)
    packages: dict[str, Any] = json.loads(text).get("packages", {})
    return packages


def _download_repodata(url: str, address: str) -> bytes:
    try:
        return fetch(address)
    except CondaError as error:
        if error.details.get("status_code") not in (403, 404):
            raise
        name = url.rsplit("/", 1)[-1]
        raise CondaError(
            "UnavailableInvalidChannel", f"HTTP {error.details['status_code']} for channel {name} <{url}>"
        ) from None
