// Package lower turns fused regions into launches of kernels. One file per
// kernel family and step kind; families are the rows of a table. It knows
// regions (package fusion) and stored weights (package storage), no model.
package lower

import (
	"fmt"

	"smelt/codegen/program"
	"smelt/codegen/storage"
	"smelt/codegen/target"
	"smelt/ir"
)

// Input is what lowering a region needs to know.
type Input struct {
	Module *ir.Module
	Region *ir.Region
	Phase  program.Phase
	Params storage.Parameters
	Caches map[string]*program.Cache
	Step   *program.Step
	Target target.Target
}

// Lower picks the family of the input's region and lowers it.
func Lower(in *Input) ([]program.Launch, error) {
	for _, f := range families {
		if f.kind.About().Name == in.Region.Kind {
			launches, err := f.lower(in)
			if err != nil {
				return nil, fmt.Errorf("region @%s (%s, %s): %w", in.Region.Name, in.Region.Kind, in.Phase, err)
			}
			return launches, nil
		}
	}
	return nil, fmt.Errorf("region @%s: no family of kernels for kind %q", in.Region.Name, in.Region.Kind)
}
