// Package encoding reads and writes, bit for bit, the formats in which checkpoints store weight
// matrices: plain floats, DeepSeek's FP8 and FP4, MLX's affine, mxfp4 and mxfp8, GGUF's Q8_0.
//
// A matrix is rows x cols with cols the contraction axis; leading dimensions are flattened to rows.
// It is stored in one to three planes: codes, scales, biases. An [Encoding] says what the planes
// look like, [Recognise] finds the encoding of given planes, [Decode] reads a row.
//
// Package ir/encoding is the part of it that users of the library see. A new encoding is one new file
// with its family and one entry of families: README.md says how.
package encoding

import (
	"fmt"
	"strings"
)

// Role says what a plane holds.
type Role int

// The planes of a stored matrix.
const (
	Weight Role = iota // the codes, or the values themselves
	Scales             // one factor per group or block
	Biases             // one offset per group
)

// String is "weight", "scales" or "biases".
func (r Role) String() string {
	switch r {
	case Weight:
		return "weight"
	case Scales:
		return "scales"
	case Biases:
		return "biases"
	}
	return fmt.Sprintf("Role(%d)", int(r))
}

// Planes holds the bytes of a stored matrix, each plane from row 0, row-major, without padding and
// at any alignment. A plane that the encoding does not have is empty.
type Planes struct{ Weight, Scales, Biases []byte }

// Of is the plane of the given role.
func (p Planes) Of(r Role) []byte {
	switch r {
	case Scales:
		return p.Scales
	case Biases:
		return p.Biases
	}
	return p.Weight
}

// Plane describes one plane; Rows and Cols count elements of DType.
type Plane struct {
	Role       Role
	DType      DType
	Rows, Cols int

	block int // bytes of an element that is a block of values; 0 for numbers
}

// ElementBytes is the size of an element.
func (p Plane) ElementBytes() int {
	if p.block > 0 {
		return p.block
	}
	size, _ := p.DType.Size()
	return size
}

// Bytes is the size of the plane.
func (p Plane) Bytes() int { return p.Rows * p.Cols * p.ElementBytes() }

// Encoding is a way to store a matrix of weights, such as [Plain] or [Affine]; [All] lists them. The
// values are comparable. One built by hand with fields outside [All] fails in Planes and Check.
type Encoding interface {
	// Name is stable; [Parse] reads it back.
	Name() string
	// Planes lists the planes that store a matrix of rows x cols, the weight first. It fails when cols is
	// not a multiple of the encoding's group.
	Planes(rows, cols int) ([]Plane, error)

	form() form
	family() *family
}

// form is an encoding's layout: what every plane's shape is in terms of the matrix's.
type form struct {
	unit    int     // cols is a multiple of this
	setting Setting // zero for values stored as they are
	planes  []planeForm
}

type planeForm struct {
	role   Role
	dtype  DType
	also   DType // an equivalent storage type that occurs in files, or ""
	rowDiv int   // stored rows: rows / rowDiv, rounded up
	colMul int   // stored cols: cols * colMul / colDiv, rounded up
	colDiv int

	unhandled []Unhandled
	block     int // bytes of an element that is a block of values, else 0
}

// family is a group of encodings with the same code: a row of the table of formats.
type family struct {
	name     string
	storedAs string // the planes in words, for messages; N x K is the matrix
	members  []Encoding
	decode32 func(e Encoding, dst []float32, p Planes, row int)
	decode64 func(e Encoding, dst []float64, p Planes, row int)
	encode   func(e Encoding, values []float64, rows, cols int) (Planes, error)
	unpack   func(e Encoding, by Features) (Unpack, error)
	random   func(e Encoding, mean, std float64) []Random
}

// complete reports whether no column of the row is empty.
func (f *family) complete() bool {
	return f.name != "" && f.storedAs != "" && len(f.members) > 0 && f.decode32 != nil && f.decode64 != nil &&
		f.encode != nil && f.unpack != nil && f.random != nil
}

// families is the table of formats.
var families = []*family{&plainFamily, &fp8Family, &fp4Family, &affineFamily, &mxFamily, &q80Family}

// byName panics at start-up on an incomplete family, which is a fault in the table above.
var byName = index(families)

func index(table []*family) map[string]Encoding {
	names := map[string]Encoding{}
	for _, f := range table {
		if !f.complete() {
			panic("encoding: family " + f.name + " has an empty column")
		}
		for _, e := range f.members {
			if names[e.Name()] != nil || e.family() != f {
				panic("encoding: family " + f.name + ": member " + e.Name() + " is double or of another family")
			}
			names[e.Name()] = e
		}
	}
	return names
}

