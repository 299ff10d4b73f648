// Package lower turns fused regions into launches of kernels. Each kind of
// region has a family of kernels: a row of a table, and files of its own that
// no other family uses. It knows regions (package fusion) and stored weights
// (package storage), no model. README.md follows a region from module to Metal.
package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/ir"
)

// Input tells lowering what it needs for a region.
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
