"""Builds a TensorRT-RTX engine of an ONNX file, without a GPU, in a process of its own.

    python -m models.tensorrt_build MODEL.onnx '{"x": [[1, 3, 8], [8, 3, 8], [32, 3, 8]]}'

The JSON has the least, the usual and the largest shape of each input. Prints one sentence; what
TensorRT does not take is said on stderr, and the exit status is 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorrt_rtx as trt


def main(model: Path, profile: dict[str, list[list[int]]]) -> str:
    """Parse and build; gives what came of it."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.read_bytes()):
        told = "; ".join(str(parser.get_error(at)) for at in range(parser.num_errors))
        sys.exit(f"it does not parse: {told}")
    wanted = builder.create_optimization_profile()
    for name, (least, usual, largest) in profile.items():
        wanted.set_shape(name, least, usual, largest)
    config = builder.create_builder_config()
    config.add_optimization_profile(wanted)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        sys.exit("it parses, but no engine can be built of it")
    return (
        f"TensorRT-RTX {trt.__version__} builds it: {network.num_layers} layers, "
        f"an engine of {engine.nbytes:,} bytes"
    )


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
