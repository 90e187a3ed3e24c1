"""The Open Inference Protocol over gRPC by tritonclient; grpc.health.v1 and server reflection by gRPC's own clients."""
import queue
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database
from google.protobuf import descriptor_pool
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from serving import ServingNode

node = None


def setUpModule():
    global node
    node = ServingNode(
        "--model", "half_plus_two={models}/half_plus_two", "--model", "types={models}/types", "--model", "text={models}/text",
        "--model", "simple={models}/simple", "--model", "float16={models}/float16").start()


def tearDownModule():
    node.stop()


def tensor(name, value):
    value = np.asarray(value)
    made = triton.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
    made.set_data_from_numpy(value)
    return made


class TritonGrpcTest(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(node.grpc)
        self.addCleanup(self.client.close)

    def refused(self, code, call, *arguments, **options):
        with self.assertRaises(InferenceServerException) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.status(), f"StatusCode.{code}")
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
        self.assertTrue(self.client.get_server_metadata().name)
        metadata = self.client.get_model_metadata("simple", as_json=True)
        self.assertEqual(metadata["name"], "simple")
        self.assertEqual(metadata["versions"], ["1"])
        self.assertEqual(metadata["inputs"], [{"name": f"INPUT{i}", "datatype": "INT32", "shape": ["-1", "16"]} for i in range(2)])
        self.refused("NOT_FOUND", self.client.get_model_metadata, "nothing")

    def test_config(self):
        config = self.client.get_model_config("simple").config
        self.assertEqual(config.name, "simple")
        self.assertEqual([i.name for i in config.input], ["INPUT0", "INPUT1"])

    def test_infer(self):
        a, b = np.arange(32, dtype=np.int32).reshape(2, 16), np.ones((2, 16), np.int32)
        result = self.client.infer("simple", [tensor("INPUT0", a), tensor("INPUT1", b)], request_id="42")
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), a + b)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), a - b)
        self.assertEqual(result.get_response().id, "42")
        self.assertEqual(result.get_response().model_version, "1")

    def test_requested_output_alone_comes(self):
        value = tensor("INPUT0", np.ones((1, 16), np.int32)), tensor("INPUT1", np.ones((1, 16), np.int32))
        result = self.client.infer("simple", value, outputs=[triton.InferRequestedOutput("OUTPUT1")])
        self.assertEqual([o.name for o in result.get_response().outputs], ["OUTPUT1"])
        self.refused("INVALID_ARGUMENT", self.client.infer, "simple", value, outputs=[triton.InferRequestedOutput("OUTPUT7")])

    def test_version(self):
        np.testing.assert_array_equal(self.half([2], model_version="123").as_numpy("y"), [4])
        self.refused("NOT_FOUND", self.half, [2], model_version="9")
        self.refused("INVALID_ARGUMENT", self.half, [2], model_version="newest")

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
        value = np.array([[0.5, -2], [65504, 1e-7]], np.float16)
        with np.errstate(over="ignore"):
            want = value + value
        np.testing.assert_array_equal(self.client.infer("float16", [tensor("x", value)]).as_numpy("y"), want)

    def test_text(self):
        words = np.array(["grüße".encode(), b"", b"x" * 5000], np.object_)
        np.testing.assert_array_equal(self.client.infer("text", [tensor("text", words)]).as_numpy("same"), words)

    def test_large_tensor(self):
        value = np.arange(2_000_000, dtype=np.float32)
        np.testing.assert_array_equal(self.half(value).as_numpy("y"), value / 2 + 3)

    def test_compressed(self):
        for algorithm in ("gzip", "deflate"):
            np.testing.assert_array_equal(self.half([2], compression_algorithm=algorithm).as_numpy("y"), [4])

    def test_what_is_wrong_with_a_request(self):
        self.refused("NOT_FOUND", self.client.infer, "nothing", [tensor("x", np.zeros(1, np.float32))])
        self.refused("INVALID_ARGUMENT", self.client.infer, "half_plus_two", [tensor("z", np.zeros(1, np.float32))])
        self.refused("INVALID_ARGUMENT", self.client.infer, "half_plus_two", [tensor("x", np.zeros(1, np.int32))])
        self.refused("INVALID_ARGUMENT", self.client.infer, "half_plus_two", [tensor("x", np.zeros((1, 2), np.float32))])
        self.refused("INVALID_ARGUMENT", self.client.infer, "half_plus_two", [])
        lying = triton.InferInput("x", [4], "FP32")
        lying.set_data_from_numpy(np.zeros(4, np.float32))
        lying.set_shape([1 << 40])
        self.refused("INVALID_ARGUMENT", self.client.infer, "half_plus_two", [lying])

    def test_sequences_are_refused_and_not_ignored(self):
        self.refused("UNIMPLEMENTED", self.half, [1], sequence_id=7, sequence_start=True)

    def test_many_at_once(self):
        done = queue.Queue()
        for i in range(100):
            self.client.async_infer("half_plus_two", [tensor("x", np.full(3, i, np.float32))], lambda result, error: done.put((result, error)),
                                    request_id=str(i))
        for _ in range(100):
            result, error = done.get(timeout=20)
            self.assertIsNone(error)
            np.testing.assert_array_equal(result.as_numpy("y"), np.full(3, int(result.get_response().id) / 2 + 3))

    def test_stream(self):
        done = queue.Queue()
        self.client.start_stream(lambda result, error: done.put((result, error)))
        for i in range(50):
            self.client.async_stream_infer("half_plus_two", [tensor("x", np.array([i], np.float32))], request_id=str(i))
        self.client.async_stream_infer("nothing", [tensor("x", np.array([1], np.float32))], request_id="bad")
        answers, errors = {}, []
        for _ in range(51):
            result, error = done.get(timeout=20)
            if error is not None:
                errors.append(error)
            else:
                answers[result.get_response().id] = result.as_numpy("y")[0]
        self.client.stop_stream()
        self.assertEqual(answers, {str(i): i / 2 + 3 for i in range(50)})
        self.assertEqual(len(errors), 1)

    def test_repository(self):
        index = {(m.name, m.version): m.state for m in self.client.get_model_repository_index().models}
        self.assertEqual(index[("half_plus_two", "123")], "READY")
        self.client.unload_model("float16")
        self.assertFalse(self.client.is_model_ready("float16"))
        self.client.load_model("float16")
        self.assertTrue(self.client.is_model_ready("float16"))
        with self.assertRaises(InferenceServerException):
            self.client.load_model("nothing")


class HealthTest(unittest.TestCase):
    def setUp(self):
        self.channel = grpc.insecure_channel(node.grpc)
        self.addCleanup(self.channel.close)

    def test_health(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        self.assertEqual(health.Check(health_pb2.HealthCheckRequest(), timeout=10).status, serving)
        self.assertEqual(health.Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"), timeout=10).status, serving)
        with self.assertRaises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_watch(self):
        watch = health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest(service="text"), timeout=20)
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        client = triton.InferenceServerClient(node.grpc)
        client.unload_model("text")
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
        client.load_model("text")
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        watch.cancel()
        client.close()

    def test_reflection(self):
        database = proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(self.channel)
        services = set(database.get_services())
        self.assertLessEqual({"tensorflow.serving.PredictionService", "inference.GRPCInferenceService", "grpc.health.v1.Health"}, services)
        pool = descriptor_pool.DescriptorPool(database)
        methods = [m.name for m in pool.FindServiceByName("inference.GRPCInferenceService").methods]
        self.assertIn("ModelInfer", methods)
