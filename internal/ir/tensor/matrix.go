package tensor

import "fmt"

// Matrix is a parameter in memory, for weights that do not come from a file.
type Matrix struct {
	Values []float64 // row by row
	Width  int       // columns
}

// NewMatrix makes a parameter of values in rows of that width.
func NewMatrix(values []float64, width int) Matrix { return Matrix{Values: values, Width: width} }

// Rows is the number of rows.
func (m Matrix) Rows() int { return len(m.Values) / m.Width }

// Cols is the number of columns.
func (m Matrix) Cols() int { return m.Width }

func (m Matrix) row(r int) []float64 { return m.Values[r*m.Width : (r+1)*m.Width] }

// Row32 rounds row r to float32.
func (m Matrix) Row32(dst []float32, r int) {
	for i, v := range m.row(r) {
		dst[i] = float32(v)
	}
}

// Row64 copies row r.
func (m Matrix) Row64(dst []float64, r int) { copy(dst, m.row(r)) }

// Ints gives row r as integers. It fails on a value that is no integer, or outside int32.
func (m Matrix) Ints(dst []int32, r int) error {
	for i, v := range m.row(r) {
		dst[i] = int32(v)
		if float64(dst[i]) != v {
			return fmt.Errorf("row %d, column %d: %v is not an integer of 32 bits", r, i, v)
		}
	}
	return nil
}
