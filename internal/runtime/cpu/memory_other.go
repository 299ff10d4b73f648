//go:build !unix

package cpu

// reserve gets memory; Go's large objects begin at a page.
func reserve(n int) ([]byte, error) { return make([]byte, max(n, 4096)), nil }

func release([]byte) error { return nil }
