package storage

import (
	"fmt"

	"smelt.example/smelt/internal/ir/encoding"
)

// Check refuses a parameter whose pieces are not its rows in order, or whose planes
// cannot hold them. files are the sizes of the checkpoint's files in bytes.
func (p *Parameter) Check(files []int64) error {
	if err := p.checkColumns(); err != nil {
		return err
	}
	next := 0
	for i, pc := range p.Pieces {
		if pc.First != next || pc.Rows < 1 || pc.Rows > p.Rows-next || pc.StoredFirst < 0 || pc.StoredFirst > 1<<40 {
			return fmt.Errorf("piece %d has %d rows from row %d, stored from row %d; expected some of %d from row %d", i, pc.Rows, pc.First, pc.StoredFirst, p.Rows, next)
		}
		next += pc.Rows
		if err := p.checkPlanes(pc, files); err != nil {
			return fmt.Errorf("piece %d: %w", i, err)
		}
	}
	if next != p.Rows || p.Rows < 1 || p.Cols < 1 {
		return fmt.Errorf("%d pieces of %d rows in all; expected %d of %d columns", len(p.Pieces), next, p.Rows, p.Cols)
	}
	return nil
}

// checkColumns refuses columns that stored rows have not, or that begin within
// what is stored together.
func (p *Parameter) checkColumns() error {
	c := p.Columns
	if c == (Columns{}) {
		return nil
	}
	if c.First < 0 || c.Stored < p.Cols || c.First > c.Stored-p.Cols {
		return fmt.Errorf("%d columns from column %d; expected some of the %d that stored rows have", p.Cols, c.First, c.Stored)
	}
	if p.Encoding == nil {
		return nil
	}
	if _, err := p.Encoding.Planes(p.Rows, p.Cols); err != nil {
		return err
	}
	for _, role := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
		if _, err := p.RowStart(role); err != nil {
			return err
		}
	}
	return nil
}

// checkPlanes compares a piece's extents with the planes of the encoding.
func (p *Parameter) checkPlanes(pc Piece, files []int64) error {
	want := map[encoding.Role]int64{}
	if p.Encoding != nil {
		planes, err := p.Encoding.Planes(pc.StoredFirst+pc.Rows, p.stored())
		if err != nil {
			return err
		}
		for _, pl := range planes {
			want[pl.Role] = int64(pl.Bytes())
		}
	} else {
		row, err := p.RowBytes(encoding.Weight)
		if err != nil {
			return err
		}
		want[encoding.Weight] = int64(row) * int64(pc.StoredFirst+pc.Rows)
	}
	for _, role := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
		switch e := pc.Plane(role); {
		case e == (Extent{}) && want[role] == 0:
		case want[role] == 0:
			return fmt.Errorf("the encoding has no %s, found %d bytes of them", role, e.Bytes)
		case e.File < 0 || e.File >= len(files):
			return fmt.Errorf("file %d of the %s is not one of %d", e.File, role, len(files))
		case e.Offset < 0 || e.Bytes < want[role] || e.Offset > files[e.File] || e.Bytes > files[e.File]-e.Offset:
			return fmt.Errorf("the %s take %d bytes, found %d from byte %d of a file of %d", role, want[role], e.Bytes, e.Offset, files[e.File])
		}
	}
	return nil
}
