"""A `portico serve` process for one test module, with models made for the tests."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time


class ServingNode:
    """`portico serve` on ports the system chooses.

    with ServingNode("--model", "half=…") as node: node.grpc, node.http   (HOST:PORT)
    Flags may contain {models}, the folder of the tests' models, and {folder}, the node's own.
    """

    def __init__(self, *flags, default_addresses=True, env=None):
        self.build = pathlib.Path(os.environ["PORTICO_BUILD"])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portico_clients_"))
        self.models = self.folder / "models"
        self.flags = flags
        self.default_addresses = default_addresses
        self.env = env
        self.process = None
        subprocess.run([self.build / "client_models", self.models], check=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def start(self):
        status_file = self.folder / "status.json"
        command = [self.build / "portico", "serve", "--status-file", status_file]
        if self.default_addresses:
            command += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        command += [flag.format(models=self.models, folder=self.folder) for flag in self.flags]
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=self.env)
        deadline = time.monotonic() + 60
        while not status_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("portico serve did not start:\n" + self.log_text())
            time.sleep(0.01)
        self.status = json.loads(status_file.read_text())
        self.grpc = self.status["grpc"]
        self.http = self.status["http"]
        return self

    def log_text(self):
        return (self.folder / "log").read_text()

    def stop(self):
        """SIGTERM; the process must end by itself, with status 0."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None
            self.log.close()
        text = self.log_text()
        shutil.rmtree(self.folder, ignore_errors=True)
        if code != 0:
            raise RuntimeError(f"portico serve ended with {code}:\n{text}")


def curl(*arguments, data=None):
    """Runs curl; returns (HTTP code, body as bytes, headers in lower case)."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--include", "--suppress-connect-headers", *map(str, arguments)]
    if data is not None:
        command += ["--data-binary", "@-"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"curl ended with {done.returncode}: {done.stderr.decode()}")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:] if ":" in line}
    return int(lines[0].split()[1]), body, headers
