package checkpoint

import (
	"fmt"
	"math/bits"
	"sort"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/ir/encoding"
)

// A View is a run of a parameter's rows as one checkpoint tensor holds them.
// The parameter is seen as a matrix: all dimensions but the last are rows.
type View struct {
	First, Rows int // of the parameter
	StoredFirst int // row of the stored matrix that First is
	// Weight, and where the encoding has them Scales and Biases, are the
	// stored tensors. They may be shared with other views.
	Weight, Scales, Biases *Tensor
	// Encoding is nil for a parameter of integers.
	Encoding encoding.Encoding
}

// Skew is where the view's first weight byte lies, modulo 16: a kernel that
// loads words needs to know.
func (v View) Skew() int {
	perRow := v.Weight.Bytes / max(1, rowsOf(v.Weight))
	return int((v.Weight.Offset + int64(v.StoredFirst)*perRow) % 16)
}

// EncodingName is the view's stored format, or the element type of integers.
func (v View) EncodingName() string {
	if v.Encoding == nil {
		return string(v.Weight.DType)
	}
	return v.Encoding.Name()
}

// Bytes is how many bytes the view takes up in all its tensors. Views that
// share tensors add up to the tensors' sizes, even where a scale spans two of them.
func (v View) Bytes() int64 {
	rows, total := rowsOf(v.Weight), int64(0)
	for _, t := range []*Tensor{v.Weight, v.Scales, v.Biases} {
		if t != nil {
			total += share(t.Bytes, int64(v.StoredFirst+v.Rows), rows) - share(t.Bytes, int64(v.StoredFirst), rows)
		}
	}
	return total
}

// share is floor(n*part/whole) for n >= 0 and 0 <= part <= whole > 0, without
// overflow.
func share(n, part, whole int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(q)
}

func rowsOf(t *Tensor) int64 {
	n := int64(1)
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	return n
}

// A Param is a parameter of the graph with its views.
type Param struct {
	Name    string
	Rows    int // product of all dimensions but the last
	Cols    int
	Integer bool
	Place   schema.Place
	Views   []View // ascending in First, without gaps

	checkpoint *Checkpoint
}

// Encoding names the stored format; "mixed" if the views differ, the storage
// type for integers.
func (p *Param) Encoding() string {
	name := ""
	for _, v := range p.Views {
		n := v.EncodingName()
		if name != "" && n != name {
			return "mixed"
		}
		name = n
	}
	return name
}

// Format is the one stored format of all views: an encoding, or the type of
// integers. It fails if views differ.
func (p *Param) Format() (e encoding.Encoding, integer encoding.DType, err error) {
	first := p.Views[0]
	for _, v := range p.Views[1:] {
		if v.EncodingName() != first.EncodingName() {
			return nil, "", fmt.Errorf("parameter %s is stored as %s (%s) and as %s (%s), expected one format for all of it; convert the checkpoint again with one", p.Name, first.EncodingName(), first.Weight.Name, v.EncodingName(), v.Weight.Name)
		}
	}
	if p.Integer {
		return nil, encoding.DType(first.Weight.DType), nil
	}
	return first.Encoding, "", nil
}

// Source gives the parameter's values, decoded row by row from the mapped
// files. No data is read before a row is asked for. Rows of integers are to be
// asked for by Ints, those of real numbers by Row32 and Row64; the source is
// valid until the checkpoint is closed. A row whose bytes are gone from the file is
// a *container.ChangedError, of Row32 and Row64 in a *tensor.Unreadable.
func (p *Param) Source() tensor.Stored {
	s := &source{rows: p.Rows, cols: p.Cols, name: p.Name, integer: p.Integer, checkpoint: p.checkpoint}
	for _, v := range p.Views {
		pl := encoding.Planes{Weight: v.Weight.Data()}
		if v.Scales != nil {
			pl.Scales = v.Scales.Data()
		}
		if v.Biases != nil {
			pl.Biases = v.Biases.Data()
		}
		s.views = append(s.views, v)
		s.planes = append(s.planes, pl)
	}
	return s
}

type source struct {
	name       string
	rows, cols int
	integer    bool
	checkpoint *Checkpoint
	views      []View
	planes     []encoding.Planes
}

func (s *source) Rows() int { return s.rows }
func (s *source) Cols() int { return s.cols }

// locate finds the view that holds row r, and the row in the stored matrix.
func (s *source) locate(r int) (view, row int) {
	i := 0
	if n := len(s.views); n > 1 {
		i = sort.Search(n, func(i int) bool { return s.views[i].First > r }) - 1
	}
	return i, s.views[i].StoredFirst + r - s.views[i].First
}

// Files is the checkpoint.
func (s *source) Files() tensor.Files { return s.checkpoint }

func (s *source) Row32(dst []float32, r int) {
	i, row := s.locate(r)
	s.read(i, func() { encoding.Decode(s.views[i].Encoding, dst, s.planes[i], row) })
}

func (s *source) Row64(dst []float64, r int) {
	i, row := s.locate(r)
	s.read(i, func() { encoding.Decode(s.views[i].Encoding, dst, s.planes[i], row) })
}

// read runs decode, which reads planes of a view.
func (s *source) read(view int, decode func()) {
	if err := s.views[view].guarded(decode); err != nil {
		panic(&tensor.Unreadable{Err: err})
	}
}

// guarded runs read, which reads bytes of the view's tensors: it fails where they
// are gone.
func (v View) guarded(read func()) error {
	files := [...]File{v.Weight.File, nil, nil}
	for i, t := range []*Tensor{v.Scales, v.Biases} {
		if t != nil {
			files[1+i] = t.File
		}
	}
	return container.Guard(read, files[:]...)
}
