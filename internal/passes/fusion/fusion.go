// Package fusion describes smelt's fusions: for each kind of region a typed
// view of what its body computes, found by walking the body. The fuse passes
// use it to form regions, lowering to read them: both see the same thing, so
// a kernel stands for exactly the operations its region carries.
//
// A kind of region is one file and one row of the table below. The file has
// the type of the view, the kind's Pattern, and the walk that finds it.
package fusion

import (
	"fmt"
	"slices"

	"smelt.example/smelt/ir"
)

// The table of kinds of regions, in the order in which they are looked for: an
// operation goes to the first that takes it. The orders that matter, and why,
// are in each kind's Row; package passes checks them.
var table = []Kind{
	KindHyper,
	KindExperts,
	KindAttention,
	KindIndexTopK,
	KindCache,
	KindLinear,
}

// Kind is a kind of region, whatever the type of its view. Each is a *Pattern.
type Kind interface {
	// About is the kind's row.
	About() *Row
	// Find lists the kind's instances in a scope, which they leave, and the
	// places that nearly were one.
	Find(s *Scope) ([]Found, []Miss)

	view(m *ir.Module, r *ir.Region) (any, error)
}

// Row describes a kind beside its form.
type Row struct {
	Name          string // of the kind, as its regions carry it
	Pass          string // the name of the pass that looks for it
	Doc           string // one line
	After, Before []Order
}

// Order says why a kind's pass must run before or after another pass.
type Order struct{ Pass, Why string }

// About returns r itself; it makes a Pattern a Kind.
func (r *Row) About() *Row { return r }

// Kinds lists all kinds of regions, in the order in which they are looked for.
func Kinds() []Kind { return slices.Clone(table) }

// Misses lists what nearly is a fusion among the operations that are in no
// region, for messages.
func Misses(m *ir.Module) (all []Miss) {
	for _, k := range table {
		_, misses := k.Find(Free(m))
		all = append(all, misses...)
	}
	return all
}

// View reads a region of any kind: the result is a pointer to the kind's view,
// such as *Linear. It is an error if the region's body is not exactly one
// fusion of its kind.
func View(m *ir.Module, r *ir.Region) (any, error) {
	for _, k := range table {
		if k.About().Name == r.Kind {
			return k.view(m, r)
		}
	}
	return nil, fmt.Errorf("region @%s: kind %q is unknown", r.Name, r.Kind)
}
