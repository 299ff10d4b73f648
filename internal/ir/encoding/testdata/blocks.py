"""Writes blocks.json: FP8 in blocks of 128 x 128 and FP4 in groups of 32 with scales of F32 and BF16.
The codes and scales are rounded, and read back, by PyPI's ml_dtypes (0.6.0).

    pip install numpy ml_dtypes==0.6.0 && python blocks.py > blocks.json
"""

import json
import zlib

import ml_dtypes
import numpy

E4M3, E2M1 = ml_dtypes.float8_e4m3fn, ml_dtypes.float4_e2m1fn
SCALES = {"f32": numpy.float32, "bf16": ml_dtypes.bfloat16}
rng = numpy.random.default_rng(15)


def spread(scales, rows, cols, high, wide):
    """The scale of every value."""
    return numpy.repeat(numpy.repeat(scales.astype(numpy.float64), high, 0), wide, 1)[:rows, :cols]


def pack(codes):
    """Two four-bit codes to a byte, the first in the low half."""
    return codes[:, 0::2] | codes[:, 1::2] << 4


def encode(values, scale, code, largest, high, wide):
    rows, cols = values.shape
    scales = numpy.empty((-(-rows // high), -(-cols // wide)), SCALES[scale])
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            amax = numpy.abs(values[i * high : (i + 1) * high, j * wide : (j + 1) * wide]).max()
            scales[i, j] = SCALES[scale](numpy.float32(max(amax, 1e-30) / largest))
    all_scales = spread(scales, rows, cols, high, wide)
    codes = numpy.clip(values / all_scales, -largest, largest).astype(code)
    return codes, scales, codes.astype(numpy.float64) * all_scales


inputs, cases, stored = [], [], []


def case(name, values, scale, fp4):
    code, largest, high, wide = (E2M1, 6, 1, 32) if fp4 else (E4M3, 448, 128, 128)
    codes, scales, decoded = encode(values, scale, code, largest, high, wide)
    raw = codes.view(numpy.uint8)
    encoding = ("fp4_e2m1_g32_" if fp4 else "fp8_e4m3_b128_") + scale
    cases.append({"input": name, "encoding": encoding, "weight": (pack(raw) if fp4 else raw).tobytes().hex(),
                  "scales": scales.tobytes().hex(), "decodedCRC": zlib.crc32(decoded.astype("<f8").tobytes())})


def input_of(name, values):
    inputs.append({"name": name, "rows": values.shape[0], "cols": values.shape[1], "values": values.astype("<f8").tobytes().hex()})
    return values


tall = rng.standard_normal((130, 3))
tall[128:] *= 1e-5
wide = rng.standard_normal((2, 131))
wide[:, 128:] = 0  # a block of zeros
groups = rng.standard_normal((3, 96))
groups[0, 32:64] = 0
groups[1] *= 1e12
groups[2, :32] = numpy.arange(32) * 0.375 - 6  # some half way between codes
input_of("blocks, tall", tall), input_of("blocks, wide", wide), input_of("groups of 32", groups)
for scale in SCALES:
    case("blocks, tall", tall, scale, False)
    case("blocks, wide", wide, scale, False)
    case("groups of 32", groups, scale, True)

# Any bits, with scales from subnormal to infinite and NaN among them.
for scale, dtype in SCALES.items():
    for fp4_too, rows, cols in (False, 130, 3), (False, 2, 140), (True, 4, 128):
        high, wide = (1, 32) if fp4_too else (128, 128)
        shape = (-(-rows // high), -(-cols // wide))
        bits = rng.integers(0, 256, (*shape, numpy.dtype(dtype).itemsize), dtype=numpy.uint8)
        scales = bits.view(dtype)[..., 0]
        raw = rng.integers(0, 16 if fp4_too else 256, (rows, cols), dtype=numpy.uint8)
        values = raw.view(E2M1 if fp4_too else E4M3).astype(numpy.float32)
        with numpy.errstate(all="ignore"):
            values = values * spread(scales, rows, cols, high, wide).astype(numpy.float32)
        stored.append({"encoding": ("fp4_e2m1_g32_" if fp4_too else "fp8_e4m3_b128_") + scale, "rows": rows, "cols": cols,
                       "weight": (pack(raw) if fp4_too else raw).tobytes().hex(), "scales": scales.tobytes().hex(),
                       "values": values.astype("<f4").tobytes().hex()})

print(json.dumps({"inputs": inputs, "cases": cases, "stored": stored}, indent=1))
