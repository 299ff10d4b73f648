package device

import "smelt.example/smelt/internal/runtime/devmem"

// Keeper is a Device that keeps what slots hold in memory beside them, and puts it into
// slots again. A module's states are of two kinds. Of some only the newest rows are looked
// back to, and older ones are overwritten: they roll. The others grow with the sequence and
// never change. So what a sequence of n tokens is made of comes in parts:
//
//	entries    of tokens from one position to before another: the rows that those tokens
//	           added to the states that grow
//	frontier   at a position: the rows of rolling states that the token there looks back
//	           to, by position and not by where a ring has them, so that a device with
//	           another chunk or number of slots reads them too
//
// Entries that follow one another from 0 to n with the frontier at n are all there is: each
// state of the module is in them. All parts of a device share one memory of a size that was
// fixed when it was opened. Calls come from one goroutine at a time, between steps.
type Keeper interface {
	Device
	// EntriesBytes is what the entries of tokens from one position to before another take
	// of Room, FrontierBytes what the frontier at a position does.
	EntriesBytes(from, to int) int64
	FrontierBytes(at int) int64
	// Room is the memory for parts: how much is taken, of how much.
	Room() (taken, all int64)
	// KeepEntries copies entries out of a slot, which has `to` tokens or more. The error is
	// ErrNoRoom if Room does not suffice; nothing was taken then.
	KeepEntries(slot int32, from, to int) (Part, error)
	// KeepFrontier copies the frontier out of a slot, which has `at` tokens; or more, as
	// long as its rolling states have what is looked back to from there: of decoded tokens
	// they have some, of a prompt's none. The error is ErrNoRoom as of KeepEntries.
	KeepFrontier(slot int32, at int) (Part, error)
	// Restore makes a slot's sequence one of n tokens out of parts of this device: entries
	// that follow one another from 0 to n, and the frontier at n. Whatever the slot had is
	// gone. On an error the slot is empty.
	Restore(slot int32, n int, entries []Part, frontier Part) error
}

// Part is what a Keeper keeps. Parts do not change.
type Part interface {
	// Bytes is what it takes of its device's Room.
	Bytes() int64
	// Drop gives its memory back. It is to be called once, and the part then not used.
	Drop()
}

// ErrNoRoom says that the memory for parts is taken.
var ErrNoRoom = devmem.ErrNoRoom
