#!/usr/bin/env python3
"""Exports pairs of models that share a trunk, by the exporters people use: the models that the tests beside read.

Made with torch, onnxscript, tensorflow-cpu, tf2onnx, scikit-learn, skl2onnx, jax and jax2onnx from PyPI: export.py FOLDER
[torch] [tensorflow] [sklearn] [jax]; none named: all. Each pair is
FAMILY_a.onnx and FAMILY_b.onnx; FAMILY_again.onnx is the network of FAMILY_a exported a second time under other names,
traced_again without folding constants, captured_raw without the exporter's optimiser.
"""

import logging
import pathlib
import sys
import warnings

import numpy as np
import onnx

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def save(folder, name, model):
    """Leaves out what says which line of whose source a node comes from."""
    graph = model.graph
    for owner in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph, model):
        owner.doc_string = ""
        del owner.metadata_props[:]
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def from_torch(folder):
    import torch
    from torch import nn

    class Trunk(nn.Module):
        """A convolution, and attention over its columns."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
            self.project = nn.Linear(32, 16)
            self.attend = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, image):
            columns = self.conv(image).flatten(1, 2).transpose(1, 2)
            return self.attend(self.project(columns)).mean(1)

    class Classifier(nn.Module):
        def __init__(self, trunk, classes):
            super().__init__()
            self.trunk, self.head = trunk, nn.Linear(16, classes)

        def forward(self, image):
            return self.head(self.trunk(image)).softmax(-1)

    class Scaled(nn.Module):
        """The same trunk behind work of its own, beside another input, which comes first."""

        def __init__(self, trunk):
            super().__init__()
            self.trunk, self.mix = trunk, nn.Linear(19, 1)

        def forward(self, extra, picture):
            return self.mix(torch.cat([extra, self.trunk(picture / 255.0)], 1)).sigmoid()

    torch.manual_seed(1)
    trunk = Trunk()
    for norm in (trunk.conv[1],):
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 1.5)
    classifier, scaled = Classifier(trunk, 10).eval(), Scaled(trunk).eval()
    image, extra = torch.rand(2, 1, 8, 8), torch.rand(2, 3)
    path = folder / "temporary.onnx"

    def export(name, model, inputs, names, batch, **options):
        if options.get("dynamo"):
            options["dynamic_shapes"] = tuple({0: torch.export.Dim(batch)} for _ in inputs)
        else:
            options["dynamic_axes"] = {name: {0: batch} for name in names}
        torch.onnx.export(model, inputs, path, input_names=names, **options)
        save(folder, name, onnx.load(path))
        path.unlink()
        path.with_name(path.name + ".data").unlink(missing_ok=True)

    traced = {"dynamo": False, "opset_version": 17}
    export("traced_a", classifier, (image,), ["image"], "batch", **traced)
    export("traced_b", scaled, (extra, image), ["extra", "picture"], "N", **traced)
    export("traced_again", classifier, (image,), ["x"], "rows", do_constant_folding=False, **traced)
    captured = {"dynamo": True, "opset_version": 18, "external_data": False, "verbose": False}
    export("captured_a", classifier, (image,), ["image"], "batch", **captured)
    export("captured_b", scaled, (extra, image), ["extra", "picture"], "rows", **captured)
    export("captured_again", classifier, (image,), ["x"], "rows", **captured)
    export("captured_raw", classifier, (image,), ["x"], "rows", optimize=False, **captured)


def from_tensorflow(folder):
    import tensorflow as tf
    import tf2onnx

    tf.keras.utils.set_random_seed(2)
    layers = tf.keras.layers

    def tower(size, name):
        return tf.keras.Sequential(
            [layers.Input([size]), layers.Dense(32, "relu"), layers.BatchNormalization(), layers.Dense(16, "tanh")], name=name
        )

    user, item = tower(12, "user"), tower(20, "item")
    image = tf.keras.Sequential(
        [layers.Input([8, 8, 1]), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
         layers.Dense(16, "relu")], name="image"
    )  # fmt: skip
    head, other = layers.Dense(10, "softmax"), layers.Dense(1, "sigmoid")
    mix = layers.Dense(1)
    for norm in (user.layers[1], item.layers[1]):
        norm.moving_mean.assign(tf.random.normal([32]))

    def convert(name, function, *inputs):
        specs = [tf.TensorSpec([None, *shape], tf.float32, name=n) for n, shape in inputs]
        model, _ = tf2onnx.convert.from_function(tf.function(function), input_signature=specs, opset=17)
        save(folder, name, model)

    pixels = [8, 8, 1]
    convert("keras_a", lambda image_in: head(image(image_in)), ("image_in", pixels))
    convert("keras_b", lambda photo: other(image(photo)), ("photo", pixels))
    convert("towers_a", lambda user_in, item_in: tf.reduce_sum(user(user_in) * item(item_in), 1),
            ("user_in", [12]), ("item_in", [20]))  # fmt: skip
    convert("towers_b", lambda thing, person: mix(tf.concat([user(person), item(thing)], 1)),
            ("thing", [20]), ("person", [12]))  # fmt: skip


def from_sklearn(folder):
    from skl2onnx import to_onnx
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(3)
    rows = draw.normal(size=(200, 40)).astype(np.float32)
    labels = rows[:, :3].argmax(1)
    scale, project = StandardScaler().fit(rows), None
    project = PCA(16, random_state=0).fit(scale.transform(rows))
    features = project.transform(scale.transform(rows))
    options = {"zipmap": False}
    for name, model, given in (
        ("pipeline_a", LogisticRegression().fit(features, labels), options),
        ("pipeline_b", Ridge().fit(features, rows[:, 5]), None),
    ):
        pipeline = Pipeline([("scale", scale), ("project", project), ("model", model)])
        save(folder, name, to_onnx(pipeline, rows[:1], target_opset=17,
                                   options={id(model): given} if given else None))  # fmt: skip


def from_jax(folder):
    import jax
    import jax.numpy as jnp
    from jax2onnx import to_onnx

    draw = np.random.default_rng(4)

    def weight(*shape):
        return jnp.asarray(draw.normal(scale=0.3, size=shape).astype(np.float32))

    kernel, bias, dense, shift, gain = weight(3, 3, 1, 8), weight(8), weight(8, 16), weight(16), weight(16)
    classes, score = weight(16, 10), weight(16, 1)

    def trunk(image):
        """A convolution, a layer with gelu, and a layer normalisation written out."""
        layout = ("NHWC", "HWIO", "NHWC")
        h = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout) + bias
        h = jax.nn.gelu(jax.nn.relu(h).mean((1, 2)) @ dense + shift)
        mean = h.mean(-1, keepdims=True)
        spread = ((h - mean) ** 2).mean(-1, keepdims=True)
        return (h - mean) * jax.lax.rsqrt(spread + 1e-5) * gain

    def classifier(image):
        return jax.nn.softmax(trunk(image) @ classes)

    def scaled(extra, picture):
        return jax.nn.sigmoid(trunk(picture / 255) @ score + extra.sum(-1, keepdims=True))

    image = ("B", 8, 8, 1)
    save(folder, "jax_a", to_onnx(classifier, [image], model_name="classifier"))
    save(folder, "jax_b", to_onnx(scaled, [("B", 3), image], model_name="scaled"))


def main():
    folder = pathlib.Path(sys.argv[1])
    exports = {"sklearn": from_sklearn, "torch": from_torch, "tensorflow": from_tensorflow, "jax": from_jax}
    for name in sys.argv[2:] or exports:
        exports[name](folder)


if __name__ == "__main__":
    main()
