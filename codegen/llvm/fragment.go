package llvm

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt/codegen/kernel"
)

// An 8x8 fragment is eight rows of eight. Of a product D += A B, rows of D are
// registers, elements of A are broadcast and rows of B loaded, best from memory.

const side = 8

// together is how many columns of A, and rows of B, a turn of a product's loop
// takes.
const together = 2

var rowType = types.NewVector(side, types.Float)

// fragment is a matrix: rows in variables, or (source) still in memory, to be
// read as an operand of products.
type fragment struct {
	rows   [side]*ir.InstAlloca
	source *source
}

// source is a matrix in memory; its rows are columns there if it is turned.
type source struct {
	place  place
	at     *index
	stride operand
	turned bool
}

// fragmentStmt runs a statement on fragments.
func (f *function) fragmentStmt(s kernel.Stmt) {
	switch s := s.(type) {
	case *kernel.Fragment:
		if s.Elem != kernel.F32 {
			f.fail("fragment %s of %s: the CPU has 8x8 matrices of f32", s.Name, s.Elem)
			return
		}
		g := &fragment{}
		for r := range g.rows {
			g.rows[r] = f.entry.NewAlloca(rowType)
			f.block.NewStore(constant.NewZeroInitializer(rowType), g.rows[r])
		}
		f.fragments[s.Name] = g
	case *kernel.FragmentLoad:
		f.loadFragment(s)
	case *kernel.FragmentStore:
		p := place{s.Space, s.Place}
		at, stride := f.asIndex(f.eval(s.Index)), f.eval(s.Stride)
		for r, row := range f.fragments[s.Name].rows {
			i := f.rowIndex(at, stride, int64(r))
			f.block.NewStore(f.block.NewLoad(rowType, row), f.address(p, kernel.Of(kernel.F32), i.base, i.offsets[0], rowType)).Align = 4
		}
	case *kernel.FragmentMultiply:
		f.multiply(f.fragments[s.D], f.fragments[s.A], f.fragments[s.B])
	default:
		f.fail("statement %T has no form in LLVM IR", s)
	}
}

// readInPlace are the fragments that serve as operands alone, each time loaded in
// the same block with nothing between that writes memory. They need no registers.
func readInPlace(body []kernel.Stmt) map[string]bool {
	inPlace := map[string]bool{}
	scanFragments(body, func(name string, ok bool) {
		if had, seen := inPlace[name]; !seen || had {
			inPlace[name] = ok
		}
	})
	return inPlace
}

// scanFragments reports every use of a fragment, and whether it is one as an
// operand that can be read where the block has just loaded it from: a right one
// row by row.
func scanFragments(body []kernel.Stmt, use func(name string, ok bool)) {
	loaded := map[string]*kernel.FragmentLoad{}
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.FragmentLoad:
			loaded[s.Name] = s
		case *kernel.FragmentMultiply:
			a, b := loaded[s.A], loaded[s.B]
			use(s.A, a != nil)
			use(s.B, b != nil && !b.Transpose)
			use(s.D, false)
		case *kernel.FragmentStore:
			use(s.Name, false)
			clear(loaded)
		case *kernel.Store:
			clear(loaded)
		case *kernel.For:
			clear(loaded)
			scanFragments(s.Body, use)
		case *kernel.If:
			clear(loaded)
			scanFragments(s.Then, use)
			scanFragments(s.Else, use)
		}
	}
}

// rowIndex is the index of row r.
func (f *function) rowIndex(at *index, stride operand, r int64) *index {
	return f.addIndex(kernel.Of(kernel.I32), at, f.scaleIndex(kernel.Of(kernel.I32), stride.index, r).index).index
}

func (f *function) loadFragment(s *kernel.FragmentLoad) {
	p, t := place{s.Space, s.Place}, kernel.Of(kernel.F32)
	at, stride := f.asIndex(f.eval(s.Index)), f.eval(s.Stride)
	g := f.fragments[s.Name]
	if f.inPlace[s.Name] {
		g.source = &source{p, at, stride, s.Transpose}
		return
	}
	rows := make([]value.Value, side)
	for r := range rows {
		i := f.rowIndex(at, stride, int64(r))
		rows[r] = f.loadAligned(rowType, f.address(p, t, i.base, i.offsets[0], rowType), t)
	}
	if s.Transpose {
		rows = f.transpose(rows)
	}
	for r, v := range rows {
		f.block.NewStore(v, g.rows[r])
	}
}

