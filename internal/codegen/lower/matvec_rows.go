package lower

import "smelt.example/smelt/internal/codegen/kernel"

// rowsFrom names `count` rows from `at` on, a multiple of that; where some may lie beyond the
// n there are, the last is repeated.
func (u *emitter) rowsFrom(o *opened, at *kernel.Expr, count, n int, beyond bool) []rowOf {
	rows := make([]rowOf, count)
	for j := range rows {
		r := at.Add(i32(j))
		if beyond {
			r = r.Min(i32(n - 1))
		}
		rows[j] = o.row(r)
		rows[j].together = count%matvecRows == 0
	}
	return rows
}

// alike reports whether rows of two matrices can be multiplied side by side: they are
// read the same way.
func (m *matrix) alike(o *matrix) bool {
	return m.p.Encoding.Name() == o.p.Encoding.Name() && m.cols == o.cols && m.elem == o.elem && m.wide == o.wide
}
