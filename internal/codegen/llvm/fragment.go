package llvm

import (
	"slices"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// A fragment's rows are vectors, each of as many registers as the schedule gave
// it. In a product D += A B, rows of D stay in registers, rows of B are read one
// after the other, and elements of A are broadcast, best from memory.

// fragment is a matrix: rows in variables, or, for an operand of products, memory that is
// read when it is used.
type fragment struct {
	*kernel.Fragment
	rows    []*ir.InstAlloca
	element func(row, column int) value.Value // of a left operand in memory
	row     func(r int) value.Value           // of a right operand in memory
}

func (g *fragment) rowType() *types.VectorType {
	return types.NewVector(uint64(g.Columns), types.Float)
}

// fragmentStmt runs a statement on fragments.
func (f *function) fragmentStmt(s kernel.Stmt) {
	switch s := s.(type) {
	case *kernel.Fragment:
		f.declareFragment(s)
	case *kernel.FragmentLoad:
		f.loadFragment(s)
	case *kernel.FragmentStore:
		p, g := place{s.Space, s.Place}, f.fragments[s.Name]
		at, stride := f.asIndex(f.eval(s.Index)), f.eval(s.Stride)
		for r, row := range g.rows {
			i := f.rowIndex(at, stride, r)
			f.block.NewStore(f.block.NewLoad(g.rowType(), row), f.address(p, kernel.Of(kernel.F32), i.base, i.offsets[0], g.rowType())).Align = 4
		}
	case *kernel.FragmentMultiply:
		f.multiply(f.fragments[s.D], f.fragments[s.A], f.fragments[s.B])
	default:
		f.fail("statement %T has no form in LLVM IR", s)
	}
}

func (f *function) declareFragment(s *kernel.Fragment) {
	if s.Elem != kernel.F32 {
		f.fail("fragment %s of %s: the CPU has matrices of f32", s.Name, s.Elem)
		return
	}
	g := &fragment{Fragment: s}
	f.fragments[s.Name] = g
	if f.inPlace[s.Name] != 0 {
		return
	}
	for range s.Rows {
		row := f.entry.NewAlloca(g.rowType())
		f.block.NewStore(constant.NewZeroInitializer(g.rowType()), row)
		g.rows = append(g.rows, row)
	}
}

// side is a fragment's side of a product.
type side int

const (
	left side = iota + 1
	right
)

// operandsInPlace finds the fragments that are operands on one side alone, and are loaded
// in the same block each time, with no write to memory in between. They need no registers.
func operandsInPlace(body []kernel.Stmt) map[string]side {
	uses := map[string]side{}
	scanFragments(body, func(name string, at side) {
		if had, seen := uses[name]; seen && had != at {
			at = 0
		}
		uses[name] = at
	})
	return uses
}

// scanFragments reports every use of a fragment: as which operand if it is one of
// what the block has just loaded, else 0.
func scanFragments(body []kernel.Stmt, use func(name string, at side)) {
	loaded := map[string]*kernel.FragmentLoad{}
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.FragmentLoad:
			loaded[s.Name] = s
		case *kernel.FragmentMultiply:
			use(s.D, 0)
			if loaded[s.A] != nil {
				use(s.A, left)
			} else {
				use(s.A, 0)
			}
			if l := loaded[s.B]; l != nil && !l.Transpose {
				use(s.B, right)
			} else {
				use(s.B, 0)
			}
		case *kernel.FragmentStore:
			use(s.Name, 0)
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
func (f *function) rowIndex(at *index, stride operand, r int) *index {
	return f.addIndex(kernel.Of(kernel.I32), at, f.scaleIndex(kernel.Of(kernel.I32), stride.index, int64(r)).index).index
}

func (f *function) loadFragment(s *kernel.FragmentLoad) {
	p, t := place{s.Space, s.Place}, kernel.Of(kernel.F32)
	at, stride := f.asIndex(f.eval(s.Index)), f.eval(s.Stride)
	g := f.fragments[s.Name]
	load := func(r, column int, as types.Type) value.Value {
		i := f.rowIndex(at, stride, r)
		return f.loadAligned(as, f.address(p, t, i.base, i.offsets[0]+int64(column), as), t)
	}
	switch f.inPlace[s.Name] {
	case left:
		g.element = func(row, column int) value.Value {
			if s.Transpose {
				row, column = column, row
			}
			return load(row, column, types.Float)
		}
		return
	case right:
		g.row = func(r int) value.Value { return load(r, 0, g.rowType()) }
		return
	}
	if s.Transpose && (g.Rows != g.Columns || g.Rows&(g.Rows-1) != 0) {
		f.fail("fragment %s of %d x %d: the CPU transposes squares, of a power of two", s.Name, g.Rows, g.Columns)
		return
	}
	rows := make([]value.Value, g.Rows)
	for r := range rows {
		rows[r] = load(r, 0, g.rowType())
	}
	if s.Transpose {
		rows = f.transpose(rows)
	}
	for r, v := range rows {
		f.block.NewStore(v, g.rows[r])
	}
}

// transpose exchanges rows and columns: pairs of rows at distance n/2 ... 2 and 1
// exchange the halves ... that belong to the other.
func (f *function) transpose(rows []value.Value) []value.Value {
	n := len(rows)
	for d := n / 2; d >= 1; d /= 2 {
		next := make([]value.Value, n)
		for r := range rows {
			if r&d != 0 {
				continue
			}
			upper, lower := make([]int, n), make([]int, n)
			for c := range n {
				if c&d == 0 {
					upper[c], lower[c] = c, c+d
				} else {
					upper[c], lower[c] = n+c-d, n+c
				}
			}
			next[r], next[r+d] = f.shuffle2(rows[r], rows[r+d], upper), f.shuffle2(rows[r], rows[r+d], lower)
		}
		rows = next
	}
	return rows
}

// multiply computes D += A B, one column of A and row of B after the other.
func (f *function) multiply(d, a, b *fragment) {
	t := d.rowType()
	acc := make([]value.Value, d.Rows)
	for r := range acc {
		acc[r] = f.block.NewLoad(t, d.rows[r])
	}
	for k := range a.Columns {
		var row value.Value
		if b.row != nil {
			row = b.row(k)
		} else {
			row = f.block.NewLoad(t, b.rows[k])
		}
		for r := range acc {
			var x value.Value
			if a.element != nil {
				one := f.block.NewInsertElement(constant.NewUndef(t), a.element(r, k), i32Const(0))
				x = f.shuffle(one, make([]int, d.Columns))
			} else {
				x = f.shuffle(f.block.NewLoad(a.rowType(), a.rows[r]), slices.Repeat([]int{k}, d.Columns))
			}
			acc[r] = f.call("fma", t, x, row, acc[r])
		}
	}
	for r, v := range acc {
		f.block.NewStore(v, d.rows[r])
	}
}
