"""TLS with client certificates, bearer tokens, roles, quotas and packed answers, as tritonclient, gRPC's own clients and curl see them."""
import hashlib
import json
import os
import subprocess
import tempfile
import time
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database
from tritonclient.utils import InferenceServerException

from serving import ServingNode, curl

node = None
keys = None


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], cwd=keys.name, check=True, capture_output=True)


def sign(name, subject):
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
            "-out", f"{name}.pem")


def path(name):
    return os.path.join(keys.name, name)


def pem(name):
    with open(path(name), "rb") as file:
        return file.read()


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def setUpModule():
    global node, keys
    keys = tempfile.TemporaryDirectory(prefix="portico_keys_")
    with open(path("names"), "w") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=root", "-days", "2", "-keyout", "root.key", "-out", "root.pem")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=stranger", "-days", "2", "-keyout", "stranger.key", "-out",
            "stranger.pem")
    for name in ("server", "client"):
        sign(name, name)
    tenants = {"ann": {}, "tiny": {"limits": {"max_bytes": 10}}, "root": {"roles": ["admin"]}}
    for name, tenant in tenants.items():
        tenant["token_sha256"] = [hashlib.sha256(f"{name}'s token".encode()).hexdigest()]
    with open(path("tenants.yaml"), "w") as file:
        json.dump({"tenants": tenants}, file)
    node = ServingNode(
        "--model", "half_plus_two={models}/half_plus_two", "--model", "text={models}/text", "--tenants-file", path("tenants.yaml"), "--tls-key",
        path("server.key"), "--tls-cert", path("server.pem"), "--tls-client-ca", path("root.pem")).start()


def tearDownModule():
    node.stop()
    keys.cleanup()


def grpc_client(who="client"):
    return triton_grpc.InferenceServerClient(node.grpc, ssl=True, root_certificates=path("root.pem"), private_key=who and path(f"{who}.key"),
                                             certificate_chain=who and path(f"{who}.pem"))


def http_client(who="client"):
    options = {"ca_certs": path("root.pem")}
    if who:
        options |= {"keyfile": path(f"{who}.key"), "certfile": path(f"{who}.pem")}
    return triton_http.InferenceServerClient(node.http, ssl=True, ssl_options=options)


def inputs(triton, count=3):
    tensor = triton.InferInput("x", [count], "FP32")
    tensor.set_data_from_numpy(np.arange(count, dtype=np.float32))
    return [tensor]


class TritonSecurityTest(unittest.TestCase):
    """Each test by both clients: (module, client, code by its name in gRPC and its number in HTTP)."""

    def clients(self):
        for triton, make in ((triton_grpc, grpc_client), (triton_http, http_client)):
            client = make()
            with self.subTest(triton.__name__):
                yield triton, client
            client.close()

    def refused(self, grpc_code, http_code, call, *arguments, **options):
        with self.assertRaises(InferenceServerException) as caught:
            call(*arguments, **options)
        self.assertIn(caught.exception.status(), (f"StatusCode.{grpc_code}", str(http_code)))
        return caught.exception

    def test_mutual_tls_and_token(self):
        for triton, client in self.clients():
            result = client.infer("half_plus_two", inputs(triton), headers=bearer("ann's token"))
            np.testing.assert_array_equal(result.as_numpy("y"), [3, 3.5, 4])

    def test_refused_token(self):
        for triton, client in self.clients():
            for headers in (None, bearer("nobody's token"), {"authorization": "Basic YTpi"}):
                error = self.refused("UNAUTHENTICATED", 401, client.infer, "half_plus_two", inputs(triton), headers=headers)
                self.assertIn("bearer token", error.message())
                self.refused("UNAUTHENTICATED", 401, client.get_server_metadata, headers=headers)
                self.refused("UNAUTHENTICATED", 401, client.get_inference_statistics, headers=headers)
                self.refused("UNAUTHENTICATED", 401, client.unload_model, "text", headers=headers)
            self.assertTrue(client.is_server_live() and client.is_server_ready() and client.is_model_ready("text"))

    def test_statistics(self):
        for triton, client in self.clients():
            as_json = {"as_json": True} if triton is triton_grpc else {}

            def statistics():
                told = client.get_inference_statistics("half_plus_two", headers=bearer("ann's token"), **as_json)["model_stats"]
                return {m["version"]: (int(m.get("inference_count", 0)), int(m["inference_stats"]["success"].get("count", 0))) for m in told}

            before = statistics()["123"]
            for _ in range(4):
                client.infer("half_plus_two", inputs(triton, 2), headers=bearer("ann's token"))
            after = statistics()["123"]
            self.assertEqual((after[0] - before[0], after[1] - before[1]), (8, 4))

    def test_quota(self):
        for triton, client in self.clients():
            client.infer("half_plus_two", inputs(triton, 2), headers=bearer("tiny's token"))
            error = self.refused("RESOURCE_EXHAUSTED", 429, client.infer, "half_plus_two", inputs(triton, 3), headers=bearer("tiny's token"))
            # An answer may reach its client before the server has counted its bytes out.
            self.assertRegex(error.message(), "tenant 'tiny': got 12 bytes of inputs while [08] are inside, want at most 10")

    def test_admins_load_and_unload(self):
        for _, client in self.clients():
            error = self.refused("PERMISSION_DENIED", 403, client.unload_model, "text", headers=bearer("ann's token"))
            self.assertIn("role 'admin'", error.message())
            client.unload_model("text", headers=bearer("root's token"))
            self.assertFalse(client.is_model_ready("text"))
            self.refused("PERMISSION_DENIED", 403, client.load_model, "text", headers=bearer("ann's token"))
            client.load_model("text", headers=bearer("root's token"))
            self.assertTrue(client.is_model_ready("text"))

    def test_without_a_certificate_nobody_gets_in(self):
        for make in (grpc_client, http_client):
            for who in (None, "stranger"):
                with self.subTest(make.__name__, who=who):
                    client = make(who)
                    with self.assertRaises(Exception):
                        client.is_server_live()
                    client.close()


