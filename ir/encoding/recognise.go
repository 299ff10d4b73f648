package encoding

import (
	"fmt"
	"strings"
)

// Storage is the planes of a matrix as found in a file; nil where there is none.
type Storage struct{ Weight, Scales, Biases *Stored }

// Stored is the type and shape of one tensor, leading dimensions flattened to rows.
type Stored struct {
	DType      DType
	Rows, Cols int
}

func (s Storage) of(r Role) *Stored {
	return [...]*Stored{s.Weight, s.Scales, s.Biases}[r]
}

// Recognise finds the encoding in which s stores a matrix of rows x cols (cols is the contraction
// axis as the graph knows it). Types and shapes decide; a checkpoint's configuration is not needed
// and often wrong. The error says in one sentence what was expected and what was found.
func Recognise(s Storage, rows, cols int) (Encoding, error) {
	if s.Weight == nil {
		return nil, fmt.Errorf("expected a weight for %d rows x %d columns, found %s", rows, cols, s)
	}
	if err := checkSize(rows, cols); err != nil {
		return nil, err
	}
	var near *family // has the right types
	for _, f := range families {
		for _, e := range f.members {
			if !e.form().hasTypes(s) {
				continue
			}
			near = f
			if ps, err := e.Planes(rows, cols); err == nil && hasShapes(ps, s) {
				return e, nil
			}
		}
	}
	if near != nil {
		return nil, fmt.Errorf("expected %s for N = %d rows and K = %d columns, found %s", near.storedAs, rows, cols, s)
	}
	var known []string
	for _, f := range families {
		known = append(known, f.storedAs)
	}
	return nil, fmt.Errorf("expected N = %d rows and K = %d columns stored as %s; found %s", rows, cols, strings.Join(known, "; or "), s)
}

// hasTypes reports whether s has the form's planes and no others, by type.
func (f form) hasTypes(s Storage) bool {
	var want [3]planeForm
	for _, p := range f.planes {
		want[p.role] = p
	}
	for r, p := range want {
		st := s.of(Role(r))
		if (st == nil) != (p.dtype == "") {
			return false
		}
		if st != nil && st.DType != p.dtype && (p.also == "" || st.DType != p.also) {
			return false
		}
	}
	return true
}

func hasShapes(ps []Plane, s Storage) bool {
	for _, p := range ps {
		if st := s.of(p.Role); st.Rows != p.Rows || st.Cols != p.Cols {
			return false
		}
	}
	return true
}

// String writes the planes for a message.
func (s Storage) String() string {
	var parts []string
	for _, r := range []Role{Weight, Scales, Biases} {
		if st := s.of(r); st != nil {
			parts = append(parts, fmt.Sprintf("%s %s [%d, %d]", r, st.DType, st.Rows, st.Cols))
		} else {
			parts = append(parts, "no "+r.String())
		}
	}
	return strings.Join(parts, ", ")
}
