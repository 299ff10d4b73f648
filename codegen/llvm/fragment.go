package llvm

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt/codegen/kernel"
)

// An 8x8 fragment is eight rows of eight. Of a product D += A B, rows of D and B
// are registers and elements of A are broadcast, best from memory.

const side = 8

var rowType = types.NewVector(side, types.Float)

// fragment is a matrix: rows in variables, or (source) still in memory, to be
// read element by element as the left operand of products.
type fragment struct {
	rows   [side]*ir.InstAlloca
	source func(row, column int) value.Value
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

// leftOperands are the fragments that serve as left operands alone, each time
// loaded in the same block with nothing between that writes memory. They need
// no registers.
func leftOperands(body []kernel.Stmt) map[string]bool {
	left := map[string]bool{}
	scanFragments(body, func(name string, ok bool) {
		if had, seen := left[name]; !seen || had {
			left[name] = ok
		}
	})
	return left
}

// scanFragments reports every use of a fragment, and whether it is one as a left
// operand of what the block has just loaded.
func scanFragments(body []kernel.Stmt, use func(name string, ok bool)) {
	loaded := map[string]bool{}
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.FragmentLoad:
			loaded[s.Name] = true
		case *kernel.FragmentMultiply:
			use(s.A, loaded[s.A])
			use(s.B, false)
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
	if f.left[s.Name] {
		g.source = func(row, column int) value.Value {
			if s.Transpose {
				row, column = column, row
			}
			i := f.rowIndex(at, stride, int64(row))
			return f.loadAligned(types.Float, f.address(p, t, i.base, i.offsets[0]+int64(column), types.Float), t)
		}
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

// multiply is D += A B, one column of A and row of B after the other.
func (f *function) multiply(d, a, b *fragment) {
	acc := make([]value.Value, side)
	for r := range acc {
		acc[r] = f.block.NewLoad(rowType, d.rows[r])
	}
	for k := range side {
		row := f.block.NewLoad(rowType, b.rows[k])
		for r := range acc {
			var x value.Value
			if a.source != nil {
				one := f.block.NewInsertElement(constant.NewUndef(rowType), a.source(r, k), i32Const(0))
				x = f.shuffle(one, make([]int, side))
			} else {
				x = f.shuffle(f.block.NewLoad(rowType, a.rows[r]), broadcast(k))
			}
			acc[r] = f.call("fma", rowType, x, row, acc[r])
		}
	}
	for r, v := range acc {
		f.block.NewStore(v, d.rows[r])
	}
}

// broadcast picks element k eight times.
func broadcast(k int) []int {
	out := make([]int, side)
	for i := range out {
		out[i] = k
	}
	return out
}
