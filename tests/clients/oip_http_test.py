"""The Open Inference Protocol over HTTP, by tritonclient (binary tensor data and JSON) and curl."""
import gzip
import json
import struct
import unittest

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from serving import ServingNode, curl

node = None


def setUpModule():
    global node
    node = ServingNode(
        "--model", "half_plus_two={models}/half_plus_two", "--model", "types={models}/types", "--model", "text={models}/text",
        "--model", "simple={models}/simple", "--model", "float16={models}/float16").start()


def tearDownModule():
    node.stop()


def tensor(name, value, binary=True):
    value = np.asarray(value)
    made = triton.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
    made.set_data_from_numpy(value, binary_data=binary)
    return made


class TritonHttpTest(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(node.http, concurrency=4)
        self.addCleanup(self.client.close)

    def refused(self, code, call, *arguments, **options):
        with self.assertRaises(InferenceServerException) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.status(), str(code))
        return caught.exception

    def half(self, values, **options):
        return self.client.infer("half_plus_two", [tensor("x", np.array(values, np.float32))], **options)

    def test_live_and_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("half_plus_two"))
        self.assertTrue(self.client.is_model_ready("half_plus_two", "123"))
        self.assertFalse(self.client.is_model_ready("half_plus_two", "9"))
        self.assertFalse(self.client.is_model_ready("nothing"))

    def test_metadata(self):
        self.assertTrue(self.client.get_server_metadata()["name"])
        metadata = self.client.get_model_metadata("simple")
        self.assertEqual(metadata["inputs"], [{"name": f"INPUT{i}", "datatype": "INT32", "shape": [-1, 16]} for i in range(2)])
        self.refused(404, self.client.get_model_metadata, "nothing")

    def test_infer_with_and_without_binary_data(self):
        a, b = np.arange(32, dtype=np.int32).reshape(2, 16), np.ones((2, 16), np.int32)
        for binary_in in (True, False):
            for binary_out in (True, False):
                with self.subTest(binary_in=binary_in, binary_out=binary_out):
                    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("OUTPUT0", "OUTPUT1")]
                    result = self.client.infer("simple", [tensor("INPUT0", a, binary_in), tensor("INPUT1", b, binary_in)], outputs=outputs,
                                               request_id="42")
                    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), a + b)
                    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), a - b)
                    self.assertEqual(result.get_response()["id"], "42")

    def test_one_input_binary_and_the_other_json(self):
        a, b = np.arange(16, dtype=np.int32).reshape(1, 16), np.ones((1, 16), np.int32)
        for binary in (True, False):
            result = self.client.infer("simple", [tensor("INPUT0", a, binary), tensor("INPUT1", b, not binary)])
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), a + b)

    def test_version(self):
        np.testing.assert_array_equal(self.half([2], model_version="123").as_numpy("y"), [4])
        self.refused(404, self.half, [2], model_version="9")

    def test_each_dtype_comes_back_as_it_went(self):
        dtypes = {"fp16": np.float16, "fp32": np.float32, "fp64": np.float64, "int8": np.int8, "int16": np.int16, "int32": np.int32,
                  "int64": np.int64, "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64, "bool": np.bool_}
        values = {name: np.array([[0, 1], [1, 0], [1, 1]], dtype) for name, dtype in dtypes.items()}
        values["text"] = np.array([[b"a", b""], [b"\xff\x00", b"d"], [b"e", b"f"]], np.object_)
        result = self.client.infer("types", [tensor(f"in_{name}", value) for name, value in values.items()])
        for name, value in values.items():
            with self.subTest(name):
                got = result.as_numpy(f"out_{name}")
                self.assertEqual(got.dtype, value.dtype)
                np.testing.assert_array_equal(got, value)

    def test_fp16(self):
        value = np.array([[0.5, -2], [100, 1e-7]], np.float16)
        np.testing.assert_array_equal(self.client.infer("float16", [tensor("x", value)]).as_numpy("y"), value + value)

    def test_text_as_json_and_binary(self):
        words = np.array(["grüße".encode(), b"", b"x" * 5000], np.object_)
        for binary in (True, False):
            outputs = [triton.InferRequestedOutput("same", binary_data=binary)]
            got = self.client.infer("text", [tensor("text", words, binary)], outputs=outputs).as_numpy("same")
            self.assertEqual([w if isinstance(w, bytes) else w.encode() for w in got], list(words))

    def test_large_tensor(self):
        value = np.arange(2_000_000, dtype=np.float32)
        np.testing.assert_array_equal(self.half(value).as_numpy("y"), value / 2 + 3)

    def test_compressed_both_ways(self):
        for algorithm in ("gzip", "deflate"):
            result = self.half(np.zeros(1000), request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
            np.testing.assert_array_equal(result.as_numpy("y"), np.full(1000, 3))

    def test_many_at_once(self):
        calls = [self.client.async_infer("half_plus_two", [tensor("x", np.full(3, i, np.float32))]) for i in range(50)]
        for i, call in enumerate(calls):
            np.testing.assert_array_equal(call.get_result().as_numpy("y"), np.full(3, i / 2 + 3))

    def test_what_is_wrong_with_a_request(self):
        self.refused(404, self.client.infer, "nothing", [tensor("x", np.zeros(1, np.float32))])
        self.refused(400, self.client.infer, "half_plus_two", [tensor("z", np.zeros(1, np.float32))])
        self.refused(400, self.client.infer, "half_plus_two", [tensor("x", np.zeros(1, np.int32))])
        lying = triton.InferInput("x", [4], "FP32")
        lying.set_data_from_numpy(np.zeros(4, np.float32))
        lying.set_shape([1 << 40])
        self.refused(400, self.client.infer, "half_plus_two", [lying])

    def test_repository(self):
        index = {(m["name"], m["version"]): m["state"] for m in self.client.get_model_repository_index()}
        self.assertEqual(index[("half_plus_two", "123")], "READY")
        self.client.unload_model("float16")
        self.assertFalse(self.client.is_model_ready("float16"))
        self.client.load_model("float16")
        self.assertTrue(self.client.is_model_ready("float16"))


class CurlTest(unittest.TestCase):
    def ask(self, path, body, *flags):
        code, reply, headers = curl(*flags, f"http://{node.http}/v2/{path}", data=body if isinstance(body, bytes) else json.dumps(body).encode())
        return code, reply, headers

    def test_health(self):
        for path in ("health/live", "health/ready", "models/simple/ready"):
            self.assertEqual(curl(f"http://{node.http}/v2/{path}")[0], 200)
        self.assertEqual(curl(f"http://{node.http}/v2/models/nothing/ready")[0], 404)

    def test_json(self):
        body = {"id": "7", "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}
        code, reply, _ = self.ask("models/half_plus_two/infer", body)
        self.assertEqual(code, 200)
        answer = json.loads(reply)
        self.assertEqual((answer["model_name"], answer["model_version"], answer["id"]), ("half_plus_two", "123", "7"))
        self.assertEqual(answer["outputs"], [{"name": "y", "datatype": "FP32", "shape": [2], "data": [3.5, 4]}])

    def test_nested_data_and_gzip(self):
        body = {"inputs": [{"name": f"INPUT{i}", "shape": [2, 16], "datatype": "INT32", "data": [[1] * 16, [2] * 16]} for i in range(2)]}
        code, reply, _ = self.ask("models/simple/infer", gzip.compress(json.dumps(body).encode()), "-H", "Content-Encoding: gzip", "--compressed")
        self.assertEqual((code, json.loads(reply)["outputs"][0]["data"]), (200, [2] * 16 + [4] * 16))

    def test_raw_body(self):
        code, reply, headers = self.ask("models/half_plus_two/infer", struct.pack("<2f", 1, 2), "-H", "Inference-Header-Content-Length: 0")
        self.assertEqual(code, 200)
        length = int(headers["inference-header-content-length"])
        self.assertEqual(json.loads(reply[:length])["outputs"][0]["shape"], [2])
        self.assertEqual(reply[length:], struct.pack("<2f", 3.5, 4))

    def test_what_is_wrong_with_a_body(self):
        good = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
        for body in (b"", b"{", b"[]", {"inputs": []}, {"inputs": [good | {"shape": [3]}]}, {"inputs": [good | {"shape": [-1]}]},
                     {"inputs": [good | {"shape": [1 << 62, 4]}]}, {"inputs": [good | {"datatype": "FP31"}]}, {"inputs": [good, good]},
                     {"inputs": [good | {"data": [1, "a"]}]}, {"inputs": [good | {"parameters": {"binary_data_size": 8}}]}, b"[" * 100_000):
            with self.subTest(str(body)[:60]):
                code, reply, _ = self.ask("models/half_plus_two/infer", body)
                self.assertEqual(code, 400)
                self.assertTrue(json.loads(reply)["error"])
        for length in ("9999999", "-1", "x", "18446744073709551616"):
            with self.subTest(length):
                self.assertEqual(self.ask("models/half_plus_two/infer", {"inputs": [good]}, "-H", f"Inference-Header-Content-Length: {length}")[0], 400)
