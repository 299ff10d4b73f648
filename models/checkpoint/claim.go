package checkpoint

import (
	"cmp"
	"fmt"
	"slices"

	"smelt.example/smelt/internal/models/schema"
)

// claim is a run of a tensor's rows that a view uses. A plane with other rows
// than the weight (scales per block) is claimed in the weight's rows.
type claim struct{ first, rows int }

// wholeTensor claims all rows, however many.
const wholeTensor = -1

// claim notes the rows of all planes that a view uses.
func (b *binder) claim(v View) {
	c := claim{v.StoredFirst, v.Rows}
	if int64(v.Rows) == rowsOf(v.Weight) {
		c = claim{0, wholeTensor}
	}
	for _, t := range []*Tensor{v.Weight, v.Scales, v.Biases} {
		if t != nil {
			i := b.index[t.Name]
			b.claims[i] = append(b.claims[i], c)
		}
	}
}

// claimAll marks tensors as accounted for by another finding.
func (b *binder) claimAll(ts [3]*Tensor) {
	for _, t := range ts {
		if t != nil {
			b.claims[b.index[t.Name]] = []claim{{0, wholeTensor}}
		}
	}
}

// leftovers accounts for every tensor: claimed completely and once, ignored
// by a rule, or a finding.
func (b *binder) leftovers(ignores []schema.Ignore) {
	counts := make([]Ignored, len(ignores))
	for i, g := range ignores {
		counts[i] = Ignored{Prefix: g.Prefix, Reason: g.Reason}
	}
	for i := range b.tensors {
		t := &b.tensors[i]
		if len(b.claims[i]) > 0 {
			b.checkClaims(t, b.claims[i])
			continue
		}
		k := slices.IndexFunc(ignores, func(g schema.Ignore) bool { return g.Covers(t.Name) })
		if k < 0 {
			b.unclaimed = append(b.unclaimed, absence{t.Name, describe(t)})
			continue
		}
		counts[k].Tensors++
		counts[k].Bytes += t.Bytes
	}
	for _, c := range counts {
		if c.Tensors > 0 {
			b.out.Ignored = append(b.out.Ignored, c)
		}
	}
}

// superseded lists what is left unused because another copy counts.
func (b *binder) superseded() {
	for i := range b.checkpoint.superseded {
		row, note := b.checkpoint.superseded[i].ignored()
		b.out.Ignored = append(b.out.Ignored, row)
		b.out.Notes = append(b.out.Notes, note)
	}
}

// checkClaims requires the claims of one tensor to be all its rows, each once.
func (b *binder) checkClaims(t *Tensor, cs []claim) {
	if len(cs) == 1 && cs[0].rows == wholeTensor {
		return
	}
	slices.SortFunc(cs, func(x, y claim) int { return cmp.Compare(x.first, y.first) })
	next := 0
	for _, c := range cs {
		if c.rows == wholeTensor || c.first < next {
			b.doubled = append(b.doubled, describe(t))
			return
		}
		if c.first > next {
			break
		}
		next = c.first + c.rows
	}
	// Scales of row blocks have fewer rows than the weight; their weight's
	// claims are checked under the weight's own name.
	if rows := int(rowsOf(t)); next < rows {
		b.unclaimed = append(b.unclaimed, absence{t.Name, fmt.Sprintf("%s: rows %d to %d", describe(t), next, rows-1)})
	}
}

// secondPlaces finds, among the tensors without a place, those that hold a
// bound parameter once more under another of its names.
func (b *binder) secondPlaces() {
	if len(b.unclaimed) == 0 {
		return
	}
	without := map[string]bool{}
	for _, u := range b.unclaimed {
		without[u.name] = true
	}
	for i := range b.out.Params {
		p := &b.out.Params[i]
		pattern, layer := schema.Generalise(p.Name)
		for _, place := range b.rules[pattern].Places {
			if place.Stem == p.Place.Stem {
				continue
			}
			for _, stem := range place.Stems(layer, int(b.shapes[p.Name].dims[0])) {
				_, planes := b.find(stem)
				for _, t := range planes {
					if t != nil && without[t.Name] {
						delete(without, t.Name)
						b.twice = append(b.twice, fmt.Sprintf("%s: %s is taken from %s", describe(t), p.Name, p.Place.Expected(p.Name, p.Place.At(layer, 0))))
					}
				}
			}
		}
	}
	b.unclaimed = slices.DeleteFunc(b.unclaimed, func(u absence) bool { return !without[u.name] })
}

// report turns what was collected into findings.
func (b *binder) report(f *Findings) {
	misnumbered := b.misnumbered()
	f.AddEach("parameter", "of the model not found (layout "+b.layout.Name+")", "the checkpoint is incomplete, config.json promises more than it holds, or smelt does not know the layout", suggest(b.missing, b.unclaimed))
	f.AddEach("parameter", "whose tensors are numbered with gaps", "number them from 0 on, in the order of the router's rows if experts were pruned", misnumbered)
	f.AddEach("tensor", "stored in a way that does not fit the model", "config.json belongs to another checkpoint, the file is damaged, or smelt does not know the format", b.badStorage)
	f.AddEach("tensor", "used by no parameter", "smelt drops nothing silently: remove what does not belong here, correct config.json if it promises too little, or report the layout", suggest(b.unclaimed, b.missing))
	f.AddEach("tensor", "holding a parameter that is there under another name too", "remove one of the two", b.twice)
	f.AddEach("tensor", "claimed by two parameters", "report this layout", b.doubled)
	f.AddEach("setting", "of config.json's quantization contradicting the tensors", "correct config.json; the tensors decide what is stored", b.disagree)
}