// transpose exchanges rows and columns: pairs of rows at distance 4, 2 and 1
// exchange the halves, quarters and eighths that belong to the other.
func (f *function) transpose(rows []value.Value) []value.Value {
	for d := side / 2; d >= 1; d /= 2 {
		next := make([]value.Value, side)
		for r := range rows {
			if r&d != 0 {
				continue
			}
			upper, lower := make([]int, side), make([]int, side)
			for c := range side {
				if c&d == 0 {
					upper[c], lower[c] = c, c+d
				} else {
					upper[c], lower[c] = side+c-d, side+c
				}
			}
			next[r], next[r+d] = f.shuffle2(rows[r], rows[r+d], upper), f.shuffle2(rows[r], rows[r+d], lower)
		}
		rows = next
	}
	return rows
}

// multiply is D += A B, one column of A and row of B after the other: a loop if
// both are in memory, since code for each of the eight takes the compiler long.
func (f *function) multiply(d, a, b *fragment) {
	acc := make([]value.Value, side)
	for r := range acc {
		acc[r] = f.block.NewLoad(rowType, d.rows[r])
	}
	if a.source != nil && b.source != nil {
		acc = f.multiplyInPlace(acc, a.source, b.source)
	} else {
		for k := range side {
			column := make([]value.Value, side)
			for r := range column {
				column[r] = f.leftElement(a, r, k)
			}
			f.addProducts(acc, column, f.rightRow(b, k))
		}
	}
	for r, v := range acc {
		f.block.NewStore(v, d.rows[r])
	}
}

// addProducts adds those of a column of A and a row of B to the rows of D.
func (f *function) addProducts(acc, column []value.Value, row value.Value) {
	for r, x := range column {
		acc[r] = f.call("fma", rowType, x, row, acc[r])
	}
}

// leftElement is an element of A in all places of a row.
func (f *function) leftElement(a *fragment, r, k int) value.Value {
	if a.source == nil {
		return f.shuffle(f.block.NewLoad(rowType, a.rows[r]), broadcast(k))
	}
	return f.repeat(f.loadAligned(types.Float, f.cell(a.source, r, k, types.Float), kernel.Of(kernel.F32)), rowType)
}

func (f *function) rightRow(b *fragment, k int) value.Value {
	if b.source == nil {
		return f.block.NewLoad(rowType, b.rows[k])
	}
	return f.loadAligned(rowType, f.cell(b.source, k, 0, rowType), kernel.Of(kernel.F32))
}

// cell points to an element of a matrix in memory.
func (f *function) cell(s *source, row, column int, as types.Type) value.Value {
	if s.turned {
		row, column = column, row
	}
	i := f.rowIndex(s.at, s.stride, int64(row))
	return f.address(s.place, kernel.Of(kernel.F32), i.base, i.offsets[0]+int64(column), as)
}

// multiplyInPlace loops over the columns of A and rows of B.
func (f *function) multiplyInPlace(acc []value.Value, a, b *source) []value.Value {
	var left [side]value.Value // A's rows' first elements
	for r := range left {
		left[r] = f.cell(a, r, 0, types.Float)
	}
	right := f.cell(b, 0, 0, types.Float)
	byRow, byColumn := f.wide(f.asScalar(b.stride), 1), value.Value(nil)
	if a.turned {
		byColumn = f.wide(f.asScalar(a.stride), 1)
	}
	from, body, done := f.block, f.newBlock("columns"), f.newBlock("product")
	from.NewBr(body)
	f.block = body
	k := body.NewPhi(ir.NewIncoming(constant.NewInt(types.I64, 0), from))
	sums, phis := make([]value.Value, side), make([]*ir.InstPhi, side)
	for r, v := range acc {
		phis[r] = body.NewPhi(ir.NewIncoming(v, from))
		sums[r] = phis[r]
	}
	for n := range together {
		at := value.Value(k)
		if n > 0 {
			at = body.NewAdd(k, constant.NewInt(types.I64, int64(n)))
		}
		row := f.loadAligned(rowType, body.NewBitCast(body.NewGetElementPtr(types.Float, right, body.NewMul(at, byRow)), types.NewPointer(rowType)), kernel.Of(kernel.F32))
		column := make([]value.Value, side)
		for r, first := range left {
			i := at
			if byColumn != nil {
				i = body.NewMul(at, byColumn)
			}
			column[r] = f.repeat(f.loadAligned(types.Float, body.NewGetElementPtr(types.Float, first, i), kernel.Of(kernel.F32)), rowType)
		}
		f.addProducts(sums, column, row)
	}
	next := body.NewAdd(k, constant.NewInt(types.I64, together))
	k.Incs = append(k.Incs, ir.NewIncoming(next, body))
	for r, phi := range phis {
		phi.Incs = append(phi.Incs, ir.NewIncoming(sums[r], body))
	}
	body.NewCondBr(body.NewICmp(enum.IPredULT, next, constant.NewInt(types.I64, side)), body, done)
	f.block = done
	return sums
}

// broadcast picks element k eight times.
func broadcast(k int) []int {
	out := make([]int, side)
	for i := range out {
		out[i] = k
	}
	return out
}
