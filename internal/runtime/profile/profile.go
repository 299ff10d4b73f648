// Package profile says how a device times its steps.
package profile

// Mode is how dispatches are timed.
type Mode int

// The modes.
const (
	// Off: they are not, and overlap where they may.
	Off Mode = iota
	// Warm: one by one, each right after the one before it.
	Warm
	// Cold: one by one, each after other memory, larger than the caches, was read.
	Cold
)
