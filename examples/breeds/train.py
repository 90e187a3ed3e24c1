#!/usr/bin/env python3
"""Trains the four models of the breeds example on pictures that generate.py draws, and exports them as ONNX: pixels in.

`breed-gate` is a small convolutional network that says how likely a cat and a dog are; `breed-cats` and `breed-dogs` are
convolutional networks that were shown animals of their kind only; `breed-general` is a network of the same size that was
shown all of them. All take `image` uint8[N,20,20] and scale it themselves.

Writes beside this file: packages/NAME/1, heldout_images.u8, heldout_labels.u8 (per picture the breed, and the best guess).
Takes a minute and a half of one core.
"""

import argparse
import pathlib
import sys

import numpy as np
from onnx import TensorProto

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from generate import CATS, NAMES, SIDE, pictures  # noqa: E402
from training import Adam, Graph, batches  # noqa: E402

TRAIN = {"seed": 21, "count": 20000}
HELD_OUT = {"seed": 23, "count": 1000}
SEED = 7
BATCH = 64


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def scaled(images):
    return images.astype(np.float32) / np.float32(255)


def normal(random, *shape):
    return (random.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)


class Dense:
    """Inputs -> hidden, ReLU -> logits. Weights in `weights` under NAME."""

    def __init__(self, random, inputs, hidden, classes):
        self.weights = {
            "hidden": normal(random, inputs, hidden),
            "hidden_bias": np.zeros(hidden, np.float32),
            "out": normal(random, hidden, classes),
            "out_bias": np.zeros(classes, np.float32),
        }

    def forward(self, x):
        w = self.weights
        hidden = np.maximum(x @ w["hidden"] + w["hidden_bias"], 0)
        return hidden @ w["out"] + w["out_bias"], (x, hidden)

    def backward(self, error, kept):
        """Gradients of the weights, and of the inputs."""
        x, hidden = kept
        by_hidden = (error @ self.weights["out"].T) * (hidden > 0)
        gradients = {
            "hidden": x.T @ by_hidden,
            "hidden_bias": by_hidden.sum(axis=0),
            "out": hidden.T @ error,
            "out_bias": error.sum(axis=0),
        }
        return gradients, by_hidden @ self.weights["hidden"].T

    def export(self, graph, inputs):
        for name, array in self.weights.items():
            graph.weight(name, array)
        graph.op("Gemm", [inputs, "hidden", "hidden_bias"], "hidden_sum")
        graph.op("Relu", ["hidden_sum"], "hidden_layer")
        return graph.op("Gemm", ["hidden_layer", "out", "out_bias"], "logits")


class Convolution:
    """3×3, ReLU, over [rows, height, width, channels]."""

    def __init__(self, random, channels, filters, stride):
        self.kernel = normal(random, 9 * channels, filters)
        self.bias = np.zeros(filters, np.float32)
        self.channels, self.stride = channels, stride

    def forward(self, x):
        rows, side = x.shape[:2]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = np.concatenate(
            [padded[:, i : i + side : self.stride, j : j + side : self.stride] for i in range(3) for j in range(3)], axis=3
        )
        out = np.maximum(patches @ self.kernel + self.bias, 0)
        return out, (patches, out, side)

    def backward(self, error, kept):
        patches, out, side = kept
        error = error * (out > 0)
        flat = error.reshape(-1, error.shape[3])
        by_kernel = patches.reshape(-1, patches.shape[3]).T @ flat
        by_patches = error @ self.kernel.T
        by_padded = np.zeros((len(error), side + 2, side + 2, self.channels), np.float32)
        for at in range(9):
            i, j = divmod(at, 3)
            of_pixel = by_patches[:, :, :, at * self.channels : (at + 1) * self.channels]
            by_padded[:, i : i + side : self.stride, j : j + side : self.stride] += of_pixel
        return by_kernel, flat.sum(axis=0), by_padded[:, 1:-1, 1:-1]

    def export(self, graph, name, source):
        kernel = self.kernel.reshape(3, 3, self.channels, -1).transpose(3, 2, 0, 1)
        graph.weight(f"{name}_kernel", np.ascontiguousarray(kernel))
        graph.weight(f"{name}_bias", self.bias)
        inputs = [source, f"{name}_kernel", f"{name}_bias"]
        graph.op("Conv", inputs, f"{name}_sum", strides=[self.stride] * 2, pads=[1, 1, 1, 1])
        return graph.op("Relu", [f"{name}_sum"], name)


