"""The TensorFlow Serving REST API, by curl and by ovmsclient's HTTP client."""
import base64
import gzip
import json
import unittest

import numpy as np
import ovmsclient

from serving import ServingNode, curl

node = None


def setUpModule():
    global node
    node = ServingNode(
        "--model", "half_plus_two={models}/half_plus_two", "--model", "types={models}/types", "--model", "text={models}/text",
        "--model", "simple={models}/simple", "--model", "grade={models}/grade").start()


def tearDownModule():
    node.stop()


class RestTest(unittest.TestCase):
    def url(self, path):
        return f"http://{node.http}/v1/models/{path}"

    def ask(self, path, body, *flags):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        code, reply, headers = curl(*flags, self.url(path), data=data)
        return code, json.loads(reply), headers


class CurlTest(RestTest):
    def test_rows(self):
        code, reply, headers = self.ask("half_plus_two:predict", {"instances": [1.0, 2.0, 5.0]})
        self.assertEqual((code, reply), (200, {"predictions": [3.5, 4.0, 5.5]}))
        self.assertEqual(headers["content-type"], "application/json")

    def test_columns(self):
        self.assertEqual(self.ask("half_plus_two:predict", {"inputs": {"x": [1, 2]}})[:2], (200, {"outputs": [3.5, 4]}))

    def test_version_in_the_path(self):
        self.assertEqual(self.ask("half_plus_two/versions/123:predict", {"instances": [2]})[:2], (200, {"predictions": [4]}))
        self.assertEqual(self.ask("half_plus_two/versions/7:predict", {"instances": [2]})[0], 404)

    def test_rows_of_named_tensors(self):
        rows = [{"INPUT0": [i] * 16, "INPUT1": [1] * 16} for i in range(2)]
        code, reply, _ = self.ask("simple:predict", {"instances": rows})
        self.assertEqual(code, 200)
        self.assertEqual(reply["predictions"], [{"OUTPUT0": [i + 1] * 16, "OUTPUT1": [i - 1] * 16} for i in range(2)])

    def test_bytes_as_base64(self):
        word = base64.b64encode("grüße".encode()).decode()
        self.assertEqual(self.ask("text:predict", {"instances": [{"b64": word}, "a"]})[:2], (200, {"predictions": ["grüße", "a"]}))

    def test_nan_and_infinity(self):
        code, reply, _ = self.ask("half_plus_two:predict", b'{"instances": [NaN, Infinity, -Infinity]}')
        self.assertEqual(code, 200)
        self.assertTrue(np.isnan(reply["predictions"][0]))
        self.assertEqual(reply["predictions"][1:], [float("inf"), float("-inf")])

    def test_gzip_body(self):
        body = gzip.compress(json.dumps({"instances": list(range(1000))}).encode())
        code, reply, _ = self.ask("half_plus_two:predict", body, "-H", "Content-Encoding: gzip")
        self.assertEqual(code, 200)
        self.assertEqual(reply["predictions"], [i / 2 + 3 for i in range(1000)])
        self.assertEqual(self.ask("half_plus_two:predict", body[:-3], "-H", "Content-Encoding: gzip")[0], 400)

    def test_compressed_answer(self):
        code, reply, _ = self.ask("half_plus_two:predict", {"instances": list(range(1000))}, "--compressed")
        self.assertEqual((code, len(reply["predictions"])), (200, 1000))

    def test_large_body_with_expect_100_continue(self):
        rows = [0.5] * 500_000
        code, reply, _ = self.ask("half_plus_two:predict", {"instances": rows}, "-H", "Expect: 100-continue")
        self.assertEqual((code, reply["predictions"]), (200, [3.25] * len(rows)))

    def test_chunked_body(self):
        code, reply, _ = self.ask("half_plus_two:predict", {"instances": [4]}, "-H", "Transfer-Encoding: chunked")
        self.assertEqual((code, reply), (200, {"predictions": [5]}))

    def test_http_1_0(self):
        self.assertEqual(self.ask("half_plus_two:predict", {"instances": [4]}, "--http1.0")[:2], (200, {"predictions": [5]}))

    def test_connection_is_kept(self):
        import subprocess
        done = subprocess.run(["curl", "-sv", "--http1.1", self.url("half_plus_two"), self.url("half_plus_two")], capture_output=True, text=True)
        self.assertIn("Re-using existing connection", done.stderr)

    def test_what_is_wrong_with_a_body(self):
        for body in (b"", b"{", b"[]", b"{}", b'{"instances": 3}', b'{"instances": [1,]}', b'{"instances": [[1],[2,3]]}', b'{"instances": ["a"]}',
                     b'{"instances": [1], "instances": [2]}', b'{"instances": [1], "inputs": [1]}', b'{"instances": [1]} x', b'{"instances": [1]',
                     b"[" * 100_000, b'{"instances": ' + b"[" * 5000, b'{"instances": ["\xff"]}', b"\xff\xfe", b"{\x00}"):
            with self.subTest(body[:40]):
                code, reply, _ = self.ask("half_plus_two:predict", body)
                self.assertEqual(code, 400)
                self.assertTrue(reply["error"])

    def test_unknown_routes(self):
        code, reply, _ = curl(f"http://{node.http}/v1/nothing")
        self.assertEqual((code, json.loads(reply)), (400, {"error": "Malformed request: GET /v1/nothing"}))
        self.assertEqual(curl(f"http://{node.http}/nothing")[0], 404)
        self.assertEqual(curl(self.url("nothing"))[0], 404)
        self.assertEqual(self.ask("half_plus_two:nothing", {})[0], 400)
        self.assertIn(curl("-X", "DELETE", self.url("half_plus_two"))[0], (400, 405, 501))

    def test_status_and_metadata(self):
        code, reply, _ = curl(self.url("half_plus_two"))
        self.assertEqual(code, 200)
        self.assertEqual(json.loads(reply)["model_version_status"],
                         [{"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}])
        code, reply, _ = curl(self.url("half_plus_two/metadata"))
        self.assertEqual(code, 200)
        signature = json.loads(reply)["metadata"]["signature_def"]["signature_def"]["serving_default"]
        self.assertEqual(signature["inputs"]["x"]["dtype"], "DT_FLOAT")
        self.assertEqual(signature["inputs"]["x"]["tensor_shape"]["dim"][0]["size"], "-1")

    def test_head(self):
        code, body, _ = curl("--head", self.url("half_plus_two"))
        self.assertEqual((code, body), (200, b""))

    def test_health_and_metrics(self):
        self.assertEqual(curl(f"http://{node.http}/healthz")[0], 200)
        self.assertEqual(curl(f"http://{node.http}/readyz")[0], 200)
        self.ask("half_plus_two:predict", {"instances": [1]})
        code, text, _ = curl(f"http://{node.http}/metrics")
        self.assertEqual(code, 200)
        self.assertIn(b"half_plus_two", text)

    def test_classify_and_regress(self):
        examples = [{"x": [1, 2], "tag": ["cat", "dog"]}, {"x": [3.5, 4], "tag": ["cow", {"b64": "YQ=="}]}]
        self.assertEqual(self.ask("grade:classify", {"examples": examples})[:2],
                         (200, {"results": [[["cat", 2], ["dog", 4]], [["cow", 7], ["a", 8]]]}))
        self.assertEqual(self.ask("grade:regress", {"signature_name": "regress", "examples": examples})[:2], (200, {"results": [6, 15]}))
        self.assertEqual(self.ask("grade:classify", {"examples": [{"x": [1]}]})[0], 400)


class OvmsHttpClientTest(unittest.TestCase):
    def setUp(self):
        self.client = ovmsclient.make_http_client(node.http)

    def test_predict(self):
        outputs = self.client.predict({"x": np.array([1, 2, 5], np.float32)}, "half_plus_two", 123)
        np.testing.assert_array_equal(outputs, [3.5, 4, 5.5])

    def test_status(self):
        self.assertEqual(self.client.get_model_status("half_plus_two", 123)[123]["state"], "AVAILABLE")

    def test_version_0_is_the_default_version(self):
        self.assertEqual(list(self.client.predict({"x": [4.0]}, "half_plus_two")), [5])
