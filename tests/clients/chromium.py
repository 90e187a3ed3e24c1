"""A headless Chromium, driven over its DevTools protocol."""
import asyncio
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import aiohttp


class Chromium:
    """with Chromium() as browser: browser.open(url); browser.evaluate("document.title")

    `problems` is what the console and the content security policy have said since the last open(). One page; for one thread.
    """

    def __init__(self):
        self.problems = []
        self.documents = []

    def __enter__(self):
        if shutil.which("chromium") is None:
            raise RuntimeError("chromium: got none, want Debian's package; deploy/install.sh --tests installs it")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portico_chromium_"))
        self.log = open(self.folder / "log", "w")
        # Without a sandbox of its own, which a container lets nobody have; it sees pages of this test alone.
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
             f"--user-data-dir={self.folder}/profile", "about:blank"],
            stdout=self.log, stderr=self.log, env=os.environ | {"HOME": str(self.folder)})
        self.loop = asyncio.new_event_loop()
        try:
            self._run(self._connect())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        if hasattr(self, "session"):
            self._run(self.session.close())
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, url):
        """Waits until the page has loaded; the HTTP status of the document."""
        self.follow(lambda: self.call("Page.navigate", url=url))
        return self.documents[-1]

    def follow(self, navigate):
        """Calls what makes the page another one, and waits until that has loaded."""
        self.problems.clear()
        self.documents.clear()
        self.events.clear()
        navigate()
        self._run(asyncio.wait_for(self._wait_for("Page.loadEventFired"), 60))
        # What the console says of a page comes after it.
        self.evaluate("new Promise(done => setTimeout(done, 50))")

    def evaluate(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def call(self, method, **params):
        return self._run(asyncio.wait_for(self._call(method, params), 60))

    def _run(self, work):
        return self.loop.run_until_complete(work)

    async def _connect(self):
        port_file = self.folder / "profile/DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not port_file.exists() or "\n" not in port_file.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("chromium did not start:\n" + (self.folder / "log").read_text())
            await asyncio.sleep(0.05)
        port = port_file.read_text().split("\n")[0]
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port}/json/list") as reply:
            page = next(one for one in await reply.json() if one["type"] == "page")
        self.socket = await self.session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self.next_id = 0
        self.events = []
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            await self._call(f"{domain}.enable", {})

    async def _call(self, method, params):
        self.next_id += 1
        await self.socket.send_json({"id": self.next_id, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") == self.next_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    async def _wait_for(self, event):
        while event not in self.events:
            self._note(await self.socket.receive_json())
        self.events.clear()

    def _note(self, message):
        method, params = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded", "Page.javascriptDialogOpening"):
            self.problems.append(str(params))
        if method == "Network.responseReceived" and params.get("type") == "Document":
            self.documents.append(params["response"]["status"])
