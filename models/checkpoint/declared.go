package checkpoint

import (
	"fmt"
	"slices"

	"smelt/ir/encoding"
)

// Declared is what a configuration says about stored formats. Storage
// decides; Declared is compared with it.
type Declared struct {
	// Default describes the format of everything quantised, or is empty. Agrees
	// tells whether an encoding is what it says. A default that disagrees is a note.
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

// storedQuant is how a stem was found stored.
type storedQuant struct {
	stem string
	enc  encoding.Encoding
}

// checkDeclared compares per-path entries with storage.
func (b *binder) checkDeclared() {
	stored := make(map[string]encoding.Encoding, len(b.quants))
	for _, q := range b.quants {
		stored[q.stem] = q.enc
	}
	for _, m := range b.declared.Modules {
		enc, known := stored[m.Stem]
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
	var names []string
	for _, q := range b.quants {
		if _, plain := q.enc.(encoding.Plain); plain || own[q.stem] || b.declared.Agrees(q.enc) {
			continue
		}
		if counts[q.enc.Name()] == 0 {
			names = append(names, q.enc.Name())
		}
		counts[q.enc.Name()]++
	}
	slices.Sort(names)
	for _, n := range names {
		b.out.Notes = append(b.out.Notes, fmt.Sprintf("config.json declares %s; %d tensors are stored as %s, which is what is used", b.declared.Default, counts[n], n))
	}
}
