"""`portico hub` from a bucket of moto's S3 server, which checks signatures; filled by boto3."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from held_port import HeldPort

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ["PORTICO_BUILD"])


class S3HubTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        venv = subprocess.run([HERE / "install.sh", "moto.txt"], check=True, capture_output=True, text=True).stdout.strip()
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="portico_s3_"))
        subprocess.run([BUILD / "client_models", cls.folder / "models"], check=True)
        cls.model = sorted((cls.folder / "models").rglob("model.onnx"))[0].parent
        (cls.folder / "words of it.txt").write_text("one\ntwo\n")
        for version in (1, 2):
            subprocess.run([BUILD / "portico", "hub", "publish", cls.model / "model.onnx", f"acme/encoder/{version}", "--store",
                            cls.folder / "store", "--asset", cls.folder / "words of it.txt"], check=True, stdout=subprocess.DEVNULL)
        cls.held = HeldPort()
        port = cls.held.number
        cls.endpoint = f"http://127.0.0.1:{port}"
        cls.log = open(cls.folder / "moto.log", "w")
        cls.server = subprocess.Popen([f"{venv}/bin/moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=cls.log, stderr=cls.log)
        deadline = time.monotonic() + 180
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if cls.server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        made = subprocess.run([f"{venv}/bin/python", HERE / "s3_bucket.py", cls.endpoint, "models", "hub", cls.folder / "store"],
                              check=True, capture_output=True, text=True, env=clean)
        cls.reader = clean | json.loads(made.stdout) | {
            "XDG_CACHE_HOME": str(cls.folder / "cache"), "PORTICO_HUB": "s3://models/hub", "AWS_ENDPOINT_URL": cls.endpoint}

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()
        cls.log.close()
        cls.held.close()
        shutil.rmtree(cls.folder)

    def hub(self, *arguments, env=None):
        return subprocess.run([BUILD / "portico", "hub", *arguments], capture_output=True, text=True, env=env or self.reader, timeout=120)

    def test_lists_all_pages(self):
        listed = self.hub("list", "--json")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertEqual([one["handle"] for one in json.loads(listed.stdout)], ["acme/encoder/1", "acme/encoder/2"])

    def test_pulls_every_file_as_published(self):
        pulled = self.hub("pull", "acme/encoder/2")
        self.assertEqual(pulled.returncode, 0, pulled.stderr)
        here = self.folder / "cache/portico/hub/modules/acme/encoder/2"
        there = self.folder / "store/acme/encoder/2"
        for name in ("model.onnx", "assets/words of it.txt", "manifest.json"):
            self.assertEqual((here / name).read_bytes(), (there / name).read_bytes(), name)

    def test_what_is_not_there_is_said_with_what_is(self):
        shown = self.hub("show", "acme/encoder/3")
        self.assertEqual(shown.returncode, 1)
        self.assertIn("has versions 1, 2 of it", shown.stderr)

    def test_a_wrong_key_is_refused_with_the_remedy(self):
        wrong = self.reader | {"AWS_SECRET_ACCESS_KEY": "wrong", "XDG_CACHE_HOME": str(self.folder / "other")}
        pulled = self.hub("pull", "acme/encoder/1", env=wrong)
        self.assertEqual(pulled.returncode, 1, pulled.stdout)
        self.assertIn("SignatureDoesNotMatch", pulled.stderr)
        self.assertIn("set AWS_ACCESS_KEY_ID", pulled.stderr)


if __name__ == "__main__":
    unittest.main()
