package cuda

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/runtime/cuda/driver"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/models/checkpoint"
)

// machine is a card with what was made on it, as a planned.Machine.
type machine struct {
	api     *driver.API
	opts    Options
	b       *bundle.Bundle // planned for the card
	ck      *checkpoint.Checkpoint
	card    driver.Card
	context driver.Context
	code    *code
	halves  string // what was found of them
	room    int64  // for what is kept of slots
	weights *weights
	memory  []driver.Pointer // of Alloc
	hosts   []*driver.Host
	stream  driver.Stream
	steps   []*step
	starts  starts
	copied  bool          // the last Copy may still go on
	copies  driver.Stream // for what is read while steps run
	landing *driver.Host  // where that is copied to
	// begun holds the number of the dispatch that began last, where the host reads it
	// even after the card has failed.
	begun  *driver.Host
	mode   profile.Mode
	probes *probes // nil until they are needed
}

// newMachine finds the card and compiles the kernels. On an error the machine is to be
// closed.
func newMachine(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (m *machine, err error) {
	m = &machine{opts: o, ck: ck}
	if m.api, err = driver.Open(); err != nil {
		return m, err
	}
	if m.card, err = choose(m.api, o.GPU); err != nil {
		return m, err
	}
	if m.b, err = metalText(b); err != nil {
		return m, err
	}
	if err := fit(m.card, m.b.Plan.Target); err != nil {
		return m, err
	}
	if m.context, err = m.api.Retain(m.card); err != nil {
		return m, err
	}
	return m, m.do(m.start)
}

// metalText is the bundle as it is where its kernels have Metal's text: a card runs those
// made for Apple's GPU too, which is how they are proved. Another is planned for cards.
func metalText(b *bundle.Bundle) (*bundle.Bundle, error) {
	if b.Plan.Target.Language == target.Metal {
		return b, nil
	}
	return b.For(target.CUDA)
}

// fit refuses cards that a target's kernels are not made for.
func fit(c driver.Card, t target.Target) error {
	switch {
	case c.Capability < oldestCapability:
		return fmt.Errorf("%s has compute capability %d.%d, expected %d.%d or newer", c.Name, c.Capability/10, c.Capability%10, oldestCapability/10, oldestCapability%10)
	case c.Warp != t.SimdWidth || c.Threads < t.MaxThreads || c.Shared < t.SharedMemory:
		return fmt.Errorf("%s has warps of %d lanes, blocks of %d threads and %d bytes of shared memory; kernels are made for %d, %d and %d",
			c.Name, c.Warp, c.Threads, c.Shared, t.SimdWidth, t.MaxThreads, t.SharedMemory)
	}
	return nil
}

// oldestCapability is the oldest that NVRTC 13 makes code for.
const oldestCapability = 75

func (m *machine) start() (err error) {
	if m.b, m.halves, err = planned.Halves(m.b, m.convert); err != nil {
		return err
	}
	if err := m.admit(); err != nil {
		return err
	}
	if m.code, err = m.compile(); err != nil {
		return err
	}
	if m.weights, err = m.newWeights(); err != nil {
		return err
	}
	if m.stream, err = m.api.NewStream(); err != nil {
		return err
	}
	if err = m.starts.make(m.api); err != nil {
		return err
	}
	if m.copies, err = m.api.NewApartStream(); err != nil {
		return err
	}
	if m.landing, err = m.host(landing); err != nil {
		return err
	}
	m.begun, err = m.host(4)
	return err
}

// do calls a function on a thread that has the machine's context.
func (m *machine) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := m.api.Enter(m.context); err != nil {
		return err
	}
	return f()
}

// Alloc gives memory of the card.
func (m *machine) Alloc(name string, n int64) (at planned.Address, err error) {
	err = m.do(func() error {
		p, err := m.api.Alloc(n)
		if driver.OutOfMemory(err) {
			return fmt.Errorf("%s for %s: %w", message.Bytes(n), name, err)
		}
		if err != nil {
			return err
		}
		m.memory = append(m.memory, p)
		at = planned.Address(p)
		return nil
	})
	return at, err
}

// Room is what the machine was admitted with.
func (m *machine) Room() int64 { return m.room }

// host gives memory that host and card see.
func (m *machine) host(n int) (*driver.Host, error) {
	h, err := m.api.HostAlloc(n)
	if err == nil {
		m.hosts = append(m.hosts, h)
	}
	return h, err
}

