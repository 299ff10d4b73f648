package formats

import (
	"os"
	"path/filepath"
	"slices"
)

// ConfigName is the file that says what model a checkpoint is of.
const ConfigName = "config.json"

// IsWeights reports whether a file's name is that of a file of weights.
func IsWeights(name string) bool {
	_, ok := All().Of(name)
	return ok
}

// LooksLike reports whether a folder is likely a checkpoint's: it has a config.json,
// and weights beside it. What is in them is not looked at.
func LooksLike(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, ConfigName)); err != nil {
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
	return slices.ContainsFunc(All().In(names), func(w Weights) bool { return w.HasIndex || len(w.Present) > 0 })
}
