#!/usr/bin/env python3
"""Checks that a folder includes only folders of lower rank (docs/architecture.md), and that our headers stay light.

usage: layering.py [ROOT]      exit status 1, and a line for each breach, when there is one
"""
import pathlib
import re
import sys

# Folder -> rank. Folders of one rank do not include each other; a folder may include itself.
RANKS = {"base": 0, "proto": 0, "codec": 1, "transport": 2, "batcher": 2, "result_cache": 2, "embedding": 1, "models": 2, "router": 3, "hub": 3, "remote_op": 4,
         "node": 5, "deploy": 6, "cli": 7, "examples": 8, "tests/testing": 8, "bench": 9, "tests": 10}
# Within models/: package and graph know nothing of what stands on them.
MODELS_RANKS = {"package": 0, "graph": 2, "runtime": 1, "split": 3, "compose": 4, "share": 4, "calibrate": 5}
HEAVY = re.compile(r"^(grpc|grpcpp|google/protobuf|onnx|onnxruntime|Eigen|boost|zmq|simdjson|rapidjson|prometheus|yaml-cpp|spdlog|CLI)[/._]?")
# Headers that only .cc files include, because a library's types are what they are about.
FOR_SOURCES_ONLY = {"codec/json_reader.h", "codec/http_body.h", "codec/json_walk.h", "codec/v2_json_tensors.h",
                    "transport/rest_connection.h", "router/etcd/stream.h", "node/frontend/v2_stream.h",
                    "node/frontend/grpc_call.h", "node/frontend/http_loop.h", "node/frontend/http_parser.h",
                    "node/frontend/http_connection.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def breaches(root: pathlib.Path):
    count = 0
    for folder, rank in RANKS.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".h", ".cc"):
                continue
            count += 1
            where = path.relative_to(root)
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = match.group(2)
                if path.suffix == ".h" and target in FOR_SOURCES_ONLY and str(where) not in FOR_SOURCES_ONLY:
                    yield f"{where}:{number}: a header includes {target}, which is for .cc files"
                if path.suffix == ".h" and str(where) not in FOR_SOURCES_ONLY and folder not in ("tests", "tests/testing", "bench", "examples") and HEAVY.match(target):
                    yield f"{where}:{number}: a header of ours includes {target}; hide it in the .cc"
                top = "tests/testing" if target.startswith("tests/testing/") else target.split("/")[0]
                if match.group(1) == '"' and top in RANKS and top != folder and RANKS[top] >= rank:
                    yield f"{where}:{number}: {folder} (rank {rank}) includes {target} (rank {RANKS[top]})"
                if folder == "models" and top == "models":
                    own, other = where.parts[1], target.split("/")[1]
                    if own != other and MODELS_RANKS.get(other, 9) >= MODELS_RANKS.get(own, 0):
                        yield f"{where}:{number}: models/{own} includes models/{other}, which stands on it"
    if count < 50:
        yield f"{root}: got {count} sources, want the whole tree"


def main() -> int:
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    found = list(breaches(root))
    print("\n".join(found) if found else "layering: no breach")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
