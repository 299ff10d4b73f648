"""Writes q8_0.json: what PyPI's gguf (0.19.0) stores in Q8_0 and reads back.

    pip install gguf==0.19.0 && python q8_0.py > q8_0.json
"""

import json
import zlib

import numpy
from gguf import GGMLQuantizationType, quants

Q8_0 = GGMLQuantizationType.Q8_0
rng = numpy.random.default_rng(80)


def case(name, values):
    stored = quants.quantize(values.astype(numpy.float32), Q8_0)
    decoded = quants.dequantize(stored, Q8_0).astype(numpy.float64)
    rows, cols = values.shape
    inputs.append({"name": name, "rows": rows, "cols": cols, "values": values.astype(numpy.float64).tobytes().hex()})
    cases.append({"input": name, "encoding": "q8_0", "weight": stored.tobytes().hex(),
                  "decodedCRC": zlib.crc32(decoded.tobytes())})


inputs, cases = [], []
case("q8_0, normal", rng.standard_normal((3, 160)).astype(numpy.float32))
edges = rng.standard_normal((2, 96)).astype(numpy.float32)
edges[0, :32] = 0
edges[0, 32:64] = numpy.arange(32) - 15.5  # half way between codes, as
edges[0, 40] = 127  # the scale is 1
edges[1, :32] *= 1e-6  # a scale that is a subnormal half, or 0
edges[1, 32:64] *= 1e-9
edges[1, 64:] *= 2e6  # and the largest ones
case("q8_0, edges", edges)

# Any bits. The scales of the first blocks are zeros, subnormals, the largest
# halves, infinities and NaN; the others are drawn.
rows, cols = 5, 224
blocks = rng.integers(0, 256, (rows * cols // 32, 34), dtype=numpy.uint8)
scales = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFE01]
blocks[: len(scales), :2] = numpy.array(scales, dtype="<u2").view(numpy.uint8).reshape(-1, 2)
weight = blocks.reshape(rows, -1)
with numpy.errstate(invalid="ignore"):
    values = quants.dequantize(weight, Q8_0)
stored = [{"encoding": "q8_0", "rows": rows, "cols": cols, "weight": weight.tobytes().hex(), "values": values.tobytes().hex()}]

print(json.dumps({"inputs": inputs, "cases": cases, "stored": stored}, indent=1))