class Network:
    """Convolutions, each (filters, stride), and two dense layers."""

    def __init__(self, classes, convolutions, hidden):
        random = np.random.default_rng(SEED)
        self.layers, channels, side = [], 1, SIDE
        for filters, stride in convolutions:
            self.layers.append(Convolution(random, channels, filters, stride))
            channels, side = filters, side // stride
        self.dense = Dense(random, side * side * channels, hidden, classes)
        self.weights = dict(self.dense.weights)
        for at, layer in enumerate(self.layers):
            self.weights |= {f"kernel{at}": layer.kernel, f"bias{at}": layer.bias}

    def logits(self, images):
        x, kept = scaled(images)[:, :, :, None], []
        for layer in self.layers:
            x, of_layer = layer.forward(x)
            kept.append(of_layer)
        logits, of_dense = self.dense.forward(x.reshape(len(x), -1))
        return logits, (kept, of_dense, x.shape)

    def gradients(self, error, kept):
        of_layers, of_dense, shape = kept
        gradients, back = self.dense.backward(error, of_dense)
        back = back.reshape(shape)
        for at in reversed(range(len(self.layers))):
            gradients[f"kernel{at}"], gradients[f"bias{at}"], back = self.layers[at].backward(back, of_layers[at])
        return gradients

    def graph(self, name):
        """Pixels -> logits, as ONNX."""
        graph = Graph(name)
        graph.input("image", TensorProto.UINT8, ["N", SIDE, SIDE])
        graph.op("Cast", ["image"], "pixels", to=TensorProto.FLOAT)
        graph.op("Div", ["pixels", graph.float("white", 255)], "grey")
        graph.op("Unsqueeze", ["grey", graph.ints("channel", 1)], "planes")
        tensor = "planes"
        for at, layer in enumerate(self.layers):
            tensor = layer.export(graph, f"convolution{at}", tensor)
        graph.op("Transpose", [tensor], "by_place", perm=[0, 2, 3, 1])
        graph.op("Flatten", ["by_place"], "features")
        self.dense.export(graph, "features")
        return graph

    def export_gate(self, name):
        graph = self.graph(name)
        graph.op("Identity", ["logits"], "gate")
        graph.output("gate", TensorProto.FLOAT, ["N", 2])
        return graph.save(HERE / "packages")

    def export(self, name, first):
        """Its classes begin with breed `first`; of all others it says 0."""
        graph = self.graph(name)
        classes = len(self.weights["out_bias"])
        graph.op("Softmax", ["logits"], "own" if classes < len(NAMES) else "probabilities", axis=1)
        if classes < len(NAMES):
            pads = graph.ints("pads", 0, first, 0, len(NAMES) - first - classes)
            graph.op("Pad", ["own", pads, graph.float("nothing", 0)], "probabilities")
        graph.output("probabilities", TensorProto.FLOAT, ["N", len(NAMES)])
        return graph.save(HERE / "packages")


def train(model, images, truth, epochs):
    random = np.random.default_rng(SEED)
    adam = Adam(model.weights, 2e-3, decay=1e-2)
    classes = np.eye(truth.max() + 1, dtype=np.float32)
    for epoch in range(epochs):
        adam.rate = 2e-3 * (1 - epoch / epochs)
        for rows in batches(random, len(images), BATCH):
            logits, kept = model.logits(images[rows])
            adam.update(model.gradients((softmax(logits) - classes[truth[rows]]) / np.float32(len(rows)), kept))
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filters", type=int, default=8, help="of an expert's first convolution; later ones have twice as many")
    parser.add_argument("--hidden", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=16)
    arguments = parser.parse_args()

    images, breeds, _ = pictures(**TRAIN)
    cat = breeds < CATS
    size = [(arguments.filters, 1), (2 * arguments.filters, 2), (2 * arguments.filters, 2)], arguments.hidden
    gate = train(Network(2, [(5, 2), (10, 2)], 16), images, (~cat).astype(np.int64), arguments.epochs)
    cats = train(Network(CATS, *size), images[cat], breeds[cat], arguments.epochs)
    dogs = train(Network(len(NAMES) - CATS, *size), images[~cat], breeds[~cat] - CATS, arguments.epochs)
    general = train(Network(len(NAMES), *size), images, breeds, arguments.epochs)
    print(f"breed-gate: {gate.export_gate('breed-gate')} bytes")
    print(f"breed-cats: {cats.export('breed-cats', 0)} bytes")
    print(f"breed-dogs: {dogs.export('breed-dogs', CATS)} bytes")
    print(f"breed-general: {general.export('breed-general', 0)} bytes")

    images, breeds, best = pictures(**HELD_OUT)
    (HERE / "heldout_images.u8").write_bytes(images.tobytes())
    (HERE / "heldout_labels.u8").write_bytes(np.stack([breeds, best], axis=1).astype(np.uint8).tobytes())
    cat = breeds < CATS
    gates = gate.logits(images)[0]
    of_cats, of_dogs = softmax(cats.logits(images)[0]), softmax(dogs.logits(images)[0])
    wide = np.concatenate([of_cats, of_dogs], axis=1)
    weights = np.repeat(softmax(gates), CATS, axis=1)
    chosen = np.where((gates[:, 0] >= gates[:, 1])[:, None], [1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1])

    def right(scores):
        return np.mean(scores.argmax(axis=1) == breeds)

    print(f"gate: {np.mean((gates[:, 0] >= gates[:, 1]) == cat):.4f} of pictures to the expert for them")
    print(f"breed-cats alone: {right(np.pad(of_cats, ((0, 0), (0, CATS)))):.4f}; of cats {np.mean(of_cats.argmax(axis=1)[cat] == breeds[cat]):.4f}")
    print(f"breed-dogs alone: {right(np.pad(of_dogs, ((0, 0), (CATS, 0)))):.4f}; of dogs {np.mean(of_dogs.argmax(axis=1)[~cat] + CATS == breeds[~cat]):.4f}")
    print(f"breed-general: {right(general.logits(images)[0]):.4f}")
    print(f"experts, k 1: {right(wide * chosen):.4f}; k 2: {right(wide * weights):.4f}; mean: {right(wide):.4f}")
    print(f"at best: {np.mean(best == breeds):.4f}")


if __name__ == "__main__":
    main()
