"""What a check is, which hosts it is for, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_stack.domain.listening import UNIX, is_local
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.settings import Settings

DEPLOY = "run the deploy again"
# On a host, for each check; they are asked side by side.
SECONDS = 30


class Unknown(Exception):
    """What is to be found out could not be; the message says why."""


class NotAsked(Exception):
    """It can't be asked from here, or of this host; the message says why. That is neither good nor bad."""


@dataclass(frozen=True)
class Fault:
    """One thing that is not as promised: what was found, what is expected, and what to do."""

    found: str
    expected: str
    remedy: str = DEPLOY


@dataclass(frozen=True)
class Subject:
    """A host that is judged: its settings, and what it said.

    `trusted`: the certificates by which its proxy is known (calling.Server), "" for none. `answers`: the lines that it
    printed for each check, by number.
    """

    settings: Settings
    survey: HostSurvey = field(default_factory=HostSurvey)
    trusted: str = field(default="", repr=False)
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def lines(self, number: str) -> list[str]:
        """Return what the script of a check printed; Unknown when it did not come to its end.

        A script that has nothing to look into ends early, with the status of that.
        """
        lines = [line for line in self.answers.get(number, ()) if line]
        status = lines.pop().removeprefix("status ") if lines and lines[-1].startswith("status ") else ""
        if status == "124":
            raise Unknown(f"no answer within {SECONDS} s")
        if status != "0":
            raise Unknown(f"its command ended with status {status}" if status else "no answer")
        return lines


@dataclass(frozen=True)
class Hosts:
    """Which hosts a check is for, in words and as a condition."""

    words: str
    include: Callable[[Settings], bool]


@dataclass(frozen=True)
class Check:
    """One thing that holds: its number, its sentence, and the hosts it is for.

    `judge` yields what is not so. `script` is what the host itself is asked, in bash, as root; None for a check that is
    made from here, over the network alone.
    """

    number: str
    sentence: str
    hosts: Hosts
    judge: Callable[[Subject], Iterator[Fault]] = field(repr=False)
    script: Callable[[Settings], str] | None = field(default=None, repr=False)

    @property
    def is_from_outside(self) -> bool:
        return self.script is None


Judge = Callable[[Subject], Iterator[Fault]]


def check(
    number: str, sentence: str, hosts: Hosts, script: Callable[[Settings], str] | None = None
) -> Callable[[Judge], Check]:
    """Make a check of a function that judges."""
    return lambda judge: Check(number, sentence, hosts, judge, script)


def is_reached(bind: str) -> bool:
    return not is_local(bind)


def has_proxy(settings: Settings) -> bool:
    return settings.has_proxy and is_reached(settings.proxy.bind)


def _tracking_is_reached(settings: Settings) -> bool:
    return "tracking" in settings.groups and (has_proxy(settings) or is_reached(settings.tracking_bind))


def has_models(settings: Settings) -> bool:
    return "production" in settings.groups and bool(settings.production.models)


def unix_sockets(settings: Settings) -> bool:
    models = has_models(settings) and settings.production_bind == UNIX
    return settings.has_proxy or models or ("tracking" in settings.groups and settings.tracking_bind == UNIX)


EVERY = Hosts("every host", lambda _: True)
DATABASE = Hosts("hosts of the group postgresql", lambda settings: "postgresql" in settings.groups)
SERVED_DATABASE = Hosts("hosts whose database other hosts use", lambda settings: settings.serves_database)
TRACKING = Hosts("hosts of the group tracking", lambda settings: "tracking" in settings.groups)
FOREIGN_DATABASE = Hosts("tracking servers on a database of others", lambda settings: settings.has_foreign_database)
MODELS = Hosts("hosts of models", has_models)
SERVERS = Hosts(
    "hosts of tracking servers, models or proxies", lambda each: bool({"tracking", "production"} & {*each.groups})
)
SOCKETS = Hosts("hosts with servers on Unix sockets", unix_sockets)
FIREWALL = Hosts("hosts with firewall_enabled", lambda settings: settings.firewall.enabled)
PROXY = Hosts("hosts of proxies that others reach", has_proxy)
TLS = Hosts("hosts of proxies with TLS", lambda settings: has_proxy(settings) and settings.proxy.tls != "off")
REDIRECT = Hosts("hosts with proxy_http_port", lambda settings: has_proxy(settings) and bool(settings.proxy_http_port))
REACHED_TRACKING = Hosts("tracking servers that others reach", _tracking_is_reached)
LOGIN = Hosts("tracking servers behind a proxy", lambda each: "tracking" in each.groups and has_proxy(each))
REACHED_MODELS = Hosts(
    "models that others reach",
    lambda each: has_models(each) and (has_proxy(each) or is_reached(each.production_bind)),
)
