package lower

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
)

// The table of kernel families: one for each kind of region.
var families = covering(fusion.Kinds(), []family{
	familyOf(fusion.KindLinear, lowerLinear),
	familyOf(fusion.KindIndexTopK, lowerIndexTopK),
	familyOf(fusion.KindAttention, lowerAttention),
	familyOf(fusion.KindCache, lowerCache),
	familyOf(fusion.KindHyper, lowerHyper),
	familyOf(fusion.KindExperts, lowerExperts),
})

// family lowers one kind of region.
type family struct {
	kind  fusion.Kind
	lower func(*Input) ([]program.Launch, error)
}

// familyOf is the family of a kind whose kernels are made from its view.
func familyOf[V any](kind *fusion.Pattern[V], lower func(*Input, *V) ([]program.Launch, error)) family {
	return family{kind, func(in *Input) ([]program.Launch, error) {
		v, err := kind.View(in.Module, in.Region)
		if err != nil {
			return nil, err
		}
		return lower(in, v)
	}}
}

// covering returns the table, or panics: each kind has one family, and no
// family is of another kind.
func covering(kinds []fusion.Kind, table []family) []family {
	for _, f := range table {
		if !slices.Contains(kinds, f.kind) {
			panic(fmt.Sprintf("lower: no region has the kind %s", f.kind.About().Name))
		}
	}
	for _, k := range kinds {
		n := 0
		for _, f := range table {
			if f.kind == k {
				n++
			}
		}
		if n != 1 {
			panic(fmt.Sprintf("lower: %d families of kernels for the kind %s, want one", n, k.About().Name))
		}
	}
	return table
}
