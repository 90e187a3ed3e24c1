#!/usr/bin/env python3
"""Trains the two products of the digits example and exports them as whole ONNX models.

One encoder (64 -> 96 -> 48, ReLU) and two heads, `digit` (which of ten) and `parity` (even or odd). The encoder is trained
with the digit head; the parity head is then fitted on the frozen features. Both exported models hold the same encoder, bit
for bit, so that it can be cut out of each and served once.

For the cascade, a trigger that is much cheaper and not as good: a linear model of the pixels, trained on three
quarters of the images that the encoder was trained on. The last quarter, which it has not seen, is there to tune on.

Writes beside this file: digit.onnx, parity.onnx, heldout_images.f32, heldout_labels.u8; below cascade/: the trigger's
package, calibration.npz, heldout.npz.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = pathlib.Path(__file__).resolve().parent
CASCADE = HERE / "cascade"
SEED = 7
HIDDEN = 96
FEATURES = 48
LARGEST_PIXEL = 16.0
HELD_OUT = 360
CALIBRATION = 360


def features_of(images, encoder):
    """What the exported encoder computes; `encoder` is a list of (weight, bias)."""
    x = images / np.float32(LARGEST_PIXEL)
    for weight, bias in encoder:
        x = np.maximum(x @ weight + bias, 0)
    return x


def export(name, encoder, head, classes):
    """Saves NAME.onnx: image -> scaling -> encoder -> features -> head -> probabilities, label."""
    nodes = [helper.make_node("Div", ["image", "largest_pixel"], ["pixels"], name="scale")]
    weights = {"largest_pixel": np.array(LARGEST_PIXEL, np.float32)}

    def dense(layer, source, target, weight, bias):
        weights[f"{layer}.weight"] = weight
        weights[f"{layer}.bias"] = bias
        nodes.append(helper.make_node("Gemm", [source, f"{layer}.weight", f"{layer}.bias"], [target], name=layer))

    dense("encoder.0", "pixels", "hidden_sum", *encoder[0])
    nodes.append(helper.make_node("Relu", ["hidden_sum"], ["hidden"], name="encoder.0.relu"))
    dense("encoder.1", "hidden", "features_sum", *encoder[1])
    nodes.append(helper.make_node("Relu", ["features_sum"], ["features"], name="encoder.1.relu"))
    dense(f"{name}.head", "features", "logits", *head)
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], name=f"{name}.softmax", axis=1))
    nodes.append(helper.make_node("ArgMax", ["logits"], ["label"], name=f"{name}.argmax", axis=1, keepdims=0))

    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 64])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        ],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    model = helper.make_model(
        graph, producer_name="portico-digits", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def train_trigger(images, digits):
    """(weight, bias) of pixels as they come, scaling included."""
    linear = LogisticRegression(max_iter=2000, C=0.1).fit(images / LARGEST_PIXEL, digits)
    return (linear.coef_.T / LARGEST_PIXEL).astype(np.float32), linear.intercept_.astype(np.float32)


def export_trigger(weight, bias, path):
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["image", "weight", "bias"], ["logits"], name="linear"),
            helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=1),
            helper.make_node("ArgMax", ["logits"], ["label"], name="argmax", axis=1, keepdims=0),
        ],
        "digit_trigger",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 64])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        ],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(
        graph, producer_name="portico-digits", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def main():
    images, digits = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits, test_size=HELD_OUT, stratify=digits, random_state=SEED
    )

    network = MLPClassifier((HIDDEN, FEATURES), alpha=1e-2, max_iter=400, random_state=SEED)
    network.fit(train_x / LARGEST_PIXEL, train_y)
    layers = [
        (weight.astype(np.float32), bias.astype(np.float32))
        for weight, bias in zip(network.coefs_, network.intercepts_)
    ]
    encoder, digit_head = layers[:2], layers[2]

    parity = LogisticRegression(max_iter=2000).fit(features_of(train_x, encoder), train_y % 2)
    # Two columns, so that Softmax gives what the one-column sigmoid gives.
    odd = parity.coef_[0].astype(np.float32)
    parity_head = (
        np.stack([np.zeros_like(odd), odd], axis=1),
        np.array([0, parity.intercept_[0]], np.float32),
    )

    export("digit", encoder, digit_head, 10)
    export("parity", encoder, parity_head, 2)
    (HERE / "heldout_images.f32").write_bytes(np.ascontiguousarray(test_x, "<f4").tobytes())
    (HERE / "heldout_labels.u8").write_bytes(test_y.astype(np.uint8).tobytes())

    fit_x, calibration_x, fit_y, calibration_y = train_test_split(
        train_x, train_y, test_size=CALIBRATION, stratify=train_y, random_state=SEED
    )
    trigger = train_trigger(fit_x, fit_y)
    export_trigger(*trigger, CASCADE / "packages/digit-trigger/1/model.onnx")
    for name, x, y in (("calibration", calibration_x, calibration_y), ("heldout", test_x, test_y)):
        np.savez_compressed(CASCADE / f"{name}.npz", image=np.ascontiguousarray(x, "<f4"), digit=y.astype(np.uint8))

    held_out_features = features_of(test_x, encoder)
    for name, head, truth in (("digit", digit_head, test_y), ("parity", parity_head, test_y % 2)):
        predicted = np.argmax(held_out_features @ head[0] + head[1], axis=1)
        print(f"{name}: {np.sum(predicted == truth)} of {len(truth)} held-out images right, {np.mean(predicted == truth):.4f}")
    predicted = np.argmax(test_x @ trigger[0] + trigger[1], axis=1)
    print(f"trigger: {np.sum(predicted == test_y)} of {len(test_y)} held-out images right, {np.mean(predicted == test_y):.4f}")


if __name__ == "__main__":
    main()
