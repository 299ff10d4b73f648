// Package schema says how the checkpoints of one kind of model store its parameters:
// under which names, in which pieces, and what they may hold beside. Package checkpoint
// binds by it.
package schema

import (
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
)

// A Model tells checkpoint.Bind the graph, the layouts of its checkpoints, the tensors
// that may be left unused, and what config.json says about formats.
type Model struct {
	Graph    *ir.Module
	Layouts  []Layout
	Ignores  []Ignore
	Declared Declared
	// Sized lists where the graph's sizes follow from headers and differ from
	// config.json. Bind tells it beside what does not fit, for it may be the cause.
	Sized []string
}

// Declared holds what a configuration says about stored formats. Storage decides; Declared
// is compared with it.
type Declared struct {
	// Default describes the format of everything quantised, or is empty. Agrees
	// reports whether an encoding is the one it names. A default that disagrees is a note.
	Default string
	Agrees  func(encoding.Encoding) bool
	// Modules are entries for single stems. One that disagrees is an error.
	Modules []DeclaredModule
}

// DeclaredModule is one per-path entry.
type DeclaredModule struct {
	Path   string // as the configuration has it
	Stem   string // without a layout's wrapper
	Says   string
	Agrees func(encoding.Encoding) bool
}
