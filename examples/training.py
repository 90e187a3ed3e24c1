"""What the training scripts of the examples share: an optimiser and a writer of ONNX graphs. No framework: numpy."""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # StringSplit, RegexFullMatch
ML_OPSET = 3
IR_VERSION = 9


class Adam:
    """Updates arrays in place, by name."""

    def __init__(self, weights, rate, decay=0.0):
        self.weights, self.rate, self.decay, self.step = weights, rate, decay, 0
        self.mean = {name: np.zeros_like(array) for name, array in weights.items()}
        self.square = {name: np.zeros_like(array) for name, array in weights.items()}

    def update(self, gradients):
        self.step += 1
        for name, gradient in gradients.items():
            weight, mean, square = self.weights[name], self.mean[name], self.square[name]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            unbiased = mean / np.float32(1 - 0.9**self.step)
            spread = np.sqrt(square / np.float32(1 - 0.999**self.step)) + np.float32(1e-8)
            weight -= np.float32(self.rate) * (unbiased / spread + np.float32(self.decay) * weight)


def batches(random, count, size):
    """Indices of all of `count`, in random order, `size` at a time."""
    order = random.permutation(count)
    return [order[begin : begin + size] for begin in range(0, count, size)]


class Graph:
    """An ONNX graph under construction. Tensors are named after the step that makes them."""

    def __init__(self, name):
        self.name, self.nodes, self.weights, self.inputs, self.outputs = name, [], {}, [], []

    def input(self, name, dtype, shape):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def weight(self, name, array):
        self.weights[name] = np.asarray(array)
        return name

    def ints(self, name, *values):
        return self.weight(name, np.array(values, np.int64))

    def float(self, name, value):
        return self.weight(name, np.float32(value))

    def text(self, name, value, shape=()):
        """A constant string; numpy's own type of strings is not ONNX's."""
        self.weights[name] = helper.make_tensor(name, TensorProto.STRING, shape, [value.encode()])
        return name

    def op(self, kind, inputs, output, domain="", **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def output(self, name, dtype, shape):
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def save(self, folder):
        """folder/NAME/1/model.onnx; its size in bytes."""
        tensors = [
            value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value, key)
            for key, value in self.weights.items()
        ]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, tensors)
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == "ai.onnx.ml" for node in self.nodes):
            opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
        model = helper.make_model(graph, producer_name="portico-examples", opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        path = pathlib.Path(folder) / self.name / "1" / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.write_bytes(model.SerializeToString(deterministic=True))
