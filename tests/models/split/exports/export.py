#!/usr/bin/env python3
"""Exports what PyTorch's users write for embeddings, by both of its exporters: the models that the tests beside read.

traced_NAME.onnx: torch.onnx.export(dynamo=False); captured_NAME.onnx: through torch.export, which is the default. Made
with torch 2 from PyPI: pip install torch onnx onnxscript, then export.py FOLDER.
"""

import logging
import pathlib
import sys
import warnings

import onnx
import torch
from torch import nn

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
ROWS, DIM, BAG = 40, 4, 5


class Bag(nn.Module):
    """nn.EmbeddingBag, and a layer behind it."""

    def __init__(self, **options):
        super().__init__()
        self.bag = nn.EmbeddingBag(ROWS, DIM, **options)
        self.out = nn.Linear(DIM, 1)

    def forward(self, ids, offsets=None):
        return self.out(self.bag(ids, offsets))


class TwoBags(nn.Module):
    """Offsets of both kinds."""

    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(ROWS, DIM, mode="sum")
        self.other = nn.EmbeddingBag(ROWS + 1, DIM, mode="sum", include_last_offset=True)

    def forward(self, ids, offsets, with_end):
        return self.bag(ids, offsets).sum(0) + self.other(ids, with_end).sum(0)


class WeightedBag(Bag):
    def forward(self, ids, weights):
        return self.out(self.bag(ids, per_sample_weights=weights))


class Pooled(nn.Module):
    """nn.Embedding, reduced by hand."""

    def __init__(self, how):
        super().__init__()
        self.rows = nn.Embedding(ROWS, DIM)
        self.out = nn.Linear(DIM, 1)
        self.how = how

    def forward(self, ids):
        rows = self.rows(ids)
        there = (ids != 0).unsqueeze(-1)
        if self.how == "sum":
            return self.out(rows.sum(1))
        if self.how == "mean":
            return self.out(rows.mean(1))
        if self.how == "masked":
            return self.out((rows * there).sum(1))
        return self.out((rows * there).sum(1) / there.sum(1).clamp(min=1))


class Columns(nn.Module):
    """A table for each column of ids."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(ROWS + i, DIM) for i in range(3))
        self.out = nn.Linear(3 * DIM, 1)

    def forward(self, ids):
        return self.out(torch.cat([table(ids[:, i]) for i, table in enumerate(self.tables)], 1))


def strip(graph):
    """Leaves out what says which line of whose source a node comes from."""
    for owner in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph):
        owner.doc_string = ""
        del owner.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                strip(attribute.g)


def cases():
    ids = torch.randint(0, ROWS, (4, BAG))
    offsets, with_end = torch.tensor([0, 3, 7, 9]), torch.tensor([0, 3, 7, 20])
    flat = {"ids": {0: "T"}, "offsets": {0: "N"}}
    rows = {"ids": {0: "N"}}
    yield "bag_rows", Bag(mode="sum"), (ids,), rows
    yield "bag_rows_mean", Bag(mode="mean"), (ids,), rows
    yield "bag_offsets", Bag(mode="sum"), (ids.reshape(-1), offsets), flat
    yield "bag_offsets_mean", Bag(mode="mean"), (ids.reshape(-1), offsets), flat
    yield "bag_offsets_end", Bag(mode="sum", include_last_offset=True), (ids.reshape(-1), with_end), flat
    both = {**flat, "with_end": {0: "M"}}
    yield "bag_both", TwoBags(), (ids.reshape(-1), offsets, with_end), both
    yield "bag_padding", Bag(mode="sum", padding_idx=0), (ids,), rows
    yield "bag_max", Bag(mode="max"), (ids,), rows
    yield "bag_weighted", WeightedBag(mode="sum"), (ids, torch.rand(4, BAG)), {"ids": {0: "N"}, "weights": {0: "N"}}
    for how in ("sum", "mean", "masked", "masked_mean"):
        yield how, Pooled(how), (ids,), rows
    yield "sum_int32", Pooled("sum"), (ids.int(),), rows
    yield "columns", Columns(), (ids[:, :3],), rows


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(1)
    for name, model, inputs, axes in cases():
        for how in ("traced", "captured"):
            path = str(folder / f"{how}_{name}.onnx")
            try:
                if how == "traced":
                    torch.onnx.export(
                        model.eval(), inputs, path, input_names=list(axes), dynamic_axes=axes, dynamo=False, opset_version=17
                    )
                else:
                    shapes = tuple({axis: torch.export.Dim.AUTO for axis in dims} for dims in axes.values())
                    torch.onnx.export(
                        model.eval(), inputs, path, input_names=list(axes), dynamic_shapes=shapes, external_data=False, verbose=False
                    )
                exported = onnx.load(path)
                strip(exported.graph)
                del exported.metadata_props[:]
                pathlib.Path(path).write_bytes(exported.SerializeToString(deterministic=True))
            except Exception as error:  # what an exporter can't export is not tested
                print(f"{how} {name}: {type(error).__name__}", file=sys.stderr)


if __name__ == "__main__":
    main()
