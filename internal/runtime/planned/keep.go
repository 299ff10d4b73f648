package planned

import (
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devmem"
)

// makeKept takes memory for parts, where the machine has been admitted with some.
func (d *Device) makeKept() (err error) {
	room := int64(0)
	if m, ok := d.machine.(Roomy); ok {
		room = m.Room()
	}
	caches := devmem.NewCaches(d.b.Plan, cacheMemory{d}, d.slots)
	if d.kept, err = devmem.NewKept(caches, keptMemory{d}, room); err != nil {
		return err
	}
	if _, all := d.kept.Room(); all > 0 {
		d.parts, err = d.machine.Alloc("what is kept of slots", all)
	}
	return err
}

// keptMemory is what parts are copied in. Its callers have the machine for themselves.
type keptMemory struct{ d *Device }

func (m keptMemory) Save(part, cache, n int64) error {
	return m.d.note(m.d.machine.Copy(m.d.parts+Address(part), m.d.caches+Address(cache), n))
}

func (m keptMemory) Load(part, cache, n int64) error {
	return m.d.note(m.d.machine.Copy(m.d.caches+Address(cache), m.d.parts+Address(part), n))
}

// EntriesBytes is device.Keeper's.
func (d *Device) EntriesBytes(from, to int) int64 { return d.kept.EntriesBytes(from, to) }

// FrontierBytes is device.Keeper's.
func (d *Device) FrontierBytes(at int) int64 { return d.kept.FrontierBytes(at) }

// Room is device.Keeper's.
func (d *Device) Room() (taken, all int64) { return d.kept.Room() }

// KeepEntries is device.Keeper's.
func (d *Device) KeepEntries(slot int32, from, to int) (device.Part, error) {
	return d.keep(func() (*devmem.KeptPart, error) { return d.kept.KeepEntries(slot, from, to) })
}

// KeepFrontier is device.Keeper's.
func (d *Device) KeepFrontier(slot int32, at int) (device.Part, error) {
	return d.keep(func() (*devmem.KeptPart, error) { return d.kept.KeepFrontier(slot, at) })
}

func (d *Device) keep(f func() (*devmem.KeptPart, error)) (p device.Part, err error) {
	err = d.between(func() error {
		kept, err := f()
		if err == nil { // else it would be a part that is a nil pointer
			p = kept
		}
		return err
	})
	return p, err
}

// Restore is device.Keeper's.
func (d *Device) Restore(slot int32, n int, entries []device.Part, frontier device.Part) error {
	own := make([]*devmem.KeptPart, len(entries)+1)
	for i, p := range append(entries[:len(entries):len(entries)], frontier) {
		own[i], _ = p.(*devmem.KeptPart) // nil is refused
	}
	return d.between(func() error { return d.kept.Restore(slot, n, own[:len(entries)], own[len(entries)]) })
}

// between calls what copies in the machine's memory, when all has ended that was started: a
// step that ran ahead may have been for the slot.
func (d *Device) between(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if err := d.wait(d.ahead.starts); err != nil {
		return err
	}
	return f()
}
