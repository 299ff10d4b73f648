package checkpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/schema"
)

// A gap is a parameter with one tensor for each leading index, where some of those
// are not there.
type gap struct {
	place  schema.Place
	layer  string
	want   int      // how many there should be: 0 to want-1
	absent []int    // of them
	looked []string // their names in b.missing
	above  []int    // indices from want on, of tensors that no parameter claims
	unused []string // the names of those in b.unclaimed
}

// lacks notes that a parameter's tensor of an index is not there under the name
// looked for.
func (b *binder) lacks(place schema.Place, layer string, want, index int, looked string) {
	if len(b.gaps) == 0 || b.gaps[len(b.gaps)-1].place.Stem != place.Stem || b.gaps[len(b.gaps)-1].layer != layer {
		b.gaps = append(b.gaps, gap{place: place, layer: layer, want: want})
	}
	g := &b.gaps[len(b.gaps)-1]
	g.absent, g.looked = append(g.absent, index), append(g.looked, looked)
}

// lacksAll notes that none of the tensors of any place are there.
func (b *binder) lacksAll(places []schema.Place, layer string, m matrix, looked string) {
	for _, place := range places {
		if !place.PerIndex() {
			continue
		}
		for n := range int(m.dims[0]) {
			b.lacks(place, layer, int(m.dims[0]), n, looked)
		}
	}
}

// misnumbered finds the gaps beside which there are tensors of higher indices: who
// prunes experts must number those that are kept anew. One item for each takes the
// place of many names among the missing and the unclaimed.
func (b *binder) misnumbered() (items []string) {
	at := map[string]*gap{}
	for i := range b.gaps {
		g := &b.gaps[i]
		at[strings.Replace(g.place.Stem, "{n}", "{l}", 1)+" "+g.layer] = g
	}
	for _, u := range b.unclaimed {
		layered, layer := schema.Generalise(u.name)
		numbered, index := schema.Generalise(layered)
		if g := at[stemOf(numbered)+" "+layer]; g != nil && index != "" {
			n, _ := strconv.Atoi(index) // Generalise gives numbers
			g.above, g.unused = append(g.above, n), append(g.unused, u.name)
		}
	}
	told := map[string]bool{}
	for _, g := range b.gaps {
		if g.above == nil {
			continue
		}
		for _, name := range slices.Concat(g.looked, g.unused) {
			told[name] = true
		}
		items = append(items, g.text())
	}
	untold := func(a absence) bool { return told[a.name] }
	b.missing = slices.DeleteFunc(b.missing, untold)
	b.unclaimed = slices.DeleteFunc(b.unclaimed, untold)
	return items
}

// stemOf takes off what stands behind a stem in a tensor's name.
func stemOf(name string) string {
	suffixes := []string{".weight"}
	for _, c := range companions {
		suffixes = append(suffixes, c.scales, c.biases)
	}
	for _, s := range suffixes {
		if stem, ok := strings.CutSuffix(name, s); ok && s != "" {
			return stem
		}
	}
	return name
}

// text says which indices there are and which are wanted.
func (g *gap) text() string {
	var found []int
	for i := range g.want {
		if !slices.Contains(g.absent, i) {
			found = append(found, i)
		}
	}
	slices.Sort(g.above)
	found = append(found, slices.Compact(g.above)...)
	missing := "number " + message.Ranges(g.absent) + " is"
	if len(g.absent) > 1 {
		missing = "numbers " + message.Ranges(g.absent) + " are"
	}
	return fmt.Sprintf("layer %s: of %s there are %s, expected 0 to %d; %s missing", g.layer, schema.Fill(g.place.Stem, g.layer), message.Ranges(found), g.want-1, missing)
}
