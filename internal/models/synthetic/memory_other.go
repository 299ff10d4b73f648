//go:build !linux && !darwin

package synthetic

// FreeMemory is not known here.
func FreeMemory() (bytes int64, known bool) { return 0, false }
