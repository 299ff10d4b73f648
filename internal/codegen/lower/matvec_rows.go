package lower

import "smelt.example/smelt/internal/codegen/kernel"

// rowsFrom names matvecRows rows from `at` on, a multiple of that, the last
// repeated at the edge.
func (u *emitter) rowsFrom(o *opened, at *kernel.Expr, n int) []rowOf {
	rows := make([]rowOf, matvecRows)
	for j := range rows {
		r := at.Add(i32(j))
		if n%matvecRows != 0 {
			r = r.Min(i32(n - 1))
		}
		rows[j] = o.row(r)
		rows[j].together = true
	}
	return rows
}
