package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
)

// IsWeights reports whether a file's name is that of a file of weights.
func IsWeights(name string) bool {
	_, ok := containers(Containers()).of(name)
	return ok
}

// LooksLike reports whether a folder is likely a checkpoint's: it has a config.json,
// and weights beside it. What is in them is not looked at.
func LooksLike(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, configName)); err != nil {
		return false
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return true // it may be one
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return slices.ContainsFunc(containers(Containers()).in(names), func(w weights) bool { return w.hasIndex || len(w.present) > 0 })
}
