package llvm

import (
	"strings"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
)

// vectorConstant is a constant vector as text. The library's own prints element by
// element at each use, which took a third of all printing.
type vectorConstant struct {
	typ   *types.VectorType
	ident string
}

// vectorOf makes a vector of so many constants of a type.
func vectorOf(elem types.Type, n int, of func(i int) constant.Constant) *vectorConstant {
	var b strings.Builder
	separator := "<"
	for i := range n {
		b.WriteString(separator)
		b.WriteString(of(i).String())
		separator = ", "
	}
	b.WriteByte('>')
	return &vectorConstant{types.NewVector(uint64(n), elem), b.String()}
}

// fill makes a constant of a type; in a vector every element has it.
func fill(t types.Type, c constant.Constant) constant.Constant {
	v, ok := t.(*types.VectorType)
	if !ok {
		return c
	}
	text := c.String()
	return &vectorConstant{v, "<" + strings.Repeat(text+", ", int(v.Len)-1) + text + ">"}
}

func (v *vectorConstant) Type() types.Type { return v.typ }
func (v *vectorConstant) Ident() string    { return v.ident }
func (v *vectorConstant) String() string   { return v.typ.String() + " " + v.ident }
func (v *vectorConstant) IsConstant()      {}
