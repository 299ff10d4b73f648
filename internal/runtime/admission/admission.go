// Package admission decides whether a device may start. What no file stands behind
// (caches, activations, machine code) must fit the memory that is available, without
// exception: else the system ends this process, or others. Weights are mapped and can
// be read again, so they are held against all the memory there is; more of them than
// that run if paging is allowed, as fast as the disk is.
package admission

import (
	"errors"
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
	// Kept is how much memory is asked for what is kept of slots beside them, or Auto. A
	// byte of it takes KeptTimes; 0 is 1.
	Kept, KeptTimes int64
	// Files are those of the weights, to measure how fast they are read.
	Files []checkpoint.File
	// Reads tells what a token reads of the weights; it may take seconds.
	Reads func() ([]Read, error)
	// Less says what would make the parts take at most so many bytes.
	Less func(limit int64) error
}

// Auto, as Needs.Kept, is a quarter of what is left free by all else, and at most 8 GiB.
const Auto = -1

// share is what Auto is of what is left.
func share(left int64) int64 { return min(max(left, 0)/4, 8<<30) }

// settle puts what is kept among the parts. Auto takes part once all else is admitted.
func (n *Needs) settle() {
	n.KeptTimes = max(n.KeptTimes, 1)
	n.Kept *= n.KeptTimes
	if n.Kept > 0 {
		n.Parts = append(n.Parts[:len(n.Parts):len(n.Parts)], Part{"kept states", n.Kept})
	}
}

// given is how much memory there may be for what is kept, where so much is left by all else.
func (n *Needs) given(left int64) int64 {
	if n.Kept < 0 {
		return share(left) / n.KeptTimes
	}
	return n.Kept / n.KeptTimes
}

// keepLess says how much may be kept where that makes the rest fit: what is needed is more
// than there is by so much. It is nil if less of it is no help.
func (n *Needs) keepLess(over int64) error {
	if n.Kept < over {
		return nil
	}
	const mib = 1 << 20
	if most := (n.Kept - over) / n.KeptTimes / mib; most > 0 {
		return option.Errorf("take %s %dMiB or less", option.Name("CacheRAM"), most)
	}
	return option.Errorf("take %s 0", option.Name("CacheRAM"))
}

// less says what would make the parts take at most so many bytes.
func (n *Needs) less(limit int64) error {
	if n.Kept <= 0 {
		return n.Less(limit)
	}
	if err := n.keepLess(n.Own() - limit); err != nil {
		return err
	}
	return option.Errorf("take %s 0; then %w", option.Name("CacheRAM"), n.Less(limit))
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

// Admit refuses, with an *Error, what cannot run. It tells how many bytes there may be for
// what is kept of slots.
func (g *Gate) Admit(n Needs) (kept int64, err error) {
	n.settle()
	if err := g.admit(n); err != nil {
		return 0, err
	}
	left := int64(0)
	if have := g.Memory.Available; have.Known() {
		left = have.Bytes - n.Own()
	}
	if have := g.Memory.Total; have.Known() {
		rest := have.Bytes - n.Own() - n.Weights
		if left = min(left, rest); !g.Memory.Available.Known() {
			left = rest
		}
	}
	return n.given(left), nil
}

func (g *Gate) admit(n Needs) error {
	own := n.Own()
	if have := g.Memory.Available; have.Known() && own > have.Bytes {
		return &Error{Need: own, Have: have.Bytes, text: fmt.Errorf("the %s device needs %s of memory besides the weights (%s), and %s are available (%s): %w",
			n.Device, message.Bytes(own), n.list(), message.Bytes(have.Bytes), have.Source, n.less(have.Bytes))}
	}
	have := g.Memory.Total
	if !have.Known() || n.Weights+own <= have.Bytes {
		return nil
	}
	what := fmt.Sprintf("the weights take %s and the %s device %s besides (%s), and the memory is %s (%s): %s",
		message.Bytes(n.Weights), n.Device, message.Bytes(own), n.list(), message.Bytes(have.Bytes), have.Source, g.paging(n, have.Bytes-own))
	if !g.AllowPaging {
		fewer := errors.New("take a checkpoint of fewer bits or a machine with more memory")
		if err := n.keepLess(n.Weights + own - have.Bytes); err != nil {
			fewer = err
		}
		return &Error{Need: n.Weights + own, Have: have.Bytes, Paging: true,
			text: option.Errorf("%s; give %s to run all the same, or %w", what, option.Name("AllowPaging"), fewer)}
	}
	if g.Note != nil {
		g.Note(what)
	}
	return nil
}

// Wired refuses what must be in memory as a whole, weights and all, and is more than
// a limit. limit says what it is, remedy what to do. It tells how many bytes there may be
// for what is kept of slots.
func Wired(n Needs, have int64, limit string, remedy error) (kept int64, err error) {
	n.settle()
	need := n.Own() + n.Weights
	if need > have {
		if err := n.keepLess(need - have); err != nil {
			remedy = err
		}
		return 0, &Error{Need: need, Have: have, text: fmt.Errorf("the model takes %s (weights %s, %s), and %s at most %s: %w",
			message.Bytes(need), message.Bytes(n.Weights), n.list(), limit, message.Bytes(have), remedy)}
	}
	return n.given(have - need), nil
}
