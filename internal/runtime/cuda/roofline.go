package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/cuda/driver"
)

// probed is how much memory the roofline's kernels go through: far more than caches
// hold, and long beside a launch.
const probed = 1 << 30

// probes are the roofline's kernels, which read, copy, and multiply and add.
type probes struct {
	m     *machine
	code  *code
	probe [3]*roofline.Probe
	jobs  [3]job
	own   []driver.Pointer
}

func (m *machine) openProbes() (p *probes, err error) {
	if m.probes != nil {
		return m.probes, nil
	}
	p = &probes{m: m}
	err = m.do(p.make)
	if err != nil {
		return nil, errors.Join(err, m.do(p.close))
	}
	m.probes = p
	return p, nil
}

func (p *probes) make() error {
	var kernels []*kernel.Kernel
	texts := map[string]string{}
	for i, f := range []func(target.Target) (*roofline.Probe, error){roofline.Read, roofline.Copy, roofline.FMA} {
		q, err := f(target.GPU)
		if err != nil {
			return err
		}
		p.probe[i] = q
		kernels = append(kernels, q.Kernel)
		if texts[q.Kernel.Name], err = msl.Print(q.Kernel); err != nil {
			return err
		}
	}
	var err error
	if p.code, err = p.m.compileAll(kernels, texts); err != nil {
		return err
	}
	for _, n := range []int64{probed, probed, 256} {
		at, err := p.m.api.Alloc(n)
		if err != nil {
			return fmt.Errorf("memory to measure with: %w", err)
		}
		p.own = append(p.own, at)
	}
	// Zeros would show a card at its best.
	if err := p.m.api.Fill(p.own[0], 0x5a, probed); err != nil {
		return err
	}
	var numbers [8]byte
	binary.LittleEndian.PutUint32(numbers[:], math.Float32bits(0.999))
	binary.LittleEndian.PutUint32(numbers[4:], math.Float32bits(0.001))
	if err := p.m.api.Upload(p.own[2], numbers[:]); err != nil {
		return err
	}
	groups := uint32(probed / p.probe[0].Reads)
	for i, grid := range []uint32{groups, groups, uint32(64 * p.m.card.Cores)} {
		p.job(i, grid)
	}
	return nil
}

func (p *probes) job(i int, groups uint32) {
	k := p.code.kernels[p.probe[i].Kernel.Name]
	j := &p.jobs[i]
	source := p.own[0]
	if i == 2 {
		source = p.own[2]
	}
	j.args = make([]byte, 32)
	binary.LittleEndian.PutUint64(j.args, uint64(source))
	binary.LittleEndian.PutUint64(j.args[8:], uint64(p.own[1]))
	j.Function, j.Threads, j.Grid = k.function, uint32(p.probe[i].Kernel.Schedule.Threads), [3]uint32{groups, 1, 1}
	j.Params = []unsafe.Pointer{unsafe.Pointer(&j.args[0]), unsafe.Pointer(&j.begun), unsafe.Pointer(&j.number)}
}

// run puts a probe into the stream.
func (p *probes) run(i int) error { return p.m.api.Run(&p.jobs[i].Launch, p.m.stream) }

// Roofline measures what the card can do: the best of a few runs.
func (m *machine) Roofline() (rates roofline.Rates, err error) {
	p, err := m.openProbes()
	if err != nil {
		return rates, err
	}
	var best [3]time.Duration
	var groups [3]int64
	err = m.do(func() error {
		for i := range p.jobs {
			groups[i] = int64(p.jobs[i].Grid[0])
			if best[i], err = m.least(6, func() error { return p.run(i) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return rates, err
	}
	return roofline.Measured(p.probe, groups, best), nil
}

func (p *probes) close() error {
	var errs []error
	for _, at := range p.own {
		errs = append(errs, p.m.api.Free(at))
	}
	if p.code != nil {
		errs = append(errs, p.code.close(p.m.api))
	}
	return errors.Join(errs...)
}
