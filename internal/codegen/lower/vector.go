package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
)

// vector reads single elements of a parameter that is stored as plain floats:
// norm weights, sinks, biases, tables.
type vector struct {
	at func(i *kernel.Expr) *kernel.Expr
}

// At is element i (i32) as f32; a table's rows follow each other.
func (v vector) At(i *kernel.Expr) *kernel.Expr { return v.at(i) }

// vector binds a plain parameter. Elements that do not lie on their own
// alignment are read byte by byte.
func (u *emitter) vector(name, param string) vector {
	p, err := u.in.Params.Get(param)
	if err != nil {
		u.fail("%w", err)
		return vector{func(*kernel.Expr) *kernel.Expr { return f32(0) }}
	}
	plain, ok := encoding.PlainType(p.Encoding)
	if !ok || len(p.Pieces) != 1 || !u.wholeRows(p) {
		u.fail("parameter @%s: kernels read it element by element, which takes plain floats in one piece", param)
		return vector{func(*kernel.Expr) *kernel.Expr { return f32(0) }}
	}
	first := p.Pieces[0].StoredFirst * p.Cols
	read := u.elements(name, param, encoding.Weight, plain, p.Pieces[0].Weight.Skew())
	return vector{func(i *kernel.Expr) *kernel.Expr { return read(i.Add(i32(first))) }}
}

// wholeRows refuses a parameter that has some columns of its stored rows only.
func (u *emitter) wholeRows(p *storage.Parameter) bool {
	if p.Columns == (storage.Columns{}) {
		return true
	}
	u.fail("parameter @%s: kernels read it element by element, which takes whole rows, found %d of %d columns", p.Name, p.Cols, p.Columns.Stored)
	return false
}

// elements returns a reader of a plane's elements as f32, for any skew.
func (u *emitter) elements(name, param string, r encoding.Role, t encoding.DType, skew int) func(i *kernel.Expr) *kernel.Expr {
	size, _ := t.Size()
	value := func(bits *kernel.Expr) *kernel.Expr { return floatOf(t, bits) }
	if skew%size == 0 {
		elem := map[int]kernel.Scalar{1: kernel.U8, 2: kernel.U16, 4: kernel.U32}[size]
		plane := u.weightPlane(name, param, r, kernel.Of(elem))
		return func(i *kernel.Expr) *kernel.Expr { return value(plane.At(i).To(kernel.U32)) }
	}
	plane := u.weightPlane(name, param, r, kernel.Of(kernel.U8))
	return func(i *kernel.Expr) *kernel.Expr {
		var bits *kernel.Expr
		for b := range size {
			part := plane.At(i.Mul(i32(size)).Add(i32(b))).To(kernel.U32)
			if b > 0 {
				part = part.Shl(kernel.U(uint32(8 * b)))
			}
			if bits == nil {
				bits = part
			} else {
				bits = bits.Or(part)
			}
		}
		return value(bits)
	}
}

// floatOf turns the stored bits of a plain float, or of a scale, into f32.
func floatOf(t encoding.DType, bits *kernel.Expr) *kernel.Expr {
	switch t {
	case encoding.BF16:
		return bits.Shl(kernel.U(16)).As(kernel.F32)
	case encoding.F16:
		return bits.To(kernel.U16).As(kernel.F16).To(kernel.F32)
	case encoding.E8M0, encoding.U8:
		// 2^(b-127); b = 0 would be a subnormal, which targets may flush.
		return bits.Shl(kernel.U(23)).As(kernel.F32)
	}
	return bits.As(kernel.F32)
}
