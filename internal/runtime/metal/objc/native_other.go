//go:build !(darwin && arm64)

package objc

// Native is the entry table of a Mac; here there is none.
func Native() (Entry, error) { return Entry{}, ErrNotHere }