// Weight is where a byte of a file will be.
func (m *machine) Weight(file int, offset, bytes int64) (at planned.Address, err error) {
	err = m.do(func() error {
		at, err = m.weights.at(file, offset, bytes)
		return err
	})
	return at, err
}

// landing is how many bytes are read at most while steps run: tokens.
const landing = 4096

// Read copies from the card: little of it beside the steps that run, more after them.
func (m *machine) Read(to []byte, from planned.Address) error {
	return m.do(func() error {
		n := len(to)
		if n == 0 || n > landing {
			return m.api.Download(to, driver.Pointer(from))
		}
		if m.copied { // in a stream that the one for reading does not wait for
			if err := m.api.Wait(0); err != nil {
				return err
			}
			m.copied = false
		}
		if err := m.api.Receive(m.landing, driver.Pointer(from), int64(n), m.copies); err != nil {
			return err
		}
		if err := m.api.Wait(m.copies); err != nil {
			return err
		}
		copy(to, m.landing.Bytes)
		return nil
	})
}

// Write copies to the card.
func (m *machine) Write(to planned.Address, bytes []byte) error {
	return m.do(func() error { return m.api.Upload(driver.Pointer(to), bytes) })
}

// Copy begins to copy on the card, in the stream that the driver takes if none is named: what
// was started before ends first, and what is started later waits.
func (m *machine) Copy(to, from planned.Address, n int64) error {
	m.copied = true
	return m.do(func() error { return m.api.Copy(driver.Pointer(to), driver.Pointer(from), n) })
}

// Begin uploads the weights.
func (m *machine) Begin() error {
	return m.do(func() error { return m.weights.upload(m.opts.Begin, m.opts.Stop) })
}

// Wait waits for the card, which cannot be made to leave its work.
func (m *machine) Wait(_ context.Context, behind int) error {
	return m.do(func() error {
		if err := m.starts.wait(m.api, m.starts.begun-behind); err != nil {
			return m.fault(err)
		}
		return nil
	})
}

// Beside says that the card works beside the host.
func (m *machine) Beside() {}

// fault names the kernel that ran last, where a failure is the card's.
func (m *machine) fault(err error) error {
	if !driver.Failed(err) {
		return err
	}
	n := int(uint32(m.begun.Bytes[0]) | uint32(m.begun.Bytes[1])<<8 | uint32(m.begun.Bytes[2])<<16 | uint32(m.begun.Bytes[3])<<24)
	for _, s := range m.steps {
		if i := n - s.first; i >= 0 && i < len(s.plan.Dispatches) {
			x := s.plan.Dispatches[i]
			return fmt.Errorf("the card failed, most likely in dispatch %d of %s, kernel %s of region @%s: %w", i, s.plan.Phase, x.Kernel.Name, x.Region, err)
		}
	}
	return fmt.Errorf("the card failed: %w", err)
}

// stepTime is what the card took for the last step.
func (m *machine) stepTime() (time.Duration, error) { return m.starts.last(m.api) }

// Profile says how the steps to come are timed.
func (m *machine) Profile(mode profile.Mode) error {
	if mode == profile.Cold {
		if _, err := m.openProbes(); err != nil {
			return err
		}
	}
	m.mode = mode
	return nil
}

// Close gives everything back.
func (m *machine) Close() error {
	if m.context == 0 {
		return nil
	}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	err := m.do(func() error {
		if m.stream != 0 {
			// A card that failed says so with each call to come.
			if err := m.api.Wait(m.stream); err != nil {
				return nil
			}
		}
		for _, s := range m.steps {
			note(s.close())
		}
		note(m.starts.close(m.api))
		if m.copies != 0 {
			note(m.api.CloseStream(m.copies))
		}
		if m.probes != nil {
			note(m.probes.close())
		}
		if m.stream != 0 {
			note(m.api.CloseStream(m.stream))
		}
		for _, p := range m.memory {
			note(m.api.Free(p))
		}
		for _, h := range m.hosts {
			note(m.api.HostFree(h))
		}
		if m.weights != nil {
			note(m.weights.close())
		}
		if m.code != nil {
			note(m.code.close(m.api))
		}
		return nil
	})
	return errors.Join(append(errs, err, m.api.Release(m.card))...)
}
