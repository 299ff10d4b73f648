//go:build !linux && !darwin

package synthetic

// freeMemory is not known here.
func freeMemory() (bytes int64, known bool) { return 0, false }
