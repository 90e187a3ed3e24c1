"""The TensorFlow Serving API over gRPC, by ovmsclient (whose stubs are generated from TensorFlow Serving's protos)."""
import unittest

import grpc
import numpy as np
import ovmsclient
from ovmsclient.tfs_compat.base import errors
from ovmsclient.tfs_compat.grpc.tensors import make_ndarray, make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2, types_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import ServingNode

node = None


def setUpModule():
    global node
    node = ServingNode(
        "--model", "half_plus_two={models}/half_plus_two", "--model", "types={models}/types", "--model", "text={models}/text",
        "--model", "simple={models}/simple", "--model", "grade={models}/grade").start()


def tearDownModule():
    node.stop()


class OvmsClientTest(unittest.TestCase):
    def setUp(self):
        self.client = ovmsclient.make_grpc_client(node.grpc)

    def test_predict_of_the_newest_version(self):
        np.testing.assert_array_equal(self.client.predict({"x": np.array([1, 2, 5], np.float32)}, "half_plus_two"), [3.5, 4, 5.5])

    def test_predict_with_a_list_instead_of_an_array(self):
        np.testing.assert_array_equal(self.client.predict({"x": [1.0, 2.0]}, "half_plus_two"), [3.5, 4])

    def test_predict_of_a_version(self):
        np.testing.assert_array_equal(self.client.predict({"x": np.array([2], np.float32)}, "half_plus_two", 123), [4])

    def test_two_inputs_and_outputs(self):
        a, b = np.arange(16, dtype=np.int32).reshape(1, 16), np.full((1, 16), 3, np.int32)
        outputs = self.client.predict({"INPUT0": a, "INPUT1": b}, "simple")
        np.testing.assert_array_equal(outputs["OUTPUT0"], a + b)
        np.testing.assert_array_equal(outputs["OUTPUT1"], a - b)

    def test_strings(self):
        outputs = self.client.predict({"text": ["grüße", "", "b"]}, "text")
        self.assertEqual([bytes(word) for word in outputs], ["grüße".encode(), b"", b"b"])

    def test_wrong_input_name_is_an_invalid_argument(self):
        with self.assertRaisesRegex(errors.InvalidInputError, "input size does not match signature|missing"):
            self.client.predict({"z": np.zeros(1, np.float32)}, "half_plus_two")

    def test_wrong_dtype_is_an_invalid_argument(self):
        with self.assertRaises(errors.InvalidInputError):
            self.client.predict({"x": np.zeros(1, np.int64)}, "half_plus_two")

    def test_unknown_model_and_version_are_not_found(self):
        with self.assertRaises(errors.ModelNotFoundError):
            self.client.predict({"x": np.zeros(1, np.float32)}, "nothing")
        with self.assertRaises(errors.ModelNotFoundError):
            self.client.predict({"x": np.zeros(1, np.float32)}, "half_plus_two", 7)

    def test_metadata(self):
        metadata = self.client.get_model_metadata("half_plus_two")
        self.assertEqual(metadata["model_version"], 123)
        self.assertEqual(metadata["inputs"], {"x": {"shape": [-1], "dtype": "DT_FLOAT"}})
        self.assertEqual(metadata["outputs"], {"y": {"shape": [-1], "dtype": "DT_FLOAT"}})

    def test_status(self):
        status = self.client.get_model_status("half_plus_two")
        self.assertEqual(status[123]["state"], "AVAILABLE")
        self.assertEqual(status[123]["error_code"], 0)
        with self.assertRaises(errors.ModelNotFoundError):
            self.client.get_model_status("nothing")


