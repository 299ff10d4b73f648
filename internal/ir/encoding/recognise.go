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
	var likely []*family // have the right types
	for _, f := range families {
		for _, e := range f.members {
			if !e.form().hasTypes(s) {
				continue
			}
			likely = []*family{f}
			if ps, err := e.Planes(rows, cols); err == nil && hasShapes(ps, s) {
				return e, nil
			}
		}
	}
	if likely == nil {
		likely = withWeight(s.Weight.DType)
	}
	var forms []string
	for _, f := range likely {
		forms = append(forms, f.storedAs)
	}
	return nil, fmt.Errorf("expected %s for N = %d rows and K = %d columns, found %s", strings.Join(forms, "; or "), rows, cols, s)
}

// withWeight lists the families whose weights can be of type d, or if there is
// none all those of numbers: what to name when the types of the planes fit no
// family. Blocks of values are no type of a file of numbers.
func withWeight(d DType) []*family {
	var out, numbers []*family
	for _, f := range families {
		if f.hasWeight(d) {
			out = append(out, f)
		}
		if f.members[0].form().planes[0].block == 0 {
			numbers = append(numbers, f)
		}
	}
	if out == nil {
		return numbers
	}
	return out
}

// hasWeight reports whether any member of the family has weights of type d.
func (f *family) hasWeight(d DType) bool {
	for _, e := range f.members {
		for _, p := range e.form().planes {
			if p.role == Weight && (p.dtype == d || p.also == d) {
				return true
			}
		}
	}
	return false
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
