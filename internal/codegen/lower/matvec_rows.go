package lower

import "smelt.example/smelt/internal/codegen/kernel"

// rowsFrom names matvecRows rows from `at` on, a multiple of that, the last
// repeated at the edge.
func (u *emitter) rowsFrom(o *opened, at *kernel.Expr, n int) []rowOf {
	rows := u.someRowsFrom(o, at, matvecRows, n)
	for j := range rows {
		rows[j].together = true
	}
	return rows
}

// someRowsFrom names `count` rows from `at` on, a multiple of that, likewise.
func (u *emitter) someRowsFrom(o *opened, at *kernel.Expr, count, n int) []rowOf {
	rows := make([]rowOf, count)
	for j := range rows {
		r := at.Add(i32(j))
		if n%count != 0 {
			r = r.Min(i32(n - 1))
		}
		rows[j] = o.row(r)
	}
	return rows
}

// alike reports whether rows of two matrices can be multiplied side by side: they are
// read the same way.
func (m *matrix) alike(o *matrix) bool {
	return m.p.Encoding.Name() == o.p.Encoding.Name() && m.cols == o.cols && m.elem == o.elem
}
