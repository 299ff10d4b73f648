// Package memory tells how much memory there is for this process: the machine's, or
// that of its control groups where they allow less.
package memory

// Figure is a number of bytes, and where it was read.
type Figure struct {
	Bytes  int64
	Source string // "" if the number is not known
}

// Known tells whether the system gave the number.
func (f Figure) Known() bool { return f.Source != "" }

// least is the smaller of two figures.
func (f Figure) least(bytes int64, source string) Figure {
	if f.Known() && f.Bytes <= bytes {
		return f
	}
	return Figure{max(bytes, 0), source}
}

// Memory is what a process may use.
type Memory struct {
	// Total is what it can have if nobody else needs any.
	Total Figure
	// Available is what it can have now without swapping. Files in the page cache give
	// way, so they count as available.
	Available Figure
}
