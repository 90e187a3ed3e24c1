"""The pages of hub modules, as a real browser shows them: a mesh of two nodes, hostile names, phones, dark mode."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from chromium import Chromium

BUILD = pathlib.Path(os.environ["PORTICO_BUILD"])
HOSTILE = "<script>window.hacked=1</script><img src=x onerror=\"window.hacked=1\">'\"&amp;"
HOSTILE_FILE = "<img src=x onerror=window.hacked=1>.txt"


def portico(*arguments, env=None):
    done = subprocess.run([BUILD / "portico", *map(str, arguments)], capture_output=True, text=True, timeout=120, env=env)
    if done.returncode != 0:
        raise RuntimeError(f"portico {arguments}: {done.stderr}")
    return done.stdout


class HubPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = folder = pathlib.Path(tempfile.mkdtemp(prefix="portico_hub_page_"))
        cls.env = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
        subprocess.run([BUILD / "client_models", folder / "models"], check=True)
        (folder / "plan.yaml").write_text("parts: [{name: acme/encoder, outputs: [features]}]\n")
        shutil.copy(folder / "models/product/1/model.onnx", folder / "digits.onnx")
        portico("split", folder / "digits.onnx", "--plan", folder / "plan.yaml", "--out", folder / "packages")
        (folder / HOSTILE_FILE).write_text("one\n")
        portico("hub", "publish", folder / "packages/acme/encoder/1", "acme/encoder/1", "--store", folder / "store", "--family", "encoder",
                "--description", HOSTILE, "--license", "Apache-2.0", "--asset", folder / HOSTILE_FILE)
        portico("hub", "publish", folder / "models/hostile/1", "acme/hostile/1", "--store", folder / "store")
        (folder / "mesh.yaml").write_text(
            "mesh: '<b>mesh</b>'\nhub: store\nmodels: {acme/encoder/1: {}, acme/hostile/1: {}, digits: {path: packages/digits}}\n"
            "nodes:\n  hub: {serve: [acme/encoder/1, acme/hostile/1], http: 0}\n  apps: {serve: [digits], http: 0}\n")
        cls.log = open(folder / "log", "w")
        cls.up = subprocess.Popen([BUILD / "portico", "up", folder / "mesh.yaml", "--run-folder", folder / "run"], stdout=cls.log, stderr=cls.log,
                                  env=cls.env)
        cls.addClassCleanup(cls.stop)
        deadline = time.monotonic() + 60
        while "mesh '<b>mesh</b>' is ready" not in (folder / "log").read_text():
            if cls.up.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.02)
        cls.node = {name: "http://" + json.loads((folder / f"run/status/{name}-0.json").read_text())["http"] for name in ("hub", "apps")}
        cls.browser = cls.enterClassContext(Chromium())

    @classmethod
    def stop(cls):
        cls.up.send_signal(signal.SIGTERM)
        code = cls.up.wait(timeout=60)
        cls.log.close()
        shutil.rmtree(cls.folder, ignore_errors=True)
        if code != 0:
            raise RuntimeError(f"portico up ended with {code}")

    def show(self, node, path):
        """Opens the page; nothing may be wrong with it."""
        self.assertEqual(self.browser.open(self.node[node] + path), 200)
        self.quiet()

    def quiet(self):
        self.assertEqual(self.browser.problems, [])
        self.assertFalse(self.browser.evaluate("'hacked' in window"))
        self.assertEqual(self.browser.evaluate("document.scripts.length + document.images.length + document.querySelectorAll('iframe,form').length"), 0)

    def json(self, node, path):
        with urllib.request.urlopen(self.node[node] + path) as reply:
            self.assertEqual(reply.headers["Content-Type"], "application/json")
            return json.load(reply)

    def cells(self, heading):
        """Texts of the rows of the table behind the heading that begins so."""
        return self.browser.evaluate(
            "(() => { const h = [...document.querySelectorAll('h2')].find(h => h.textContent.startsWith(" + json.dumps(heading) + "));"
            "return [...h.nextElementSibling.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent)); })()")

    def facts(self):
        return self.browser.evaluate(
            "Object.fromEntries([...document.querySelectorAll('dt')].map(dt => [dt.textContent, dt.nextElementSibling.textContent]))")

    def test_list_shows_every_module_and_leads_to_its_page(self):
        self.show("apps", "/hub")
        self.assertEqual(self.browser.evaluate("document.title"), "Modules of mesh <b>mesh</b>")
        rows = self.browser.evaluate("[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))")
        self.assertEqual([row[0] for row in rows], ["acme/encoder/1", "acme/hostile/1"])
        self.assertEqual(rows[0][1], HOSTILE)
        self.assertEqual(rows[0][2:5], ["digits version 1", "hub/0", "not served by this node"])
        self.browser.follow(lambda: self.browser.evaluate("document.querySelector('tbody a').click()"))
        self.assertEqual(self.browser.evaluate("document.querySelector('h1').textContent"), "acme/encoder/1")
        self.quiet()
        self.browser.follow(lambda: self.browser.evaluate("document.querySelector('a').click()"))
        self.assertEqual(self.browser.evaluate("location.pathname"), "/hub")

    def test_page_says_what_json_says(self):
        for node in ("hub", "apps"):
            self.show(node, "/hub/acme/encoder/1")
            said = self.json(node, "/hub/acme/encoder/1")
            self.assertEqual(said, self.json(node, "/hub/acme/encoder/1.json"))
            manifest = json.loads(portico("hub", "show", "acme/encoder/1", "--json", "--store", self.folder / "store"))
            self.assertEqual(said["files"], manifest["files"])
            self.assertEqual(said["digest"], manifest["digest"])
            self.assertEqual(said["description"], HOSTILE)
            self.assertEqual(said["used_by"], [{"model": "digits", "version": 1}])
            self.assertEqual(said["served_by"], ["hub/0"])
            facts = self.facts()
            self.assertEqual(facts["digest"], said["digest"])
            self.assertEqual(facts["family"], said["family"])
            self.assertEqual(facts["licence"], "Apache-2.0")
            self.assertEqual(facts["used by"], "digits version 1")
            self.assertEqual(facts["made of digest"], said["provenance"]["source_digest"])
            self.assertEqual([[row[0], row[2]] for row in self.cells("Files")], [[one["path"], one["sha256"]] for one in said["files"]])
            self.assertIn(f"assets/{HOSTILE_FILE}", [row[0] for row in self.cells("Files")])
            rows = self.cells("Signature")
            tensors = [["in", one] for one in said["signatures"][0]["inputs"]] + [["out", one] for one in said["signatures"][0]["outputs"]]
            self.assertEqual([row[:4] for row in rows],
                             [[way, one["name"], one["dtype"], "[" + ", ".join(map(str, one["shape"])) + "]"] for way, one in tensors])
            if node == "hub":
                self.assertEqual([row[4] for row in rows], [one["axis"] for _, one in tensors])
                self.assertEqual([row[4] for row in rows], ["rows", "rows"])
                self.assertEqual(facts["here"], "AVAILABLE")
            else:
                self.assertEqual(facts["here"], "not served by this node")
                self.assertIn("served by hub/0", said["examples"][0]["why_not"])

    def test_example_calls_taken_from_the_page_work(self):
        for module in ("acme/encoder/1", "acme/hostile/1"):
            before = self.json("hub", f"/hub/{module}")["here"]["requests"]
            self.show("hub", f"/hub/{module}")
            for api, answer in (("tfs", "outputs"), ("v2", "outputs")):
                command = self.browser.evaluate(f"document.getElementById('example-{api}').textContent")
                self.assertEqual(command, next(one["curl"] for one in self.json("hub", f"/hub/{module}")["examples"] if one["api"] == api))
                done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
                self.assertIn(answer, json.loads(done.stdout), done.stdout + done.stderr)
            self.assertEqual(self.json("hub", f"/hub/{module}")["here"]["requests"], before + 2)

    def test_hostile_names_are_text(self):
        self.show("hub", "/hub/acme/hostile/1")
        self.assertEqual(self.cells("Signature")[0][1], HOSTILE)
        self.show("hub", "/hub/acme/encoder/1")
        self.assertEqual(self.browser.evaluate("document.querySelector('h1').nextElementSibling.textContent"), HOSTILE)

    def test_what_is_not_there_is_said_and_escaped(self):
        for path, message in (("/hub/acme/encoder/2", "it has acme/encoder/1, acme/hostile/1"),
                              ("/hub/%3Cscript%3Ewindow.hacked=1%3C/script%3E", "handle"),
                              ("/hub?format=%3Cscript%3E", "format=json")):
            status = self.browser.open(self.node["hub"] + path)
            self.assertIn(status, (400, 404))
            self.assertIn(message, self.browser.evaluate("document.body.textContent"))
            self.assertFalse(self.browser.evaluate("'hacked' in window"))
            with self.assertRaises(urllib.error.HTTPError) as failed:
                urllib.request.urlopen(self.node["hub"] + path)
            self.assertEqual(failed.exception.code, status)
            self.assertIn("error", json.load(failed.exception))

    def test_fits_a_phone_and_a_dark_screen(self):
        self.show("hub", "/hub/acme/encoder/1")
        light = self.browser.evaluate("getComputedStyle(document.querySelector('.good')).color")
        self.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        self.browser.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
        try:
            self.show("hub", "/hub/acme/encoder/1")
            self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 360)
            self.assertNotEqual(self.browser.evaluate("getComputedStyle(document.querySelector('.good')).color"), light)
        finally:
            self.browser.call("Emulation.clearDeviceMetricsOverride")
            self.browser.call("Emulation.setEmulatedMedia", features=[])

    def test_nothing_runs_even_where_something_got_in(self):
        """The policy itself: a script in the page's own document is refused by the browser."""
        self.show("hub", "/hub/acme/encoder/1")
        self.browser.evaluate("document.body.appendChild(Object.assign(document.createElement('script'), {textContent: 'window.hacked=1'}))")
        self.browser.evaluate("new Promise(done => setTimeout(done, 50))")
        self.assertFalse(self.browser.evaluate("'hacked' in window"))
        self.assertTrue(any("Content Security Policy" in one for one in self.browser.problems), self.browser.problems)


if __name__ == "__main__":
    unittest.main()
