"""Portals to servers that nobody here wrote: MLServer over the Open Inference Protocol, by gRPC and REST; and over the TensorFlow Serving API gRPC's own server
with the generated service and message classes that come with ovmsclient, and its tensor conversions."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton
from ovmsclient.tfs_compat.grpc.tensors import make_ndarray, make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    get_model_status_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc)
from tritonclient.utils import InferenceServerException

from held_port import HeldPort
from serving import ServingNode

HERE = pathlib.Path(__file__).resolve().parent


class MlServer:
    """An MLServer process with one model, `ranker`."""

    def __init__(self):
        self.venv = subprocess.run([HERE / "install.sh", "mlserver.txt"], check=True, capture_output=True, text=True).stdout.strip()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portico_mlserver_"))
        self.held = [HeldPort() for _ in range(3)]
        self.http, self.port, metrics = (held.number for held in self.held)
        (self.folder / "settings.json").write_text(json.dumps({
            "host": "127.0.0.1", "http_port": self.http, "grpc_port": self.port, "metrics_port": metrics, "parallel_workers": 0}))
        (self.folder / "model-settings.json").write_text(json.dumps({"name": "ranker", "implementation": "ranker.Ranker"}))
        shutil.copy(HERE / "ranker.py", self.folder)
        self.process = None

    def start(self):
        self.log = open(self.folder / "log", "a")
        self.process = subprocess.Popen([f"{self.venv}/bin/mlserver", "start", "."], cwd=self.folder, stdout=self.log, stderr=self.log,
                                        env={**os.environ, "PYTHONPATH": str(self.folder)})
        client = triton.InferenceServerClient(f"127.0.0.1:{self.port}")
        deadline = time.monotonic() + 180
        while True:
            try:
                if client.is_model_ready("ranker"):
                    break
            except InferenceServerException:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("mlserver did not start:\n" + (self.folder / "log").read_text())
            time.sleep(0.1)
        client.close()
        return self

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def close(self):
        self.stop()
        for held in self.held:
            held.close()


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        x = make_ndarray(request.inputs["x"])
        words = make_ndarray(request.inputs["words"])
        if x.max() > 1000:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "x is too large for this model")
        response = predict_pb2.PredictResponse()
        response.outputs["upper"].CopyFrom(make_tensor_proto(np.char.upper(words.astype(bytes))))
        response.outputs["unasked"].CopyFrom(make_tensor_proto(x))
        response.outputs["doubled"].CopyFrom(make_tensor_proto(x * 2))
        return response


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        if request.model_spec.name != "ranker":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        status = response.model_version_status.add()
        status.version = 1
        status.state = get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
        return response


def through(address, x):
    """score and loud of the model `through`, whose portal leads to `ranker`."""
    client = triton.InferenceServerClient(address)
    inputs = []
    words = np.array([[f"w{i}".encode()] for i in range(len(x))], dtype=object)
    for name, value, datatype in (("x", np.array(x, np.float32).reshape(-1, 1), "FP32"), ("words", words, "BYTES")):
        inputs.append(triton.InferInput(name, list(value.shape), datatype))
        inputs[-1].set_data_from_numpy(value)
    try:
        result = client.infer("through", inputs, client_timeout=20)
        return result.as_numpy("score").ravel().tolist(), [w.decode() for w in result.as_numpy("loud").ravel()]
    finally:
        client.close()


class MlServerTests:
    """What holds over either wire. `refusal`: what the server says when the model raises an error."""
    scheme = None
    refusal = None

    @classmethod
    def setUpClass(cls):
        cls.server = MlServer().start()
        cls.addClassCleanup(shutil.rmtree, cls.server.folder)
        cls.node = ServingNode("--model", "through={models}/through",
                               "--remote", f"ranker={cls.scheme}://127.0.0.1:{cls.port()}?model=ranker").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.stop()
        cls.server.close()

    def test_portal_answers(self):
        self.assertEqual(through(self.node.grpc, [1, 2, 3]), ([3, 5, 7], ["W0", "W1", "W2"]))

    def test_large_tensors(self):
        score, loud = through(self.node.grpc, [0.5] * 100000)
        self.assertEqual(score, [2.0] * 100000)
        self.assertEqual(loud[99999], "W99999")

    def test_an_error_of_the_model_names_portal_and_server(self):
        with self.assertRaises(InferenceServerException) as caught:
            through(self.node.grpc, [2000])
        self.assertIn(f"portal to 'ranker' at {self.scheme}://127.0.0.1", caught.exception.message())
        self.assertIn(self.refusal, caught.exception.message())

    def test_a_server_that_was_away_is_found_again(self):
        self.server.stop()
        with self.assertRaises(InferenceServerException) as caught:
            through(self.node.grpc, [1])
        self.assertEqual(caught.exception.status(), "StatusCode.UNAVAILABLE")
        self.server.start()
        deadline = time.monotonic() + 180
        while True:
            try:
                self.assertEqual(through(self.node.grpc, [1]), ([3], ["W0"]))
                return
            except InferenceServerException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


class MlServerGrpcTest(MlServerTests, unittest.TestCase):
    scheme = "v2+grpc"
    refusal = "x is too large for this model"

    @classmethod
    def port(cls):
        return cls.server.port


class MlServerRestTest(MlServerTests, unittest.TestCase):
    scheme = "v2+http"
    # Over REST MLServer says where in its code an error came up, and not which.
    refusal = "the server answered HTTP 500"

    @classmethod
    def port(cls):
        return cls.server.http


class TfsServerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), cls.server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(), cls.server)
        port = cls.server.add_insecure_port("127.0.0.1:0")
        cls.server.start()
        cls.node = ServingNode("--model", "through={models}/through", "--remote",
                               f"ranker=tfs+grpc://127.0.0.1:{port}?model=ranker").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.stop()
        cls.server.stop(None)

    def test_portal_answers(self):
        self.assertEqual(through(self.node.grpc, [1, 2, 3]), ([3, 5, 7], ["W0", "W1", "W2"]))

    def test_a_full_server_is_told_as_such(self):
        with self.assertRaises(InferenceServerException) as caught:
            through(self.node.grpc, [2000])
        self.assertEqual(caught.exception.status(), "StatusCode.RESOURCE_EXHAUSTED")


if __name__ == "__main__":
    unittest.main()
