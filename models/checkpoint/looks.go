package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
)

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
	for _, e := range entries {
		if name := e.Name(); name == indexName || strings.HasSuffix(name, extension) && !strings.HasPrefix(name, ".") {
			return true
		}
	}
	return false
}
