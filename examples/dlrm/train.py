#!/usr/bin/env python3
"""Trains a small DLRM on clicks that generate.py makes, and exports it as one ONNX file.

Numbers go through a small network, ids through 26 tables of 32; the items seen before are summed. Whatever two of these
28 vectors have in common, their product, goes to a second network.

Writes into the folder given: dlrm/1/model.onnx (numbers, ids, seen → score) and held-out clicks, heldout_*.npy. Takes
about a minute of two cores.
"""

import argparse
import pathlib
import sys

import numpy as np
from onnx import TensorProto

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import generate  # noqa: E402
from training import Adam, Graph  # noqa: E402

TRAIN = {"seed": 21, "count": 600_000}
HELD_OUT = {"seed": 22, "count": 20_000}
DIM = 32
BATCH = 512
SEED = 7
TABLES = len(generate.SIZES)
VECTORS = TABLES + 2  # and what numbers say, and the items seen
ROW, COLUMN = np.tril_indices(VECTORS, -1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Tables:
    """All tables in one array, a rate for each row: Adagrad by rows."""

    def __init__(self, random, rate):
        self.begin = np.concatenate([[0], np.cumsum(generate.SIZES)])
        self.rows = (random.standard_normal((self.begin[-1], DIM)) * 0.05).astype(np.float32)
        self.square = np.full(self.begin[-1], 1e-3, np.float32)
        self.rate = rate

    def update(self, places, gradients):
        order = np.argsort(places, kind="stable")
        places = places[order]
        first = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
        total = np.add.reduceat(gradients[order], first, axis=0)
        rows = places[first]
        self.square[rows] += (total * total).mean(axis=1)
        self.rows[rows] -= self.rate * total / np.sqrt(self.square[rows])[:, None]


class Model:
    """The network, with its gradients written out."""

    def __init__(self):
        random = np.random.default_rng(SEED)

        def normal(*shape):
            return (random.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)

        self.tables = Tables(random, 0.04)
        self.weights = {
            "bottom1": normal(generate.NUMBERS, 64),
            "bottom1_bias": np.zeros(64, np.float32),
            "bottom2": normal(64, DIM),
            "bottom2_bias": np.zeros(DIM, np.float32),
            "top1": normal(DIM + len(ROW), 96),
            "top1_bias": np.zeros(96, np.float32),
            "top2": normal(96, 32),
            "top2_bias": np.zeros(32, np.float32),
            "out": normal(32, 1),
            "out_bias": np.zeros(1, np.float32),
        }
        self.adam = Adam(self.weights, 1e-3)

    def forward(self, numbers, ids, seen):
        w = self.weights
        hidden = np.maximum(numbers @ w["bottom1"] + w["bottom1_bias"], 0)
        bottom = np.maximum(hidden @ w["bottom2"] + w["bottom2_bias"], 0)
        there = (seen > 0)[:, :, None].astype(np.float32)
        items = self.tables.begin[generate.ITEMS]
        vectors = np.empty((len(ids), VECTORS, DIM), np.float32)
        vectors[:, 0] = bottom
        vectors[:, 1:-1] = self.tables.rows[ids + self.tables.begin[:-1]]
        vectors[:, -1] = (self.tables.rows[items + seen] * there).sum(axis=1)
        products = (vectors @ vectors.transpose(0, 2, 1))[:, ROW, COLUMN]
        features = np.concatenate([bottom, products], axis=1)
        top1 = np.maximum(features @ w["top1"] + w["top1_bias"], 0)
        top2 = np.maximum(top1 @ w["top2"] + w["top2_bias"], 0)
        score = sigmoid(top2 @ w["out"] + w["out_bias"])[:, 0]
        return score, (hidden, bottom, there, vectors, features, top1, top2)

    def train(self, numbers, ids, seen, clicked):
        w = self.weights
        score, (hidden, bottom, there, vectors, features, top1, top2) = self.forward(numbers, ids, seen)
        error = ((score - clicked) / np.float32(len(score))).astype(np.float32)[:, None]
        by_top2 = (error @ w["out"].T) * (top2 > 0)
        by_top1 = (by_top2 @ w["top2"].T) * (top1 > 0)
        by_features = by_top1 @ w["top1"].T
        by_products = np.zeros((len(ids), VECTORS, VECTORS), np.float32)
        by_products[:, ROW, COLUMN] = by_features[:, DIM:]
        by_vectors = (by_products + by_products.transpose(0, 2, 1)) @ vectors
        by_bottom = (by_features[:, :DIM] + by_vectors[:, 0]) * (bottom > 0)
        by_hidden = (by_bottom @ w["bottom2"].T) * (hidden > 0)
        self.adam.update(
            {
                "bottom1": numbers.T @ by_hidden,
                "bottom1_bias": by_hidden.sum(axis=0),
                "bottom2": hidden.T @ by_bottom,
                "bottom2_bias": by_bottom.sum(axis=0),
                "top1": features.T @ by_top1,
                "top1_bias": by_top1.sum(axis=0),
                "top2": top1.T @ by_top2,
                "top2_bias": by_top2.sum(axis=0),
                "out": top2.T @ error,
                "out_bias": error.sum(axis=0),
            }
        )
        row, column = np.nonzero(seen)
        places = np.concatenate([(ids + self.tables.begin[:-1]).ravel(), self.tables.begin[generate.ITEMS] + seen[row, column]])
        gradients = np.concatenate([by_vectors[:, 1:-1].reshape(-1, DIM), by_vectors[row, -1]])
        # A mean over the batch is too small a step for rows that few of it have.
        self.tables.update(places, gradients * np.float32(len(ids)))

    def scores(self, numbers, ids, seen):
        parts = [self.forward(numbers[at : at + 2048], ids[at : at + 2048], seen[at : at + 2048])[0] for at in range(0, len(ids), 2048)]
        return np.concatenate(parts)

    def export(self, folder):
        graph = Graph("dlrm")
        graph.input("numbers", TensorProto.FLOAT, ["N", generate.NUMBERS])
        graph.input("ids", TensorProto.INT64, ["N", TABLES])
        graph.input("seen", TensorProto.INT64, ["N", generate.SEEN])

        def dense(source, name, target, activate=True):
            graph.weight(name, self.weights[name])
            graph.weight(name + "_bias", self.weights[name + "_bias"])
            graph.op("Gemm", [source, name, name + "_bias"], target if not activate else target + "_sum")
            return graph.op("Relu", [target + "_sum"], target) if activate else target

        bottom = dense(dense("numbers", "bottom1", "hidden"), "bottom2", "bottom")
        middle, last = graph.ints("middle", 1), graph.ints("last", -1)
        vectors = [graph.op("Unsqueeze", [bottom, middle], "vector_of_numbers")]
        for table in range(TABLES):
            name = f"table_{table:02}"
            begin, end = self.tables.begin[table], self.tables.begin[table + 1]
            graph.weight(name, self.tables.rows[begin:end])
            graph.weight(f"column_{table:02}", np.int64(table))
            graph.op("Gather", ["ids", f"column_{table:02}"], f"id_{table:02}", axis=1)
            graph.op("Gather", [name, f"id_{table:02}"], f"row_{table:02}")
            vectors.append(graph.op("Unsqueeze", [f"row_{table:02}", middle], f"vector_{table:02}"))
        # Item 0 is no item.
        graph.op("Gather", [f"table_{generate.ITEMS:02}", "seen"], "rows_seen")
        graph.weight("no_item", np.int64(0))
        graph.op("Equal", ["seen", "no_item"], "is_none")
        graph.op("Not", ["is_none"], "is_item")
        graph.op("Cast", ["is_item"], "there", to=TensorProto.FLOAT)
        graph.op("Unsqueeze", ["there", last], "there_column")
        graph.op("Mul", ["rows_seen", "there_column"], "rows_there")
        graph.op("ReduceSum", ["rows_there", middle], "row_seen", keepdims=0)
        vectors.append(graph.op("Unsqueeze", ["row_seen", middle], "vector_seen"))
        graph.op("Concat", vectors, "vectors", axis=1)
        graph.op("Transpose", ["vectors"], "turned", perm=[0, 2, 1])
        graph.op("MatMul", ["vectors", "turned"], "products_square")
        graph.op("Reshape", ["products_square", graph.ints("all", -1, VECTORS * VECTORS)], "products_all")
        graph.weight("below", ROW * VECTORS + COLUMN)
        graph.op("Gather", ["products_all", "below"], "products", axis=1)
        graph.op("Concat", [bottom, "products"], "features", axis=1)
        dense(dense(dense("features", "top1", "top1_out"), "top2", "top2_out"), "out", "log_odds", activate=False)
        graph.op("Sigmoid", ["log_odds"], "score_column")
        graph.op("Squeeze", ["score_column", middle], "score")
        graph.output("score", TensorProto.FLOAT, ["N"])
        return graph.save(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder for the model and the held-out clicks")
    parser.add_argument("--count", type=int, default=TRAIN["count"], help="clicks to train on")
    arguments = parser.parse_args()
    world = generate.World()
    model = Model()
    numbers, ids, seen, clicked, _ = world.clicks(TRAIN["seed"], arguments.count)
    batches = max(1, arguments.count // BATCH)
    for at in range(batches):
        model.adam.rate = 1e-3 * (1 - 0.9 * at / batches)
        rows = slice(at * BATCH, (at + 1) * BATCH)
        model.train(numbers[rows], ids[rows], seen[rows], clicked[rows])
    numbers, ids, seen, clicked, odds = world.clicks(HELD_OUT["seed"], HELD_OUT["count"])
    score = model.scores(numbers, ids, seen)
    size = model.export(arguments.out)
    for name, array in (("numbers", numbers), ("ids", ids), ("seen", seen), ("clicked", clicked.astype(np.uint8))):
        np.save(arguments.out / f"heldout_{name}.npy", array)
    np.save(arguments.out / "heldout_odds.npy", odds.astype(np.float32))
    print(f"dlrm: {sum(generate.SIZES)} rows of {DIM} in {TABLES} tables, {size} bytes")
    print(f"held out: AUC {generate.auc(score, clicked):.4f}, at best {generate.auc(odds, clicked):.4f}, clicks {clicked.mean():.3f}")


if __name__ == "__main__":
    main()
