package checkpoint

import (
	"fmt"
	"maps"
	"slices"

	"smelt.example/smelt/internal/message"
)

// checkDeclared compares per-path entries with storage.
func (b *binder) checkDeclared() {
	var unused []string
	for _, m := range b.declared.Modules {
		enc, known := b.quants[m.Stem]
		switch {
		case !known:
			unused = append(unused, m.Path)
		case !m.Agrees(enc):
			b.disagree = append(b.disagree, fmt.Sprintf("%s: config.json says %s, stored is %s", m.Path, m.Says, enc.Name()))
		}
	}
	switch n := len(unused); n {
	case 0:
	case 1:
		b.out.Notes = append(b.out.Notes, fmt.Sprintf("config.json describes the format of %s, which the model does not use", message.Clip(unused[0])))
	default:
		b.out.Notes = append(b.out.Notes, fmt.Sprintf("config.json describes the formats of %d modules that the model does not use: %s", n, message.List(unused)))
	}
}

// declaredNotes says where the default of config.json and storage differ.
func (b *binder) declaredNotes() {
	if b.declared.Default == "" {
		return
	}
	own := map[string]bool{}
	for _, m := range b.declared.Modules {
		own[m.Stem] = true
	}
	counts := map[string]int{}
	for stem, e := range b.quants {
		if quantised(e) && !own[stem] && !b.declared.Agrees(e) {
			counts[e.Name()]++
		}
	}
	for _, n := range slices.Sorted(maps.Keys(counts)) {
		b.out.Notes = append(b.out.Notes, fmt.Sprintf("config.json declares %s; found %s stored as %s, which is what is used", b.declared.Default, message.Count(counts[n], "tensor"), n))
	}
}
