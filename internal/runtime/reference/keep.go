package reference

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/runtime/device"
)

// kept counts the bytes of parts.
type kept struct{ taken, all int64 }

// part is rows of states, as the evaluator has them.
type part struct {
	device   *Device
	frontier bool
	from, to int // tokens of entries; both are a frontier's position
	rows     eval.Rows[float32]
	bytes    int64
	dropped  bool
}

// Bytes is what the part takes.
func (p *part) Bytes() int64 { return p.bytes }

// Drop gives it back.
func (p *part) Drop() {
	if !p.dropped {
		p.device.kept.taken -= p.bytes
		p.dropped, p.rows = true, nil
	}
}

// Allow says how many bytes parts may take. It comes before any is kept; without it
// none is.
func (d *Device) Allow(bytes int64) { d.kept.all = max(bytes, 0) }

// EntriesBytes is device.Keeper's.
func (d *Device) EntriesBytes(from, to int) int64 { return bytes(d.machine.EntriesLen(from, to)) }

// FrontierBytes is device.Keeper's.
func (d *Device) FrontierBytes(at int) int64 { return bytes(d.machine.FrontierLen(at)) }

// bytes is what so many numbers take. For what cannot be kept there is never room.
func bytes(n int, err error) int64 {
	if err != nil {
		return math.MaxInt64
	}
	return 4 * int64(n)
}

// Room is device.Keeper's.
func (d *Device) Room() (taken, all int64) { return d.kept.taken, d.kept.all }

// KeepEntries is device.Keeper's.
func (d *Device) KeepEntries(slot int32, from, to int) (device.Part, error) {
	n, err := d.machine.EntriesLen(from, to)
	return d.keep(&part{from: from, to: to}, n, err, func() (eval.Rows[float32], error) { return d.machine.Entries(slot, from, to) })
}

// KeepFrontier is device.Keeper's.
func (d *Device) KeepFrontier(slot int32, at int) (device.Part, error) {
	n, err := d.machine.FrontierLen(at)
	return d.keep(&part{frontier: true, from: at, to: at}, n, err, func() (eval.Rows[float32], error) { return d.machine.Frontier(slot, at) })
}

// keep makes a part of n numbers, if there is room.
func (d *Device) keep(p *part, n int, err error, rows func() (eval.Rows[float32], error)) (device.Part, error) {
	if err != nil {
		return nil, err
	}
	p.device, p.bytes = d, 4*int64(n)
	if p.bytes > d.kept.all-d.kept.taken {
		return nil, device.ErrNoRoom
	}
	if p.rows, err = rows(); err != nil {
		return nil, err
	}
	d.kept.taken += p.bytes
	return p, nil
}

// Restore is device.Keeper's.
func (d *Device) Restore(slot int32, n int, entries []device.Part, frontier device.Part) error {
	d.Reset(slot)
	var rows []eval.Rows[float32]
	at := 0
	for i, x := range append(entries[:len(entries):len(entries)], frontier) {
		p, _ := x.(*part)
		last := i == len(entries)
		switch {
		case p == nil || p.device != d || p.dropped:
			return fmt.Errorf("a part for slot %d is not kept on this device, or not any more", slot)
		case p.frontier != last || p.from != at || last && at != n:
			return fmt.Errorf("the part of tokens %d to %d (a frontier: %t) is none of %d tokens after %d; expected entries that follow one another and the frontier behind them", p.from, p.to, p.frontier, n, at)
		}
		rows, at = append(rows, p.rows), p.to
	}
	return d.machine.Restore(slot, n, rows[:len(entries)], rows[len(entries)])
}