class GrpcSecurityTest(unittest.TestCase):
    def setUp(self):
        credentials = grpc.ssl_channel_credentials(pem("root.pem"), pem("client.key"), pem("client.pem"))
        self.channel = grpc.secure_channel(node.grpc, credentials)
        self.addCleanup(self.channel.close)

    def test_health_is_open(self):
        check = health_pb2_grpc.HealthStub(self.channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        self.assertEqual(check.status, health_pb2.HealthCheckResponse.SERVING)

    def test_reflection_wants_a_token(self):
        database = proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(self.channel)
        with self.assertRaises(grpc.RpcError) as caught:
            list(database.get_services())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)


class CurlSecurityTest(unittest.TestCase):
    def ask(self, url, *flags):
        return curl("--cacert", path("root.pem"), "--cert", path("client.pem"), "--key", path("client.key"), *flags, f"https://{node.http}{url}")

    def test_debug_is_for_admins(self):
        for token, code in (("ann's token", 403), ("root's token", 200), ("x", 401)):
            self.assertEqual(self.ask("/debug/memory", "-H", f"Authorization: Bearer {token}")[0], code)
        self.assertEqual(self.ask("/metrics", "-H", "Authorization: Bearer ann's token")[0], 200)

    def test_metrics_come_packed(self):
        _, plain, headers = self.ask("/metrics", "-H", "Authorization: Bearer ann's token")
        self.assertNotIn("content-encoding", headers)
        _, unpacked, headers = self.ask("/metrics", "-H", "Authorization: Bearer ann's token", "--compressed")
        self.assertEqual(headers["content-encoding"], "gzip")
        self.assertEqual(headers["vary"], "Accept-Encoding")
        self.assertLess(int(headers["content-length"]), len(plain) / 2)
        self.assertIn(b"# TYPE portico_requests_total counter", unpacked)

    def test_renewed_keys(self):
        open_channel = grpc.secure_channel(node.grpc, grpc.ssl_channel_credentials(pem("root.pem"), pem("client.key"), pem("client.pem")))
        self.addCleanup(open_channel.close)
        health = health_pb2_grpc.HealthStub(open_channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        sign("renewed", "renewed")
        os.replace(path("renewed.key"), path("server.key"))
        os.replace(path("renewed.pem"), path("server.pem"))

        def subject(address):
            done = subprocess.run(["openssl", "s_client", "-connect", address, "-cert", path("client.pem"), "-key", path("client.key")],
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=60, text=True)
            return done.stdout

        deadline = time.monotonic() + 60
        for address in (node.http, node.grpc):
            while "CN = renewed" not in subject(address):
                self.assertLess(time.monotonic(), deadline, address)
        health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        self.assertEqual(self.ask("/healthz")[0], 200)
