package bench

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
)

// choose finds the kernels that a name stands for: all if it is empty, those that match
// it as a pattern, or those that have it as a part of their names.
func choose(p *plan.Plan, name string) (map[string]bool, error) {
	chosen, all := map[string]bool{}, []string{}
	for _, k := range p.Kernels {
		matches, err := path.Match(name, k.Name)
		if err != nil {
			return nil, option.Errorf("%s %s: %w; expected a part of a name, or a pattern of * and ?", option.Name("Kernel"), message.Quote(name), err)
		}
		all = append(all, k.Name)
		if matches || strings.Contains(k.Name, name) {
			chosen[k.Name] = true
		}
	}
	if len(chosen) == 0 {
		return nil, option.Errorf("%s %s: the plan has no kernel of that name; near it are %s", option.Name("Kernel"), message.Quote(name), strings.Join(near(name, all), ", "))
	}
	return chosen, nil
}

// hasChosen reports whether a step has one of the chosen kernels.
func (b *bench) hasChosen(s Shape) bool {
	return slices.ContainsFunc(b.dev.Bundle().Plan.Step(s.Phase).Dispatches, func(d *plan.Dispatch) bool { return b.chosen[d.Kernel.Name] })
}

// near are the few names that take the fewest changes of letters to become the given one.
func near(name string, all []string) []string {
	const few = 4
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(changes(name, a), changes(name, b)) })
	return all[:min(few, len(all))]
}

// changes counts the letters to insert, to leave out and to replace that make one word
// of another: Levenshtein's distance, of words that are not long.
func changes(a, b string) int {
	const long = 100
	a, b = a[:min(len(a), long)], b[:min(len(b), long)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
