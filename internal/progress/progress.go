// Package progress is how work that may take long tells whoever waits how far it is.
// What is told is a phase: a name, how much there is to do, and how much is done. Who
// shows it, and whether it is worth showing, is for the receiver.
package progress

// Begin is told that a phase begins: its name, such as "compiling kernels", and how
// much there is to do in units such as "kernels" or "bytes"; a total of 0 is not
// known. It returns a function that is told of each further part that is done, by any
// goroutine, and one that is called once when the phase ends, however it ends. Phases
// that begin while another goes on are parts of it.
//
// A nil Begin is told nothing; see Phase.
type Begin func(name string, total int64, unit string) (done func(n int64), end func())

// Phase begins a phase, unless nobody is told.
func (b Begin) Phase(name string, total int64, unit string) (done func(n int64), end func()) {
	if b == nil {
		return func(int64) {}, func() {}
	}
	return b(name, total, unit)
}

// Wait begins a phase of which nothing is known but its name.
func (b Begin) Wait(name string) (end func()) {
	_, end = b.Phase(name, 0, "")
	return end
}

// Units: numbers of Bytes are written as sizes, and of both a speed is told.
const (
	Bytes  = "bytes"
	Tokens = "tokens"
)

// Reached makes of a phase's done, which takes what is new, a function that takes all
// that is done so far. It is for one goroutine.
func Reached(done func(n int64)) func(all int64) {
	before := int64(0)
	return func(all int64) {
		done(all - before)
		before = all
	}
}
