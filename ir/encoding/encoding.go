// Package encoding names, reads and writes, bit for bit, the formats in which checkpoints store
// weight matrices (docs/model.md#stored-weights), and those in which caches keep their rows.
//
// A matrix is rows x cols with cols the contraction axis; leading dimensions are flattened to rows.
// It is stored in one to three planes: codes, scales, biases. [Parse] finds an [Encoding] by its
// name and [All] lists them, Encoding.Planes says what the planes look like, [Encode] fills them and
// [Decode] reads a row of them. [ParseRow] finds a [RowFormat] for rows of a cache.
//
// The formats themselves are in internal/ir/encoding. Its README.md says how one is added; this
// package has it then.
package encoding

import "smelt.example/smelt/internal/ir/encoding"

// Encoding is a way to store a matrix of weights:
//
//	Name() string                             // stable; Parse reads it back
//	Planes(rows, cols int) ([]Plane, error)   // of a matrix of that size, the weight first
//
// Planes fails when cols is not a multiple of the encoding's group. Values are comparable. They come
// from [Parse], from [All], or from a checkpoint, whose tensors show how they are stored.
type Encoding = encoding.Encoding

// All lists every encoding.
func All() []Encoding { return encoding.All() }

// Parse finds an encoding by its name, such as bf16, fp8_e4m3_b128, affine4_g64_bf16, mxfp4 or q8_0.
func Parse(name string) (Encoding, error) { return encoding.Parse(name) }

// Plane describes one plane of a stored matrix: its Role, and Rows x Cols elements of type DType. Its
// method Bytes is its size, ElementBytes that of an element.
type Plane = encoding.Plane

// Planes holds the bytes of a stored matrix in the fields Weight, Scales and Biases, each plane from
// row 0, row-major, without padding and at any alignment. A plane that the encoding does not have is
// empty. Its method Of is the plane of a [Role].
type Planes = encoding.Planes

// Encode stores a row-major matrix by the rules of the tools whose files smelt reads: FP8, FP4 and
// mxfp8 scale by 2^ceil(log2(amax/largest)), mxfp4 by the rounded power, affine as MLX on CPU, Q8_0 as
// GGML. It fails on a size the encoding cannot have, on NaN and infinities (except in plain floats)
// and on values whose scale the encoding cannot hold.
func Encode(e Encoding, values []float64, rows, cols int) (Planes, error) {
	return encoding.Encode(e, values, rows, cols)
}

// Check reports whether p has exactly the bytes that e stores a matrix of rows x cols in. After it,
// [Decode] accepts p for every row.
func Check(e Encoding, p Planes, rows, cols int) error { return encoding.Check(e, p, rows, cols) }

// Decode writes row (from 0) of the matrix to dst, of length cols. It allocates nothing. p must have
// passed [Check] for len(dst) columns and more than row rows; otherwise Decode panics or reads the
// wrong bytes.
//
// In float64 every value is exact, except that an affine value scale*q+bias is rounded once. In
// float32 it is the same, except that values beyond float32's range become infinite, float64
// storage is rounded, and with float32 scales an affine value is rounded after the product and
// after the sum. Subnormals are kept and NaN stays NaN.
func Decode[F float32 | float64](e Encoding, dst []F, p Planes, row int) {
	encoding.Decode(e, dst, p, row)
}

// Role says what a plane holds. Its String is "weight", "scales" or "biases".
type Role = encoding.Role

// The planes of a stored matrix.
const (
	Weight Role = encoding.Weight // the codes, or the values themselves
	Scales Role = encoding.Scales // one factor per group or block
	Biases Role = encoding.Biases // one offset per group
)

// DType is an element type of a stored tensor, spelled as in a safetensors header. Its method Size
// is the number of bytes of one element, false for a type that is not listed here.
type DType = encoding.DType

// The element types smelt reads. Other spellings can occur in a file.
const (
	BOOL DType = encoding.BOOL
	U8   DType = encoding.U8
	I8   DType = encoding.I8
	U16  DType = encoding.U16
	I16  DType = encoding.I16
	U32  DType = encoding.U32
	I32  DType = encoding.I32
	U64  DType = encoding.U64
	I64  DType = encoding.I64
	F16  DType = encoding.F16
	BF16 DType = encoding.BF16
	F32  DType = encoding.F32
	F64  DType = encoding.F64
	E4M3 DType = encoding.E4M3
	E5M2 DType = encoding.E5M2
	E8M0 DType = encoding.E8M0
)
