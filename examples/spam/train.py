#!/usr/bin/env python3
"""Trains the two models of the spam example on mails that generate.py makes, and exports them as ONNX: text in.

`spam-trigger`: two rules, by regular expression, and a linear model over which words occur. Cheap, and blind to order.
`spam-full`: words -> vectors -> a convolution over five words -> the largest of each filter -> two dense layers.

Both take `text` and `sender`, strings as they are: lower case, words, numbers of words are steps of their graphs.

Writes beside this file: packages/spam-trigger/1, packages/spam-full/1, heldout.tsv. Takes half a minute of one core.
"""

import argparse
import pathlib
import re
import sys

import numpy as np
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import generate  # noqa: E402
from training import Adam, Graph, batches  # noqa: E402

TRAIN = {"seed": 11, "count": 12000}
VALIDATE = {"seed": 12, "count": 3000}
HELD_OUT = {"seed": 13, "count": 1500}
SEED = 7

WORDS = 64  # of a mail, sender included, that the full model looks at
WIDTH = 5
BATCH = 64
COLLEAGUE = r".*@northwind\.example"
BARE_LINK = r"(?s).*http://[0-9]+(\.[0-9]+){3}/.*"
RULE_SCORES = {"colleague": 0.01, "link": 0.99}
BANDS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def trigger_words(text):
    return text.lower().split()


def full_words(sender, text):
    """What the graph makes of them: the last of WORDS is all the rest, and so no word."""
    return f"<mail> {sender} {text}".lower().split(maxsplit=WORDS - 1)


def vocabulary(lists, least):
    counts = {}
    for words in lists:
        for word in words:
            counts[word] = counts.get(word, 0) + 1
    return sorted(word for word, count in counts.items() if count >= least)


# --- the trigger


def occurrence(lists, words):
    at = {word: index for index, word in enumerate(words)}
    matrix = np.zeros((len(lists), len(words)), np.float32)
    for row, tokens in enumerate(lists):
        for token in tokens:
            if token in at:
                matrix[row, at[token]] = 1
    return matrix


def train_trigger(mails, truth):
    lists = [trigger_words(text) for *_, text in mails]
    words = vocabulary(lists, 5)
    x = occurrence(lists, words)
    weights = {"weight": np.zeros(len(words), np.float32), "bias": np.zeros(1, np.float32)}
    adam = Adam(weights, 0.02)
    random = np.random.default_rng(SEED)
    for _ in range(12):
        for rows in batches(random, len(x), 256):
            error = (sigmoid(x[rows] @ weights["weight"] + weights["bias"]) - truth[rows]) / len(rows)
            adam.update({"weight": x[rows].T @ error + 1e-4 * weights["weight"], "bias": error.sum(keepdims=True)})
    return words, weights


def export_trigger(words, weights):
    graph = Graph("spam-trigger")
    for name in ("text", "sender"):
        graph.input(name, TensorProto.STRING, ["N"])
    split_words(graph, "text")
    counts = {"ngram_counts": [0], "ngram_indexes": list(range(len(words))), "pool_strings": words}
    graph.op(
        "TfIdfVectorizer",
        ["words_and_end"],
        "count_and_end",
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        **counts,
    )
    drop_end(graph, "count_and_end", "count")
    graph.op("Min", ["count", graph.float("one", 1)], "occurs")
    graph.weight("weight", weights["weight"][:, None])
    graph.op("Gemm", ["occurs", "weight", graph.weight("bias", weights["bias"])], "log_odds_column")
    graph.op("Squeeze", ["log_odds_column", graph.ints("second", 1)], "log_odds")
    graph.op("Sigmoid", ["log_odds"], "linear")
    graph.op("RegexFullMatch", ["sender"], "is_colleague", pattern=COLLEAGUE)
    graph.op("RegexFullMatch", ["text"], "has_link", pattern=BARE_LINK)
    graph.op("Where", ["has_link", graph.float("link_score", RULE_SCORES["link"]), "linear"], "without_colleagues")
    graph.op(
        "Where",
        ["is_colleague", graph.float("colleague_score", RULE_SCORES["colleague"]), "without_colleagues"],
        "score",
    )
    graph.op("Where", ["has_link", graph.text("link", "link"), graph.text("none", "")], "link_or_none")
    graph.op("Where", ["is_colleague", graph.text("colleague", "colleague"), "link_or_none"], "rule")
    graph.output("score", TensorProto.FLOAT, ["N"])
    graph.output("rule", TensorProto.STRING, ["N"])
    return graph.save(HERE / "packages")


def split_words(graph, source, **attributes):
    """Tensor `words_and_end`: lower-case words [N + 1, most], "" where a mail has fewer. The row too many, one full stop,
    is there because StringNormalizer and TfIdfVectorizer refuse to be given nothing: a request without mails."""
    graph.op("Concat", [source, graph.text("end", ".", [1])], "mails_and_end", axis=0)
    graph.op("StringNormalizer", ["mails_and_end"], "lower", case_change_action="LOWER", locale="C")
    outputs = ["words_and_end", "word_count"]
    graph.nodes.append(helper.make_node("StringSplit", ["lower"], outputs, name="words_and_end", **attributes))


