package checkpoint

import (
	"fmt"
	"maps"
	"slices"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/ir/encoding"
)

// Declared holds what a configuration says about stored formats. Storage decides; Declared
// is compared with it.
type Declared struct {
	// Default describes the format of everything quantised, or is empty. Agrees
	// reports whether an encoding is the one it names. A default that disagrees is a note.
	Default string
	Agrees  func(encoding.Encoding) bool
	// Modules are entries for single stems. One that disagrees is an error.
	Modules []DeclaredModule
}

// DeclaredModule is one per-path entry.
type DeclaredModule struct {
	Stem   string
	Says   string
	Agrees func(encoding.Encoding) bool
}

// checkDeclared compares per-path entries with storage.
func (b *binder) checkDeclared() {
	for _, m := range b.declared.Modules {
		enc, known := b.quants[m.Stem]
		switch {
		case !known:
			b.out.Notes = append(b.out.Notes, fmt.Sprintf("config.json describes the format of %s, which the model does not use", m.Stem))
		case !m.Agrees(enc):
			b.disagree = append(b.disagree, fmt.Sprintf("%s: config.json says %s, stored is %s", m.Stem, m.Says, enc.Name()))
		}
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
