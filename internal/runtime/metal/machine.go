package metal

import (
	"context"
	"fmt"
	"os"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/models/checkpoint"
)

// machine is the GPU with what was made on it, as a planned.Machine.
type machine struct {
	planned.Visible
	api      *objc.API
	opts     Options
	b        *bundle.Bundle // planned for the GPU
	ck       *checkpoint.Checkpoint
	info     *GPU
	gpu      objc.ID
	kernels  map[string]objc.ID // pipelines, by kernel
	extra    extra
	room     int64 // for what is kept of slots
	memory   *memory
	queue    *queue
	steps    [2]*step
	behind   error // of a wait for steps that were started before
	mode     profile.Mode
	probes   *probes // nil until they are needed
	build    device.Build
	kept     bool   // pipelines came from the archive of an earlier run
	halves   string // what was found of them
	rescaled int    // threads of a threadgroup that pipelines allowed, if fewer than planned
}

func newMachine(o Options) (*machine, error) {
	if o.API == nil {
		api, err := Native()
		if err != nil {
			return nil, err
		}
		o.API = api
	}
	if o.Stop == nil {
		o.Stop = func() error { return nil }
	}
	if o.PageSize == 0 {
		o.PageSize = os.Getpagesize()
	}
	return &machine{api: o.API, opts: o, kernels: map[string]objc.ID{}}, nil
}

// find finds the GPU and plans the bundle for it, and for how it converts halves.
func (m *machine) find(b *bundle.Bundle) (err error) {
	if m.gpu = m.api.DefaultDevice(); m.gpu == 0 {
		return fmt.Errorf("%w: the system names no GPU", objc.ErrNotHere)
	}
	m.info = describe(m.api, m.gpu)
	if err := m.info.check(); err != nil {
		return err
	}
	if m.b, err = b.For(target.GPU); err != nil {
		return err
	}
	m.b, m.halves, err = planned.Halves(m.b, m.convert)
	return err
}

// start makes pipelines, and views of the weights.
func (m *machine) start(b *bundle.Bundle, ck *checkpoint.Checkpoint) (err error) {
	m.ck = ck
	if err := m.find(b); err != nil {
		return err
	}
	if err := m.admit(); err != nil {
		return err
	}
	if err := m.compile(); err != nil {
		return err
	}
	if m.rescaled > 0 { // another plan
		if err := m.admit(); err != nil {
			return err
		}
	}
	m.memory, err = m.newMemory()
	return err
}

// Alloc makes a buffer that both processors see.
func (m *machine) Alloc(name string, n int64) (planned.Address, error) {
	b, err := m.memory.alloc(name, n)
	if err != nil {
		return 0, err
	}
	at := planned.Address(b.address)
	m.Show(at, b.bytes)
	return at, nil
}

// Room is what the machine was admitted with.
func (m *machine) Room() int64 { return m.room }

// Weight is where the GPU sees a byte of a file, and what follows it of its tensor.
func (m *machine) Weight(file int, offset, _ int64) (planned.Address, error) {
	return m.memory.fileAddress(file, offset), nil
}

// Begin reads the weights once, and makes all memory resident.
func (m *machine) Begin() (err error) {
	if err := m.memory.pageIn(m.opts.Progress, m.opts.Stop); err != nil {
		return err
	}
	m.queue, err = newQueue(m.api, m.gpu, m.memory)
	return err
}

// Wait waits for the GPU, which cannot be made to leave its work.
func (m *machine) Wait(_ context.Context, behind int) error {
	return m.queue.await(m.queue.value - uint64(behind))
}

// Beside says that the GPU works beside the host.
func (m *machine) Beside() {}

// Close gives everything back.
func (m *machine) Close() error {
	if m.queue != nil {
		m.queue.close()
	}
	if m.probes != nil {
		m.probes.close(m.api)
	}
	if m.memory != nil {
		m.memory.close()
	}
	for _, p := range m.kernels {
		m.api.Release(p)
	}
	m.api.Release(m.gpu)
	return nil
}

// Profile chooses how the steps to come are timed: where they are, each dispatch
// has a command buffer of its own.
func (m *machine) Profile(mode profile.Mode) error {
	if mode == profile.Cold {
		if _, err := m.openProbes(); err != nil {
			return err
		}
	}
	m.mode = mode
	return nil
}

// stepTime is how long the GPU took for what was started last.
func (m *machine) stepTime() (t time.Duration, err error) {
	q := m.queue
	err = q.do(func() error {
		if len(q.running) == 0 {
			return nil
		}
		for _, r := range q.running {
			q.send(q.completed, r.id)
		}
		start, _ := m.api.Times(q.running[0].id)
		_, end := m.api.Times(q.running[len(q.running)-1].id)
		t = time.Duration((end - start) * float64(time.Second))
		return nil
	})
	return t, err
}
