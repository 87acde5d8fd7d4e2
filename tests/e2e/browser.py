"""A real browser without a screen, and the text that it shows of a page. Needs Debian's package chromium."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

BROWSER = [
    "chromium",
    "--headless=new",
    "--no-sandbox",  # for root; it opens nothing but our own host
    "--disable-gpu",
    "--disable-quic",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1400,900",
    # Milliseconds that scripts may take to draw the page; waiting for the server does not count.
    "--virtual-time-budget=20000",
]
BROWSER_TIMEOUT_S = 120
ATTEMPTS = 5


def skip_without_chromium() -> None:
    """Skip a test where there is no browser, but not in CI."""
    if not shutil.which("chromium") and not os.environ.get("CI"):
        pytest.skip("chromium is not installed: apt-get install --no-install-recommends chromium fonts-dejavu-core")


def look(url: str, profile: Path, *options: str) -> str:
    """Open a page in a browser that has never seen it; return the text that it shows."""
    done = subprocess.run(
        [*BROWSER, f"--user-data-dir={profile}", "--dump-dom", *options, url],
        capture_output=True,
        text=True,
        timeout=BROWSER_TIMEOUT_S,
        check=True,
    )
    page = re.sub(r"<(style|script)\b.*?</\1>", "", done.stdout, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def missing(url: str, wanted: list[str], directory: Path, *options: str) -> tuple[list[str], str]:
    """Return which of the wanted patterns a page does not show, and its text.

    The browser's time is virtual, and on a busy machine it can run out before the charts are drawn: a page that lacks
    something is opened again by a browser that has never seen it, at most ATTEMPTS times.
    """
    text, lacking = "", wanted
    for attempt in range(ATTEMPTS):
        text = look(url, directory / f"profile-{attempt}", *options)
        lacking = [part for part in wanted if not re.search(part, text)]
        if not lacking:
            break
    return lacking, text


class LoggedIn:
    """A browser whose user types a name and a password when it is asked for them, by the DevTools protocol.

    A login in the address would not do: a page that was opened so may not fetch anything. Over a pair of pipes
    (--remote-debugging-pipe): commands go to descriptor 3 and answers come from 4, as JSON that ends with a NUL.
    """

    def __init__(self, profile: Path, login: tuple[str, str], *options: str) -> None:
        self.login = {"response": "ProvideCredentials", "username": login[0], "password": login[1]}
        self.number, self.session = 0, ""
        to_browser, self.commands = os.pipe()
        self.answers, from_browser = os.pipe()
        pipes = f'exec "$@" --remote-debugging-pipe 3<&{to_browser} 4>&{from_browser}'
        switches = [each for each in BROWSER if "virtual-time" not in each]
        self.process = subprocess.Popen(
            ["bash", "-c", pipes, "bash", *switches, f"--user-data-dir={profile}", *options, "about:blank"],
            pass_fds=[to_browser, from_browser],
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.incoming = os.fdopen(self.answers, "rb")

    def __enter__(self) -> LoggedIn:
        target = self.call("Target.getTargets")["targetInfos"][0]["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Fetch.enable", handleAuthRequests=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(30)
        os.close(self.commands)
        self.incoming.close()

    def _send(self, method: str, **parameters: Any) -> int:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        os.write(
            self.commands,
            json.dumps({**message, **({"sessionId": self.session} if self.session else {})}).encode() + b"\0",
        )
        return self.number

    def call(self, method: str, **parameters: Any) -> Any:
        """Return the result of a command; what the browser asks meanwhile is answered."""
        number = self._send(method, **parameters)
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") == "Fetch.authRequired":
                self._send(
                    "Fetch.continueWithAuth",
                    requestId=message["params"]["requestId"],
                    authChallengeResponse=self.login,
                )
            elif message.get("method") == "Fetch.requestPaused":
                self._send("Fetch.continueRequest", requestId=message["params"]["requestId"])

    def _receive(self) -> Any:
        read = bytearray()
        while (byte := self.incoming.read(1)) != b"\0":
            assert byte, "the browser has ended"
            read += byte
        return json.loads(read)

    def text(self, url: str, wanted: list[str], seconds: float = 60) -> tuple[list[str], str]:
        """Open a page; return which of the wanted patterns it does not come to show in time, and its text."""
        self.call("Page.navigate", url=url)
        end = time.monotonic() + seconds
        while True:
            found = self.call("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
            text = " ".join(str(found["result"].get("value", "")).split())
            lacking = [part for part in wanted if not re.search(part, text)]
            if not lacking or time.monotonic() > end:
                return lacking, text
            time.sleep(0.2)
