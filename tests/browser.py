"""A real browser without a window, driven by Chromium's DevTools protocol over a pipe: no driver and no port."""

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}


class Browser:
    """One page of a browser, as a person has it: a window, a mouse, a finger, a keyboard.

    folder  for its profile
    """

    def __init__(self, folder: Path):
        commands, answers = os.pipe(), os.pipe()
        words = [FOUND, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        # The browser reads commands from 3 and answers to 4; a shell puts the pipes there.
        shell = ["bash", "-c", f'exec "$@" 3<&{commands[0]} 4>&{answers[1]}', "bash", *words]
        self.process = subprocess.Popen(
            shell, pass_fds=(commands[0], answers[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(commands[0])
        os.close(answers[1])
        self.commands, self.answers = os.fdopen(commands[1], "wb"), os.fdopen(answers[0], "rb")
        self.number, self.session, self.events, self.received = 0, {}, [], b""
        target = next(one for one in self("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method, **parameters):
        """Calls a method of the protocol and returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **self.session}
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "result" in answer, answer
                return answer["result"]

    def open(self, path, width=1400, height=900, dark=False, scale=1):
        """Shows a file in a window of this size [CSS px] and returns how long it took [s]."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        started = time.perf_counter()
        self("Page.navigate", url=Path(path).absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._next()
        self("Runtime.evaluate", expression=SETTLED, awaitPromise=True)
        return time.perf_counter() - started

    def value(self, expression):
        """What an expression of JavaScript gives, after the page has settled."""
        self("Runtime.evaluate", expression=SETTLED, awaitPromise=True)
        result = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression):
        """Until an expression of JavaScript is true, 20 s at most."""
        end = time.monotonic() + 20
        while not self.value(expression):
            assert time.monotonic() < end, f"never true: {expression}"

    def screenshot(self):
        """(H, W, 3) uint8, BGR: what the window shows."""
        content = base64.b64decode(self("Page.captureScreenshot", format="png")["data"])
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)

    def press(self, key):
        for kind in ("rawKeyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def type(self, text):
        for letter in text:
            self("Input.dispatchKeyEvent", type="keyDown", key=letter, text=letter)
            self("Input.dispatchKeyEvent", type="keyUp", key=letter)

    def drag(self, start, end):
        """A mouse presses at one place of the window, moves to another and is released."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def swipe(self, start, end):
        """A finger does."""
        for kind, places in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
            self("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in places])

    @property
    def mistakes(self):
        """What the page threw or the browser logged since the page was opened."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event["params"] for event in self.events if event["method"] in kinds]

    def close(self):
        with suppress(OSError):
            self.commands.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()

    def _next(self):
        while b"\0" not in self.received:
            piece = self.answers.read1(1 << 16)
            assert piece, "the browser has ended"
            self.received += piece
        message, _, self.received = self.received.partition(b"\0")
        answer = json.loads(message)
        if "method" in answer:
            self.events.append(answer)
        return answer


SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
