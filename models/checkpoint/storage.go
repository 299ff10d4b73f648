package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"smelt.example/smelt/internal/ir/encoding"
)

// stored recognises how a stem's tensors store a matrix of m's size, for the
// parameters named in tenants. What does not fit becomes one finding.
func (b *binder) stored(tenants, stem string, m matrix) (View, bool) {
	w, planes := b.find(stem)
	if w == nil {
		return View{}, false
	}
	v := View{Weight: w, Scales: planes[encoding.Scales], Biases: planes[encoding.Biases]}
	enc, why := b.recogniseStored(v, m)
	if why != "" {
		b.claimAll(planes)
		if !b.bad[w] { // another tenant may have met it before
			of := ""
			if tenants != w.Name {
				of = " for " + tenants
			}
			b.badStorage = append(b.badStorage, fmt.Sprintf("%s%s: %s", describe(w), of, why))
		}
		b.bad[w] = true
		return View{}, false
	}
	v.Encoding = enc
	if enc != nil {
		b.quants[strings.TrimPrefix(stem, b.layout.Wrapper)] = enc
	}
	return v, true
}

// recogniseStored gives the encoding (nil for integers) of the view's tensors
// as a whole, or says what is wrong with them.
func (b *binder) recogniseStored(v View, m matrix) (enc encoding.Encoding, why string) {
	if why := badDims(v.Weight, m); why != "" {
		return nil, why
	}
	if m.integer {
		return nil, badTable(v, m)
	}
	var s encoding.Storage
	for _, plane := range []struct {
		role   encoding.Role
		tensor *Tensor
		to     **encoding.Stored
	}{{encoding.Weight, v.Weight, &s.Weight}, {encoding.Scales, v.Scales, &s.Scales}, {encoding.Biases, v.Biases, &s.Biases}} {
		t := plane.tensor
		if t == nil {
			continue
		}
		if !besideWeight(t, v.Weight) {
			return nil, fmt.Sprintf("expected %s with the leading dimensions of the weight, or all of them as one, found %s", plane.role, describe(t))
		}
		*plane.to = &encoding.Stored{DType: t.DType, Rows: int(rowsOf(t)), Cols: int(t.Shape[len(t.Shape)-1])}
	}
	enc, err := encoding.Recognise(s, m.rows, m.cols)
	if err != nil {
		return nil, err.Error()
	}
	return enc, blocksAcross(enc, v.Weight)
}

// badDims checks the leading dimensions: those of the parameter, or all of
// them flattened into one.
func badDims(w *Tensor, m matrix) string {
	if len(w.Shape) == 0 {
		return fmt.Sprintf("expected the shape %v, found a scalar", m.dims)
	}
	lead, have := m.dims[:len(m.dims)-1], w.Shape[:len(w.Shape)-1]
	if slices.Equal(have, lead) || (len(have) == 1 && have[0] == int64(m.rows)) {
		return ""
	}
	if len(lead) == 0 {
		return fmt.Sprintf("expected the shape %v, found %v", m.dims, w.Shape)
	}
	or := ""
	if len(lead) > 1 {
		or = fmt.Sprintf(" or [%d]", m.rows)
	}
	return fmt.Sprintf("expected %v before the last dimension%s (the parameter is %v), found %v", lead, or, m.dims, have)
}

// badTable checks a table of integers.
func badTable(v View, m matrix) string {
	w := v.Weight
	switch {
	case !encoding.IsInteger(w.DType):
		return fmt.Sprintf("expected integers (I8 to I64, U8 to U64), found %s", w.DType)
	case w.Shape[len(w.Shape)-1] != int64(m.cols):
		return fmt.Sprintf("expected the shape %v, found %v", m.dims, w.Shape)
	case v.Scales != nil || v.Biases != nil:
		return "expected integers without scales and biases"
	}
	return ""
}

// quantised tells encodings of codes from those that store the values themselves.
func quantised(e encoding.Encoding) bool {
	_, plain := encoding.PlainType(e)
	return !plain
}

// besideWeight tells whether a plane's leading dimensions go with the weight's:
// as many, equal but for the rows (which Recognise checks), or flattened.
func besideWeight(t, w *Tensor) bool {
	switch n := len(t.Shape); {
	case n == 0:
		return false
	case n <= 2:
		return true
	default:
		return n == len(w.Shape) && slices.Equal(t.Shape[:n-2], w.Shape[:n-2])
	}
}

// blocksAcross refuses stacked matrices whose blocks of rows would reach from
// one matrix into the next: nothing says where their scales would lie.
func blocksAcross(e encoding.Encoding, w *Tensor) string {
	n := len(w.Shape)
	together := int64(encoding.GroupRows(e, encoding.Scales))
	if n < 3 || w.Shape[n-2]%together == 0 {
		return ""
	}
	return fmt.Sprintf("expected a multiple of %d rows in each of the stacked matrices, as %s has a scale per %d rows, found %d",
		together, e.Name(), together, w.Shape[n-2])
}

// describe names a tensor with its file, for findings.
func describe(t *Tensor) string {
	return fmt.Sprintf("%s %s%v (%s)", t.Name, t.DType, t.Shape, base(t.File))
}
