// Package admission decides whether a device may start. What no file stands behind
// (caches, activations, machine code) must fit the memory that is available, without
// exception: else the system ends this process, or others. Weights are mapped and can
// be read again, so they are held against all the memory there is; more of them than
// that run if paging is allowed, as fast as the disk is.
package admission

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/memory"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/models/checkpoint"
)

// Part is memory that no file stands behind.
type Part struct {
	Name  string
	Bytes int64
}

// Needs are what a device takes.
type Needs struct {
	Device  string // its name
	Parts   []Part
	Weights int64 // bytes of files that it reads
	// Files are those of the weights, to measure how fast they are read.
	Files []checkpoint.File
	// Reads tells what a token reads of the weights; it may take seconds.
	Reads func() ([]Read, error)
	// Less says what would make the parts take at most so many bytes.
	Less func(limit int64) error
}

// Own is the sum of the parts.
func (n *Needs) Own() (sum int64) {
	for _, p := range n.Parts {
		sum += p.Bytes
	}
	return sum
}

// list names the parts with their sizes.
func (n *Needs) list() string {
	var all []string
	for _, p := range n.Parts {
		if p.Bytes > 0 {
			all = append(all, p.Name+" "+message.Bytes(p.Bytes))
		}
	}
	return strings.Join(all, ", ")
}

// Error says that a device was not started because memory does not suffice. Its text
// has the numbers, where they come from and what to do; programs find the options that
// would help through *option.Error.
type Error struct {
	// Need is how many bytes the device takes of what Have counts, and Have how many
	// there are of it: of available memory, of all memory, or of a GPU's working set.
	Need, Have int64
	// Paging tells that the device would start if paging were allowed.
	Paging bool
	text   error
}

// Error is the text, with options by their Go names.
func (e *Error) Error() string { return e.text.Error() }

// Unwrap leads to the *option.Error.
func (e *Error) Unwrap() error { return e.text }

// Spell is Error with every option's name replaced.
func (e *Error) Spell(name func(option.Name) string) string { return option.Text(e.text, name) }

// Gate lets devices start, or not.
type Gate struct {
	// Memory is what there is; nothing is refused for a figure that is not known.
	Memory memory.Memory
	// AllowPaging starts devices whose weights do not fit.
	AllowPaging bool
	// Note, if not nil, is told what comes of that.
	Note func(text string)
	// Rate measures how many bytes a second come from the files, and says how it knows.
	Rate func([]checkpoint.File) (bytesPerSecond float64, how string)
}

// Here is the gate of this machine.
func Here() *Gate { return &Gate{Memory: memory.Here(), Rate: diskRate} }

// Admit refuses, with an *Error, what cannot run.
func (g *Gate) Admit(n Needs) error {
	own := n.Own()
	if have := g.Memory.Available; have.Known() && own > have.Bytes {
		return &Error{Need: own, Have: have.Bytes, text: fmt.Errorf("the %s device needs %s of memory besides the weights (%s), and %s are available (%s): %w",
			n.Device, message.Bytes(own), n.list(), message.Bytes(have.Bytes), have.Source, n.Less(have.Bytes))}
	}
	have := g.Memory.Total
	if !have.Known() || n.Weights+own <= have.Bytes {
		return nil
	}
	what := fmt.Sprintf("the weights take %s and the %s device %s besides (%s), and the memory is %s (%s): %s",
		message.Bytes(n.Weights), n.Device, message.Bytes(own), n.list(), message.Bytes(have.Bytes), have.Source, g.paging(n, have.Bytes-own))
	if !g.AllowPaging {
		return &Error{Need: n.Weights + own, Have: have.Bytes, Paging: true,
			text: option.Errorf("%s; give %s to run all the same, or take a checkpoint of fewer bits or a machine with more memory", what, option.Name("AllowPaging"))}
	}
	if g.Note != nil {
		g.Note(what)
	}
	return nil
}

// Wired refuses what must be in memory as a whole, weights and all, and is more than
// a limit. limit says what it is, remedy what to do.
func Wired(n Needs, have int64, limit string, remedy error) error {
	if need := n.Own() + n.Weights; need > have {
		return &Error{Need: need, Have: have, text: fmt.Errorf("the model takes %s (weights %s, %s), and %s at most %s: %w",
			message.Bytes(need), message.Bytes(n.Weights), n.list(), limit, message.Bytes(have), remedy)}
	}
	return nil
}
