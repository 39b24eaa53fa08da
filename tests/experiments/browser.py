"""Headless Chromium for tests, driven over a pipe: no other package, no port."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next((it for it in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if it), None)
_KEYS = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowRight": 39, " ": 32}
_SHIFT = 8


class Page:
    """One page; `requested` holds the addresses it asked for, `errors` what went wrong in its scripts."""

    def __init__(self, browser: "_Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.requested: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._send(f"{domain}.enable")

    def open(self, url: str, *, width: int = 1100, height: int = 900, is_phone: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if is_phone else 1, "mobile": is_phone}
        self._send("Emulation.setDeviceMetricsOverride", **metrics)
        self._send("Emulation.setTouchEmulationEnabled", enabled=is_phone)
        self._send("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        answer = self._send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        deadline = time.monotonic() + 20
        while not (value := self.run(f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()")):
            assert time.monotonic() < deadline, f"never true: {expression}; {self.errors}"
            time.sleep(0.02)
        return value

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Return left, top, width and height of an element that is scrolled into view."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{element}.scrollIntoView({{block: 'center'}})")
        return tuple(self.run(f"(b => [b.left, b.top, b.width, b.height])({element}.getBoundingClientRect())"))

    def click(self, selector: str) -> None:
        left, top, width, height = self.box(selector)
        self.drag([(left + width / 2, top + height / 2)])

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Press the mouse at the first point, move over the others, and release it at the last."""
        self._mouse("mouseMoved", points[0])
        self._mouse("mousePressed", points[0])
        for point in points[1:]:
            self._mouse("mouseMoved", point)
        self._mouse("mouseReleased", points[-1])

    def swipe(self, points: list[tuple[float, float]]) -> None:
        """Touch the first point, move over the others, and let go."""
        kinds = ["touchStart"] + ["touchMove"] * (len(points) - 1)
        for kind, (x, y) in zip(kinds, points, strict=True):
            self._send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self._send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, *keys: str, shift: bool = False) -> None:
        for key in keys:
            fields = {"key": key, "modifiers": _SHIFT if shift else 0}
            if len(key) == 1 or key == "Enter":
                fields |= {"text": "\r" if key == "Enter" else key}
            code = _KEYS.get(key, ord(key[0].upper()))
            fields |= {"windowsVirtualKeyCode": code}
            self._send("Input.dispatchKeyEvent", type="keyDown", **fields)
            self._send("Input.dispatchKeyEvent", type="keyUp", **fields)

    def screenshot(self, path: Path) -> None:
        size = self._send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _mouse(self, kind: str, at: tuple[float, float]) -> None:
        held = {"mousePressed": 1, "mouseMoved": 0, "mouseReleased": 0}[kind]
        fields = {"type": kind, "x": at[0], "y": at[1], "button": "left", "buttons": held, "clickCount": 1}
        self._send("Input.dispatchMouseEvent", **fields)

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.send(method, parameters, self)

    def notice(self, event: dict[str, Any]) -> None:
        details = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            self.requested.append(details["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.errors.append(details["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif event["method"] == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.errors.append(details["entry"]["text"])


class _Browser:
    def __init__(self, process: subprocess.Popen[bytes], write_fd: int, read_fd: int) -> None:
        self._process, self._write, self._read = process, write_fd, read_fd
        self._rest, self._last = b"", 0
        self.pages: dict[str, Page] = {}

    def send(self, method: str, parameters: dict[str, Any], page: Page | None = None) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if page is not None:
            message["sessionId"] = page._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for event in self._events():
            if event.get("id") == self._last:
                assert "error" not in event, (method, event)
                return dict(event["result"])
            if event.get("sessionId") == getattr(page, "_session", None) and page is not None:
                page.notice(event)
        raise AssertionError("the browser is gone")

    def _events(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" not in self._rest:
                piece = os.read(self._read, 2**16)
                if not piece:
                    return
                self._rest += piece
            message, _, self._rest = self._rest.partition(b"\0")
            yield json.loads(message)


@contextmanager
def chromium_page(folder: Path) -> Iterator[Page]:
    """Start a browser whose profile is in `folder`, and yield an empty page."""
    assert CHROMIUM is not None
    to_browser, from_browser = os.pipe(), os.pipe()
    # The browser reads commands from 3 and writes to 4.
    inner = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser[0], from_browser[1])]

    def place() -> None:
        os.dup2(inner[0], 3)
        os.dup2(inner[1], 4)

    flags = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]
    process = subprocess.Popen(
        [CHROMIUM, *flags, "about:blank"],
        preexec_fn=place,
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for fd in (*inner, to_browser[0], from_browser[1]):
        os.close(fd)
    browser = _Browser(process, to_browser[1], from_browser[0])
    try:
        target = browser.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = browser.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        yield Page(browser, session)
    finally:
        os.close(to_browser[1])
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(from_browser[0])
