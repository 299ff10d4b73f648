// Package storage says where a parameter's bytes lie: what kernels are
// specialised to and what a bundle records. It reads nothing.
package storage

import (
	"fmt"

	"smelt.example/smelt/internal/ir/encoding"
)

// Parameter is a weight as it lies in the checkpoint: a matrix of Rows x Cols
// (all dimensions but the last are rows) in one or more pieces.
type Parameter struct {
	Name string
	Rows int
	Cols int
	// Lead is the leading dimension of a parameter of three (experts, groups), else 1.
	Lead int
	// Encoding is the stored format; nil for integers, which are of type Integer.
	Encoding encoding.Encoding
	Integer  encoding.DType
	// Columns are set if the stored rows have more columns than the parameter.
	Columns Columns
	Pieces  []Piece // ascending in First, without gaps
}

// Columns says which of the columns of stored rows a parameter has.
type Columns struct {
	First  int // its first one
	Stored int // of a stored row, in all
}

// Piece is a run of a parameter's rows as one stored matrix holds them.
type Piece struct {
	First, Rows int // of the parameter
	StoredFirst int // row of the stored matrix that First is
	Weight      Extent
	Scales      Extent // zero if the encoding has none
	Biases      Extent // zero if the encoding has none
}

// Extent is a range of bytes of one of the checkpoint's files: a whole stored plane.
type Extent struct {
	File   int // index of the bundle's file list
	Offset int64
	Bytes  int64
}

// Skew is where the extent begins, modulo 16.
func (e Extent) Skew() int { return int(e.Offset % 16) }

// Plane returns the extent of a role.
func (p Piece) Plane(r encoding.Role) Extent {
	switch r {
	case encoding.Scales:
		return p.Scales
	case encoding.Biases:
		return p.Biases
	}
	return p.Weight
}

// Parameters finds parameters by name.
type Parameters map[string]*Parameter

// Bytes is what all parameters take. Those that are views of the same bytes count once.
func (ps Parameters) Bytes() (sum int64) {
	type view struct {
		piece   Piece // the first: others follow it alike
		columns Columns
	}
	seen := map[view]bool{}
	for _, p := range ps {
		v := view{p.Pieces[0], p.Columns}
		if !seen[v] {
			seen[v] = true
			sum += p.Bytes()
		}
	}
	return sum
}

// Get returns the parameter of that name.
func (ps Parameters) Get(name string) (*Parameter, error) {
	if p := ps[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("parameter @%s is not bound to stored tensors", name)
}

// stored is how many columns a stored row has.
func (p *Parameter) stored() int { return max(p.Cols, p.Columns.Stored) }

// RowStart is how many bytes of a stored row of a plane come before what the
// parameter has of it.
func (p *Parameter) RowStart(r encoding.Role) (int, error) {
	if p.Columns.First == 0 {
		return 0, nil
	}
	if p.Encoding == nil {
		size, _ := p.Integer.Size()
		return size * p.Columns.First, nil
	}
	n, err := encoding.BytesBefore(p.Encoding, r, p.Columns.First)
	if err != nil {
		return 0, fmt.Errorf("parameter @%s: %w", p.Name, err)
	}
	return n, nil
}

// Skew is where what a kernel reads of piece i begins in a plane, modulo 16.
func (p *Parameter) Skew(i int, r encoding.Role) int {
	start, _ := p.RowStart(r) // Check has refused columns that begin nowhere
	return (p.Pieces[i].Plane(r).Skew() + start) % 16
}

// RowBytes is the size of a stored row of a plane.
func (p *Parameter) RowBytes(r encoding.Role) (int, error) {
	if p.Encoding == nil {
		size, ok := p.Integer.Size()
		if !ok {
			return 0, fmt.Errorf("parameter @%s: %s has no size", p.Name, p.Integer)
		}
		return size * p.stored(), nil
	}
	planes, err := p.Encoding.Planes(p.Rows, p.stored())
	if err != nil {
		return 0, fmt.Errorf("parameter @%s: %w", p.Name, err)
	}
	for _, pl := range planes {
		if pl.Role == r {
			return pl.Bytes() / pl.Rows, nil
		}
	}
	return 0, nil
}

// Start is where in its file the first row of piece i begins in a plane. Pieces
// may be runs of rows of one stored matrix, such as gate and up of each expert
// in one tensor. Planes that hold a factor for several rows must begin at one. What
// the parameter has of the row begins RowStart bytes later.
func (p *Parameter) Start(i int, r encoding.Role) (int64, error) {
	pc := p.Pieces[i]
	row, err := p.RowBytes(r)
	if err != nil || pc.StoredFirst == 0 {
		return pc.Plane(r).Offset, err
	}
	every := 1
	if p.Encoding != nil {
		every = encoding.GroupRows(p.Encoding, r)
	}
	if pc.StoredFirst%every != 0 {
		return 0, fmt.Errorf("parameter @%s: piece %d begins at stored row %d, within a block of %d rows that share a scale", p.Name, i, pc.StoredFirst, every)
	}
	return pc.Plane(r).Offset + int64(pc.StoredFirst/every)*int64(row), nil
}

// Bytes is the size of the parameter in its encoding.
func (p *Parameter) Bytes() int64 {
	var n int64
	if p.Encoding == nil {
		size, _ := p.Integer.Size()
		return int64(size) * int64(p.Cols) * int64(p.Rows)
	}
	size, err := encoding.Bytes(p.Encoding, p.Rows, p.Cols)
	if err != nil {
		return n
	}
	return int64(size)
}
