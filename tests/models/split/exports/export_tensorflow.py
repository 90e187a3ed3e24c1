#!/usr/bin/env python3
"""Exports what TensorFlow's users write for embeddings: tensorflow_NAME.onnx, which the tests beside read.

Made with tensorflow-cpu and tf2onnx from PyPI; export_tensorflow.py FOLDER.
"""

import pathlib
import sys

import tensorflow as tf
import tf2onnx

ROWS, DIM, BAG = 40, 4, 5


def cases():
    table = tf.Variable(tf.random.normal([ROWS, DIM], seed=1))
    other = tf.Variable(tf.random.normal([ROWS + 1, DIM], seed=2))
    ids, ids32 = (tf.TensorSpec([None, BAG], dtype, name="ids") for dtype in (tf.int64, tf.int32))
    yield "sum", lambda ids: tf.reduce_sum(tf.gather(table, ids), axis=1), ids32

    def masked(ids):
        there = tf.cast(tf.not_equal(ids, 0), tf.float32)
        return tf.reduce_sum(tf.nn.embedding_lookup(table, ids) * there[..., None], axis=1)

    yield "masked", masked, ids
    lookup = tf.nn.embedding_lookup
    yield "columns", lambda ids: tf.concat([lookup(table, ids[:, 0]), lookup(other, ids[:, 1])], 1), ids
    yield "unstacked", lambda ids: tf.add_n([lookup(table, one) for one in tf.unstack(ids, axis=1)]), ids
    layers = [tf.keras.layers.Input([BAG], dtype="int32"), tf.keras.layers.Embedding(ROWS, DIM)]
    model = tf.keras.Sequential([*layers, tf.keras.layers.GlobalAveragePooling1D(), tf.keras.layers.Dense(1)])
    yield "keras_mean", lambda ids: model(ids), ids32


def main():
    folder = pathlib.Path(sys.argv[1])
    tf.keras.utils.set_random_seed(1)
    for name, function, ids in cases():
        model, _ = tf2onnx.convert.from_function(tf.function(function), input_signature=[ids], opset=17)
        (folder / f"tensorflow_{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
