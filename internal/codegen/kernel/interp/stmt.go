package interp

import (
	"slices"
	"strconv"

	"smelt.example/smelt/internal/codegen/kernel"
)

// run executes statements for the threads of mask.
func (m *machine) run(body []kernel.Stmt, mask []bool) {
	for _, s := range body {
		mark := len(m.used)
		m.statement(s, mask)
		m.release(mark)
	}
}

func (m *machine) statement(s kernel.Stmt, mask []bool) {
	switch s := s.(type) {
	case *kernel.Comment, *kernel.Prefetch:
	case *kernel.Let:
		m.assign(s.Name, m.eval(s.Value, mask), mask)
	case *kernel.Var:
		m.assign(s.Name, m.eval(s.Init, mask), mask)
	case *kernel.Set:
		m.assign(s.Name, m.eval(s.Value, mask), mask)
	case *kernel.Locals:
		for i := range s.Len {
			delete(m.locals, element(s.Name, int64(i)))
		}
	case *kernel.SetElement:
		m.assign(m.element(s.Name, s.Index, mask), m.eval(s.Value, mask), mask)
	case *kernel.Store:
		m.store(s, mask)
	case *kernel.If:
		m.branch(s, mask)
	case *kernel.For:
		m.loop(s, mask)
	case *kernel.Barrier:
		m.barrier(mask)
	case *kernel.Fragment:
		fs := make([]fragment, m.threads/m.width)
		for g := range fs {
			fs[g] = fragment{s, make([]float32, s.Rows*s.Columns)}
		}
		m.fragments[s.Name] = fs
	case *kernel.FragmentLoad:
		m.moveFragment(s.Name, kernel.FragmentStore{Space: s.Space, Place: s.Place, Index: s.Index, Stride: s.Stride}, s.Transpose, false, mask)
	case *kernel.FragmentStore:
		m.moveFragment(s.Name, *s, false, true, mask)
	case *kernel.FragmentMultiply:
		m.multiply(s, mask)
	default:
		failf("statement %T is not known", s)
	}
}

// element is the name that one of several variables has here. Verify sees to it that all
// threads mean the same one.
func (m *machine) element(name string, index *kernel.Expr, mask []bool) string {
	return element(name, m.eval(index, mask)[max(0, slices.Index(mask, true))].i[0])
}

func element(name string, i int64) string { return name + "[" + strconv.FormatInt(i, 10) + "]" }

func (m *machine) assign(name string, v []value, mask []bool) {
	local := m.locals[name]
	if local == nil {
		local = m.spare()
		clear(local)
		m.locals[name] = local
	}
	for t, on := range mask {
		if on {
			local[t] = v[t]
		}
	}
}

func (m *machine) store(s *kernel.Store, mask []bool) {
	index, v := m.eval(s.Index, mask), m.eval(s.Value, mask)
	p := m.place(s.Space, s.Name)
	for t, on := range mask {
		if on {
			encode(p.at(index[t].i[0], t, true), p.elem, &v[t])
		}
	}
}

func (m *machine) branch(s *kernel.If, mask []bool) {
	cond := m.eval(s.Cond, mask)
	yes, no := make([]bool, m.threads), make([]bool, m.threads)
	for t, on := range mask {
		yes[t] = on && cond[t].i[0] != 0
		no[t] = on && cond[t].i[0] == 0
	}
	if slices.Contains(yes, true) {
		m.run(s.Then, yes)
	}
	if slices.Contains(no, true) {
		m.run(s.Else, no)
	}
}

// loop takes the bounds once, before the first pass.
func (m *machine) loop(s *kernel.For, mask []bool) {
	at, hi, step := m.operand(), m.operand(), m.operand() // the body may set what they were computed from
	copy(at, m.eval(s.Lo, mask))
	copy(hi, m.eval(s.Hi, mask))
	copy(step, m.eval(s.Step, mask))
	in := make([]bool, m.threads)
	for {
		for t, on := range mask {
			in[t] = on && at[t].i[0] < hi[t].i[0]
		}
		if !slices.Contains(in, true) {
			return
		}
		m.assign(s.Name, at, in)
		m.run(s.Body, in)
		for t := range at {
			at[t].i[0] += step[t].i[0]
		}
	}
}

func (m *machine) barrier(mask []bool) {
	if t := slices.Index(mask, false); t >= 0 {
		failf("thread %d does not reach a barrier that others reach", t)
	}
	for _, a := range m.shared {
		clear(a.touched)
	}
}

// eachSimd runs f for the SIMD groups at work, all of whose lanes must be.
func (m *machine) eachSimd(mask []bool, f func(g, first int)) {
	for first := 0; first < m.threads; first += m.width {
		lanes := mask[first : first+m.width]
		if !slices.Contains(lanes, true) {
			continue
		}
		if slices.Contains(lanes, false) {
			failf("threads %d to %d: not all lanes reach an operation of the SIMD group", first, first+m.width-1)
		}
		f(first/m.width, first)
	}
}

// moveFragment loads or stores. For the search for races, the first lane does it.
func (m *machine) moveFragment(name string, s kernel.FragmentStore, transpose, write bool, mask []bool) {
	index, stride := m.eval(s.Index, mask), m.eval(s.Stride, mask)
	p := m.place(s.Space, s.Place)
	m.eachSimd(mask, func(g, first int) {
		at, step := index[first].i[0], stride[first].i[0]
		for lane := range m.width {
			if index[first+lane].i[0] != at || stride[first+lane].i[0] != step {
				failf("thread %d: fragment %s is elsewhere than for its first lane", first+lane, name)
			}
		}
		f := &m.fragments[name][g]
		for i := range f.at {
			row, column := i/f.Columns, i%f.Columns
			if transpose {
				row, column = column, row
			}
			b, v := p.at(at+int64(row)*step+int64(column), first, write), value{f: [4]float32{f.at[i]}}
			if write {
				encode(b, p.elem, &v)
			} else {
				decode(&v, b, p.elem)
				f.at[i] = v.f[0]
			}
		}
	})
}

func (m *machine) multiply(s *kernel.FragmentMultiply, mask []bool) {
	m.eachSimd(mask, func(g, _ int) {
		d, a, b := &m.fragments[s.D][g], &m.fragments[s.A][g], &m.fragments[s.B][g]
		for i := range d.at {
			row, column := i/d.Columns, i%d.Columns
			for k := range a.Columns {
				d.at[i] += a.at[row*a.Columns+k] * b.at[k*b.Columns+column]
			}
			if d.Elem == kernel.F16 {
				d.at[i] = halfValue(halfBits(d.at[i]))
			}
		}
	})
}
