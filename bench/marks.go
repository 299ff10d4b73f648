package bench

import "slices"

// Marks of kernels whose rates need an explanation.
const (
	markCached = "c"
	markAbove  = "+"
)

// Mark is behind the rates of a kernel: that Marks explains it, or nothing.
func (k *Kernel) Mark() string {
	switch {
	case k.Above:
		return " " + markAbove
	case k.Cached:
		return " " + markCached
	}
	return ""
}

// Marks explains the marks that the step's kernels have.
func (s *Step) Marks() (texts []string) {
	all := append(slices.Clone(s.Kernels), s.All)
	has := func(mark string) bool {
		return slices.ContainsFunc(all, func(k Kernel) bool { return k.Mark() == " "+mark })
	}
	if has(markCached) {
		why := "just written or not in memory yet"
		if s.Cold {
			why = "written and not in memory yet"
		}
		texts = append(texts, markCached+": half of the bytes or more may stand in caches, "+why+"; the rate is theirs")
	}
	if has(markAbove) {
		texts = append(texts, markAbove+": faster than the machine was measured to be; something else used it then")
	}
	return texts
}
