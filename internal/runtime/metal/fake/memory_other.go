//go:build !linux

package fake

import "unsafe"

// allocate makes n bytes that begin at a page.
func allocate(n, page int) ([]byte, error) {
	b := make([]byte, n+page)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (page - 1)
	return b[skip:][:n:n], nil
}

func free([]byte) error { return nil }

// thread is one for all: there is no telling threads apart here.
func thread() int { return 1 }