// All lists every encoding, family by family.
func All() []Encoding {
	var all []Encoding
	for _, f := range families {
		all = append(all, f.members...)
	}
	return all
}

// Parse finds an encoding by its [Encoding.Name].
func Parse(name string) (Encoding, error) {
	if e := byName[name]; e != nil {
		return e, nil
	}
	var names []string
	for _, f := range families {
		names = append(names, f.members[0].Name())
	}
	return nil, fmt.Errorf("expected the name of an encoding (such as %s), found %q", strings.Join(names, ", "), name)
}

// maxValues bounds a matrix so that no size computed from it overflows.
const maxValues = 1 << 48

func checkSize(rows, cols int) error {
	if rows < 1 || cols < 1 || rows > maxValues/cols {
		return fmt.Errorf("expected a matrix of 1 to 2^48 values, found %d rows x %d columns", rows, cols)
	}
	return nil
}

// planes is Encoding.Planes for every family.
func planes(e Encoding, rows, cols int) ([]Plane, error) {
	if byName[e.Name()] != e {
		return nil, fmt.Errorf("expected an encoding of the table, found %q", e.Name())
	}
	if err := checkSize(rows, cols); err != nil {
		return nil, err
	}
	f := e.form()
	if cols%f.unit != 0 {
		return nil, fmt.Errorf("expected a multiple of %d columns for %s, found %d", f.unit, e.Name(), cols)
	}
	out := make([]Plane, len(f.planes))
	for i, p := range f.planes {
		out[i] = Plane{p.role, p.dtype, ceilDiv(rows, p.rowDiv), ceilDiv(cols*p.colMul, p.colDiv), p.block}
	}
	return out, nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// Bytes is the size of all planes of a matrix together. It fails as Planes does.
func Bytes(e Encoding, rows, cols int) (int, error) {
	ps, err := e.Planes(rows, cols)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, p := range ps {
		n += p.Bytes()
	}
	return n, nil
}

// Check reports whether p has exactly the bytes that e stores a matrix of rows x cols in. After it,
// [Decode] accepts p for every row.
func Check(e Encoding, p Planes, rows, cols int) error {
	ps, err := e.Planes(rows, cols)
	if err != nil {
		return err
	}
	var want [3]int
	for _, d := range ps {
		want[d.Role] = d.Bytes()
	}
	for _, r := range []Role{Weight, Scales, Biases} {
		if found := len(p.Of(r)); found != want[r] {
			return fmt.Errorf("expected %d bytes of %s for %d x %d in %s, found %d", want[r], r, rows, cols, e.Name(), found)
		}
	}
	return nil
}

// GroupRows is how many rows of a matrix share a row of a plane: 1 but for scales of blocks of rows.
func GroupRows(e Encoding, r Role) int {
	for _, p := range e.form().planes {
		if p.role == r {
			return p.rowDiv
		}
	}
	return 1
}

// BytesBefore is how many bytes of each row of a plane lie before what it has of a column. It fails
// where that is within an element, or within a group of columns that are stored together.
func BytesBefore(e Encoding, r Role, column int) (int, error) {
	f := e.form()
	for _, p := range f.planes {
		if p.role != r {
			continue
		}
		if column < 0 || column > maxValues || column%f.unit != 0 || column*p.colMul%p.colDiv != 0 {
			return 0, fmt.Errorf("expected columns of %s to be taken from where an element of the %s begins, found column %d", e.Name(), r, column)
		}
		return Plane{Rows: 1, Cols: column * p.colMul / p.colDiv, DType: p.dtype, block: p.block}.Bytes(), nil
	}
	return 0, nil
}

// Setting holds what a checkpoint's configuration says about an encoding: the name of the mode, bits
// for each weight and weights that share a scale. Plain encodings have the zero setting.
type Setting struct {
	Mode        string
	Bits, Group int
}

// SettingOf is the setting that stands for an encoding.
func SettingOf(e Encoding) Setting { return e.form().setting }

// Float is the type of decoded values.
type Float interface{ float32 | float64 }

// Decode writes row (from 0) of the matrix to dst, of length cols. It allocates nothing. p must have
// passed [Check] for len(dst) columns and more than row rows; otherwise Decode panics or reads the
// wrong bytes.
//
// In float64 every value is exact, except that an affine value scale*q+bias is rounded once. In
// float32 it is the same, except that values beyond float32's range become infinite, float64
// storage is rounded, and with float32 scales a value is rounded after the product and an affine one
// after the sum too. Subnormals are kept and NaN stays NaN.
func Decode[F Float](e Encoding, dst []F, p Planes, row int) {
	switch d := any(dst).(type) {
	case []float32:
		e.family().decode32(e, d, p, row)
	case []float64:
		e.family().decode64(e, d, p, row)
	}
}