class StubsTest(unittest.TestCase):
    """What a client may say that ovmsclient does not."""

    def setUp(self):
        self.channel = grpc.insecure_channel(node.grpc)
        self.addCleanup(self.channel.close)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def request(self, model="half_plus_two", **inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(value)
        return request

    def refused(self, call, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **({"timeout": 10} | options))
        return caught.exception

    def test_values_in_typed_fields(self):
        proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1, 2])
        proto.tensor_shape.dim.add(size=3)
        answer = self.predictions.Predict(self.request(x=proto), 10)
        np.testing.assert_array_equal(make_ndarray(answer.outputs["y"]), [3.5, 4, 4])

    def test_answer_says_model_version_and_signature(self):
        answer = self.predictions.Predict(self.request(x=make_tensor_proto(np.zeros(1, np.float32))), 10)
        self.assertEqual(answer.model_spec.name, "half_plus_two")
        self.assertEqual(answer.model_spec.version.value, 123)
        self.assertEqual(answer.model_spec.signature_name, "serving_default")

    def test_output_filter(self):
        value = make_tensor_proto(np.ones((2, 16), np.int32))
        request = self.request("simple", INPUT0=value, INPUT1=value)
        request.output_filter.append("OUTPUT1")
        self.assertEqual(list(self.predictions.Predict(request, 10).outputs), ["OUTPUT1"])
        request.output_filter[0] = "OUTPUT7"
        self.assertEqual(self.refused(self.predictions.Predict, request).code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_each_dtype_comes_back_as_it_went(self):
        values = {}
        for name, dtype in [("fp16", np.float16), ("fp32", np.float32), ("fp64", np.float64), ("int8", np.int8), ("int16", np.int16),
                            ("int32", np.int32), ("int64", np.int64), ("uint8", np.uint8), ("uint16", np.uint16), ("uint32", np.uint32),
                            ("uint64", np.uint64), ("bool", np.bool_)]:
            values[name] = np.array([[0, 1], [1, 0], [1, 1]], dtype)
        request = self.request("types", **{f"in_{name}": make_tensor_proto(value) for name, value in values.items()})
        text = request.inputs["in_text"]
        text.dtype = types_pb2.DT_STRING
        for extent in (3, 2):
            text.tensor_shape.dim.add(size=extent)
        text.string_val.extend([b"a", b"", b"\xff", b"d", b"e", b"f"])
        answer = self.predictions.Predict(request, 10)
        for name, value in values.items():
            with self.subTest(name):
                got = make_ndarray(answer.outputs[f"out_{name}"])
                self.assertEqual(got.dtype, value.dtype)
                np.testing.assert_array_equal(got, value)
        self.assertEqual(list(answer.outputs["out_text"].string_val), [b"a", b"", b"\xff", b"d", b"e", b"f"])

    def test_unknown_signature_and_missing_spec_are_invalid_arguments(self):
        request = self.request(x=make_tensor_proto(np.zeros(1, np.float32)))
        request.model_spec.signature_name = "nothing"
        self.assertIn(self.refused(self.predictions.Predict, request).code(), (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION))
        error = self.refused(self.predictions.Predict, predict_pb2.PredictRequest())
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("Missing ModelSpec", error.details())

    def test_shape_of_huge_extents_is_refused(self):
        proto = make_tensor_proto(np.zeros(1, np.float32))
        for extents in ([1 << 40], [1 << 62, 4], [-1], [1 << 50, 0]):
            with self.subTest(extents):
                del proto.tensor_shape.dim[:]
                for extent in extents:
                    proto.tensor_shape.dim.add(size=extent)
                if 0 in extents:
                    proto.tensor_content = b""
                self.assertEqual(self.refused(self.predictions.Predict, self.request(x=proto)).code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_no_rows_are_an_answer_of_no_rows(self):
        answer = self.predictions.Predict(self.request(x=make_tensor_proto(np.zeros(0, np.float32), shape=[0])), 10)
        self.assertEqual(make_ndarray(answer.outputs["y"]).shape, (0,))

    def test_gzip_compressed_call(self):
        value = np.zeros(10000, np.float32)
        answer = self.predictions.Predict(self.request(x=make_tensor_proto(value)), 10, compression=grpc.Compression.Gzip)
        np.testing.assert_array_equal(make_ndarray(answer.outputs["y"]), value + 3)

    def test_many_calls_at_once(self):
        calls = [(i, self.predictions.Predict.future(self.request(x=make_tensor_proto(np.full(1 + i % 7, i, np.float32))), 20)) for i in range(200)]
        for i, call in calls:
            np.testing.assert_array_equal(make_ndarray(call.result().outputs["y"]), np.full(1 + i % 7, i / 2 + 3))

    def test_status_of_one_version(self):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "half_plus_two"
        request.model_spec.version.value = 123
        states = self.models.GetModelStatus(request, 10).model_version_status
        self.assertEqual([(s.version, s.state) for s in states], [(123, get_model_status_pb2.ModelVersionStatus.AVAILABLE)])
        request.model_spec.version.value = 9
        self.assertEqual(self.refused(self.models.GetModelStatus, request).code(), grpc.StatusCode.NOT_FOUND)

    def test_metadata_wants_its_field_named(self):
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = "half_plus_two"
        self.assertEqual(self.refused(self.predictions.GetModelMetadata, request).code(), grpc.StatusCode.INVALID_ARGUMENT)
        request.metadata_field.append("nothing")
        self.assertEqual(self.refused(self.predictions.GetModelMetadata, request).code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_unknown_method_is_unimplemented(self):
        call = self.channel.unary_unary("/tensorflow.serving.PredictionService/Nothing")
        self.assertEqual(self.refused(call, b"").code(), grpc.StatusCode.UNIMPLEMENTED)

    def example(self, request, x, tags, context=False):
        from ovmsclient.tfs_compat.protos.tensorflow.core.example import example_pb2
        example = example_pb2.Example()
        example.features.feature["x"].float_list.value.extend(x)
        example.features.feature["tag"].bytes_list.value.extend(tags)
        example.features.feature["ignored"].int64_list.value.append(1)
        request.input.example_list.examples.append(example)

    def test_classify(self):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "grade"
        self.example(request, [1, 2], [b"cat", b"dog"])
        self.example(request, [3, 4], [b"cow", b""])
        answer = self.predictions.Classify(request, 10)
        self.assertEqual([[(c.label, c.score) for c in row.classes] for row in answer.result.classifications],
                         [[("cat", 2), ("dog", 4)], [("cow", 6), ("", 8)]])
        self.assertEqual(answer.model_spec.name, "grade")

    def test_regress(self):
        request = regression_pb2.RegressionRequest()
        request.model_spec.name = "grade"
        request.model_spec.signature_name = "regress"
        self.example(request, [1, 2], [b"", b""])
        self.example(request, [3, 4], [b"", b""])
        self.assertEqual([r.value for r in self.predictions.Regress(request, 10).result.regressions], [6, 14])

    def test_classify_without_examples_or_with_a_feature_missing(self):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "grade"
        self.assertEqual(self.refused(self.predictions.Classify, request).code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.example(request, [1], [b"a", b"b"])
        self.assertEqual(self.refused(self.predictions.Classify, request).code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_multi_inference(self):
        request = inference_pb2.MultiInferenceRequest()
        for method, signature in (("classify", "serving_default"), ("regress", "regress")):
            task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
            task.model_spec.name = "grade"
            task.model_spec.signature_name = signature
        self.example(request, [1, 2], [b"cat", b"dog"])
        results = self.predictions.MultiInference(request, 10).results
        self.assertEqual([c.label for c in results[0].classification_result.classifications[0].classes], ["cat", "dog"])
        self.assertEqual([r.value for r in results[1].regression_result.regressions], [6])


class ReloadTest(unittest.TestCase):
    def test_reload_config_replaces_the_models(self):
        with ServingNode("--model", "half_plus_two={models}/half_plus_two") as own, grpc.insecure_channel(own.grpc) as channel:
            request = model_management_pb2.ReloadConfigRequest()
            config = request.config.model_config_list.config.add(name="text", base_path=str(own.models / "text"), model_platform="tensorflow")
            models = model_service_pb2_grpc.ModelServiceStub(channel)
            self.assertEqual(models.HandleReloadConfigRequest(request, 30).status.error_code, 0)
            client = ovmsclient.make_grpc_client(own.grpc)
            self.assertEqual([bytes(w) for w in client.predict({"text": ["a"]}, "text")], [b"a"])
            with self.assertRaises(errors.ModelNotFoundError):
                client.predict({"x": [1.0]}, "half_plus_two")
            # A configuration that is refused changes nothing.
            request.config.model_config_list.config.add().CopyFrom(config)
            config.name = "other"
            request.config.model_config_list.config[1].name = "other"
            with self.assertRaises(grpc.RpcError) as caught:
                models.HandleReloadConfigRequest(request, 30)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertEqual([bytes(w) for w in client.predict({"text": ["a"]}, "text")], [b"a"])
