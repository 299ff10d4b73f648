// Package fault says where in a module the verifier found something wrong, so that the
// parser can name the line.
package fault

import "fmt"

// Part says which list of a module something stands in.
type Part uint8

// The parts of a module; Header is its name and anything of the whole.
const (
	Header Part = iota
	Symbols
	Inputs
	Params
	States
	Nodes
	Regions
	Results
)

// Error says what is wrong, and where: Index counts in the list of Part.
type Error struct {
	Module string
	Part   Part
	Index  int
	Err    error
}

func (f *Error) Error() string { return fmt.Sprintf("module @%s: %v", f.Module, f.Err) }

// Unwrap returns the cause.
func (f *Error) Unwrap() error { return f.Err }
