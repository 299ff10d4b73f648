package main

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
)

// What a decode launch of products must have for each core of the target, at one row,
// or two where it has none for one: threadgroups, so that no core is idle while others end, and SIMD groups, whose loads
// of weights hide behind each other: 20 are aimed at, and columns of 4 bits end sooner.
const (
	leastGroupsPerCore = 4
	leastSimdsPerCore  = 8
)

// checkLaunches: decode launches of products fill the target's cores.
func checkLaunches(t *testing.T, b *bundle.Bundle) {
	t.Helper()
	kinds := map[string]string{}
	for _, r := range b.Module.Regions {
		kinds[r.Name] = r.Kind
	}
	step, cores, seen := b.Plan.Step(program.Decode), int64(b.Plan.Target.Cores), 0
	alone, beside := step.Symbols(2048, 1), step.Symbols(2048, 2)
	for _, d := range step.Dispatches {
		if kinds[d.Region] != "linear" {
			continue
		}
		seen++
		symbols := alone
		if d.Role == "rows" {
			symbols = beside
		}
		groups := int64(1)
		for _, g := range d.Grid {
			n, err := g.Eval(func(name string) (int64, bool) { v, ok := symbols[name]; return v, ok })
			must(t, err)
			groups *= n
		}
		s := d.Kernel.Schedule
		if simds := groups * int64(s.Threads/s.SimdWidth); groups < leastGroupsPerCore*cores || simds < leastSimdsPerCore*cores {
			t.Errorf("%s of @%s has %d threadgroups of %d threads for %d cores", d.Kernel.Name, d.Region, groups, s.Threads, cores)
		}
	}
	if seen == 0 {
		t.Error("no launch of products")
	}
}