def drop_end(graph, source, target):
    graph.op("Slice", [source, graph.ints("first", 0), graph.ints("end_row", -1), graph.ints("rows", 0)], target)


# --- the full model


class FullModel:
    """The network, with its gradients written out."""

    def __init__(self, lists, arguments):
        random = np.random.default_rng(SEED)
        self.words = vocabulary(lists, 3)
        self.at = {word: index + 2 for index, word in enumerate(self.words)}  # 0: no word; 1: an unknown one
        vector, filters, hidden = arguments.vector, arguments.filters, arguments.hidden

        def normal(*shape):
            return (random.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)

        self.weights = {
            "vectors": (random.standard_normal((len(self.words) + 2, vector)) * 0.3).astype(np.float32),
            "filters": normal(WIDTH * vector, filters),
            "filters_bias": np.zeros(filters, np.float32),
            "hidden": normal(filters, hidden),
            "hidden_bias": np.zeros(hidden, np.float32),
            "out": normal(hidden, 1),
            "out_bias": np.zeros(1, np.float32),
        }
        self.weights["vectors"][0] = 0
        self.vector = vector

    def numbers(self, lists):
        width = max(len(words) for words in lists)
        numbers = np.zeros((len(lists), width), np.int64)
        for row, words in enumerate(lists):
            numbers[row, : len(words)] = [self.at.get(word, 1) for word in words]
        return numbers

    def forward(self, numbers):
        w = self.weights
        rows, width = numbers.shape
        padded = np.zeros((rows, width + WIDTH - 1, self.vector), np.float32)
        padded[:, WIDTH // 2 : WIDTH // 2 + width] = w["vectors"][numbers]
        windows = np.concatenate([padded[:, k : k + width] for k in range(WIDTH)], axis=2)
        filtered = np.maximum(windows @ w["filters"] + w["filters_bias"], 0) * (numbers != 0)[:, :, None]
        best = filtered.argmax(axis=1)
        pooled = np.take_along_axis(filtered, best[:, None], axis=1)[:, 0]
        hidden = np.maximum(pooled @ w["hidden"] + w["hidden_bias"], 0)
        score = sigmoid(hidden @ w["out"] + w["out_bias"])[:, 0]
        return score, (numbers, windows, best, pooled, hidden)

    def gradients(self, error, kept):
        """`error`: by the log odds of each row."""
        w = self.weights
        numbers, windows, best, pooled, hidden = kept
        rows, width = numbers.shape
        by_hidden = (error[:, None] @ w["out"].T) * (hidden > 0)
        by_pooled = (by_hidden @ w["hidden"].T) * (pooled > 0)
        by_filtered = np.zeros((rows, width, pooled.shape[1]), np.float32)
        np.put_along_axis(by_filtered, best[:, None], by_pooled[:, None], axis=1)
        by_windows = by_filtered @ w["filters"].T
        by_padded = np.zeros((rows, width + WIDTH - 1, self.vector), np.float32)
        for k in range(WIDTH):
            by_padded[:, k : k + width] += by_windows[:, :, k * self.vector : (k + 1) * self.vector]
        by_vectors = np.zeros_like(w["vectors"])
        np.add.at(by_vectors, numbers, by_padded[:, WIDTH // 2 : WIDTH // 2 + width])
        by_vectors[0] = 0
        flat = windows.reshape(-1, windows.shape[2])
        return {
            "vectors": by_vectors,
            "filters": flat.T @ by_filtered.reshape(-1, by_filtered.shape[2]),
            "filters_bias": by_filtered.sum(axis=(0, 1)),
            "hidden": pooled.T @ by_hidden,
            "hidden_bias": by_hidden.sum(axis=0),
            "out": hidden.T @ error[:, None],
            "out_bias": error.sum(keepdims=True),
        }

    def train(self, lists, truth, epochs):
        random = np.random.default_rng(SEED)
        adam = Adam(self.weights, 1e-3, decay=1e-2)
        numbers = self.numbers(lists)
        for epoch in range(epochs):
            adam.rate = 1e-3 * (1 - epoch / epochs)
            for rows in batches(random, len(numbers), BATCH):
                seen = numbers[rows]
                seen = seen[:, : int((seen != 0).sum(axis=1).max())].copy()
                # Some words are unknown, as some of new mails will be.
                seen[(seen != 0) & (random.random(seen.shape) < 0.04)] = 1
                score, kept = self.forward(seen)
                adam.update(self.gradients((score - truth[rows]).astype(np.float32) / np.float32(len(rows)), kept))

    def scores(self, lists):
        parts = [self.forward(self.numbers(lists[at : at + 256]))[0] for at in range(0, len(lists), 256)]
        return np.concatenate(parts)

    def export(self):
        graph = Graph("spam-full")
        for name in ("text", "sender"):
            graph.input(name, TensorProto.STRING, ["N"])
        graph.op("StringConcat", [graph.text("begin", "<mail> "), "sender"], "from")
        graph.op("StringConcat", ["from", graph.text("blank", " ")], "from_blank")
        graph.op("StringConcat", ["from_blank", "text"], "mail")
        split_words(graph, "mail", maxsplit=WORDS - 1)
        drop_end(graph, "words_and_end", "words")
        graph.op(
            "LabelEncoder",
            ["words"],
            "numbers",
            domain="ai.onnx.ml",
            keys_strings=["", *self.words],
            values_int64s=[0, *range(2, len(self.words) + 2)],
            default_int64=1,
        )
        graph.op("Gather", [graph.weight("vectors", self.weights["vectors"]), "numbers"], "vectors_of_words")
        graph.op("Transpose", ["vectors_of_words"], "by_word", perm=[0, 2, 1])
        # [width × vector, filters] -> [filters, vector, width]
        kernel = self.weights["filters"].reshape(WIDTH, self.vector, -1).transpose(2, 1, 0)
        graph.op(
            "Conv",
            ["by_word", graph.weight("filters", np.ascontiguousarray(kernel)), self.take(graph, "filters_bias")],
            "filtered_sum",
            pads=[WIDTH // 2, WIDTH // 2],
        )
        graph.op("Relu", ["filtered_sum"], "filtered_all")
        # A mail says the same whatever longer mail stands beside it.
        graph.op("Equal", ["numbers", graph.ints("no_word", 0)], "is_no_word")
        graph.op("Not", ["is_no_word"], "is_word")
        graph.op("Cast", ["is_word"], "word_mask", to=TensorProto.FLOAT)
        graph.op("Unsqueeze", ["word_mask", graph.ints("second", 1)], "mask")
        graph.op("Mul", ["filtered_all", "mask"], "filtered")
        graph.op("ReduceMax", ["filtered", graph.ints("last", 2)], "pooled", keepdims=0)
        graph.op("Gemm", ["pooled", self.take(graph, "hidden"), self.take(graph, "hidden_bias")], "hidden_sum")
        graph.op("Relu", ["hidden_sum"], "hidden_layer")
        graph.op("Gemm", ["hidden_layer", self.take(graph, "out"), self.take(graph, "out_bias")], "log_odds")
        graph.op("Squeeze", ["log_odds", "second"], "log_odds_of_row")
        graph.op("Sigmoid", ["log_odds_of_row"], "score")
        graph.output("score", TensorProto.FLOAT, ["N"])
        return graph.save(HERE / "packages")

    def take(self, graph, name):
        return graph.weight(name, self.weights[name])


# --- both


def trigger_scores(mails, words, weights):
    linear = sigmoid(occurrence([trigger_words(text) for *_, text in mails], words) @ weights["weight"] + weights["bias"])
    rules = np.array([bool(re.fullmatch(COLLEAGUE, sender) or re.fullmatch(BARE_LINK, text)) for *_, sender, text in mails])
    for row, (*_, sender, text) in enumerate(mails):
        if re.fullmatch(COLLEAGUE, sender):
            linear[row] = RULE_SCORES["colleague"]
        elif re.fullmatch(BARE_LINK, text):
            linear[row] = RULE_SCORES["link"]
    return linear, rules


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filters", type=int, default=256, help="of the convolution: what makes the full model large")
    parser.add_argument("--vector", type=int, default=64, help="numbers per word")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()

    sets = [generate.mails(**chosen) for chosen in (TRAIN, VALIDATE, HELD_OUT)]
    truths = [np.array([spam for spam, *_ in mails], np.float32) for mails in sets]
    lists = [[full_words(sender, text) for *_, sender, text in mails] for mails in sets]

    words, weights = train_trigger(sets[0], truths[0])
    full = FullModel(lists[0], arguments)
    full.train(lists[0], truths[0], arguments.epochs)
    print(f"spam-trigger: {len(words)} words, {export_trigger(words, weights)} bytes")
    print(f"spam-full: {len(full.words)} words, {full.export()} bytes")
    with open(HERE / "heldout.tsv", "w", encoding="utf-8") as file:
        for spam, log_odds, sender, text in sets[2]:
            file.write(f"{int(spam)}\t{log_odds:.2f}\t{sender}\t{text}\n")

    for name, mails, truth, words_of in zip(("train", "validate", "held out"), sets, truths, lists):
        cheap, rules = trigger_scores(mails, words, weights)
        costly = full.scores(words_of)
        right = lambda scores: np.mean((scores > 0.5) == (truth > 0.5))  # noqa: E731
        best = np.mean([(log_odds > 0) == spam for spam, log_odds, *_ in mails])
        print(f"{name}: trigger {right(cheap):.4f}, full {right(costly):.4f}, at best {best:.4f}, rules {np.mean(rules):.3f}")
        if name == "train":
            continue
        for band in BANDS:
            escalate = (cheap > band) & (cheap < 1 - band) & ~rules
            print(f"  band {band}: escalated {escalate.mean():.3f}, cascade {right(np.where(escalate, costly, cheap)):.4f}")


if __name__ == "__main__":
    main()
