package checkpoint

import (
	"cmp"
	"fmt"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/indices"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/schema"
)

// maxBadIndices is how many bad integers of a tensor a message spells out.
const maxBadIndices = 3

// checkIndices reads the integers that index something and finds those that are
// outside: one item for each stored tensor that has any.
func (b *Binding) checkIndices(dir string, indexed map[string]indices.Use, sized []string) error {
	findings := &Findings{Path: dir}
	var items []string
	total := 0
	for i := range b.Params {
		p := &b.Params[i]
		use, ok := indexed[p.Name]
		if !ok {
			continue
		}
		for _, v := range p.Views {
			n, text, err := badIndices(p, v, use)
			if err != nil {
				return err
			}
			if total += n; n > 0 {
				items = append(items, text)
			}
		}
	}
	if total > 0 {
		findings.Add(message.Count(total, "stored number")+" outside the range of what they choose; no kernel was run, for it would read elsewhere in memory",
			"the file is damaged, or of another model than config.json: download it again, or convert it again", items...)
		findings.addSized(sized)
	}
	return findings.Err()
}

// badIndices counts the integers of a view that are outside, and spells out the
// first of them.
func badIndices(p *Param, v View, use indices.Use) (n int, text string, err error) {
	size, _ := v.Weight.DType.Size() // bound as integers, which have one
	row := int64(size) * int64(p.Cols)
	data := v.Weight.Data()[int64(v.StoredFirst)*row:][:int64(v.Rows)*row]
	by := cmp.Or(use.By, "row")
	var bad error
	err = v.guarded(func() {
		bad = encoding.IntsOutside(v.Weight.DType, data, use.Limit, func(i int, stored string) {
			if n++; n <= maxBadIndices {
				text += fmt.Sprintf("%s %d has %s at [%d], ", by, v.First+i/p.Cols, stored, i%p.Cols)
			}
		})
	})
	if err = cmp.Or(err, bad); err != nil || n == 0 {
		return n, "", err
	}
	where := describe(v.Weight)
	if _, layer := schema.Generalise(p.Name); layer != "" {
		where += ", layer " + layer
	}
	if n > maxBadIndices {
		text += fmt.Sprintf("and %d more, ", n-maxBadIndices)
	}
	return n, fmt.Sprintf("%s: %sexpected 0 to %d", where, text, use.Limit-1), nil
}

func (s *source) Ints(dst []int32, r int) error {
	if !s.integer {
		return fmt.Errorf("parameter @%s holds real numbers", s.name)
	}
	i, row := s.locate(r)
	t := s.views[i].Weight
	size, _ := t.DType.Size() // bound as integers, which have one
	size *= s.cols
	var bad error
	err := s.views[i].guarded(func() {
		bad = encoding.DecodeInts(dst, t.DType, s.planes[i].Weight[row*size:(row+1)*size])
	})
	switch {
	case err != nil:
		return err
	case bad != nil:
		return fmt.Errorf("parameter @%s, row %d: tensor %s: %w", s.name, r, t.Name, bad)
	}
	return nil
}
