package cpu

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/codegen/target"
)

// probed is how much memory the roofline's kernels go through: far more than
// caches hold.
const probed = 256 << 20

// probes runs the roofline's kernels on a pool of threads.
type probes struct {
	memory          memory
	code            *code
	probe           [3]*roofline.Probe // of read, copy and fma
	read, copy, fma []job              // one each
}

func (m *machine) newProbes() (_ *probes, err error) {
	p := &probes{}
	var kernels []*kernel.Kernel
	for i, make := range []func(target.Target) (*roofline.Probe, error){roofline.Read, roofline.Copy, roofline.FMA} {
		if p.probe[i], err = make(m.target); err != nil {
			return nil, err
		}
		kernels = append(kernels, p.probe[i].Kernel)
	}
	if p.code, err = compile(kernels, m.opts); err != nil {
		return nil, err
	}
	if err := p.bind(len(m.pool.workers)); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *probes) close() error { return errors.Join(p.code.program.Close(), p.memory.free()) }

// bind makes the jobs.
func (p *probes) bind(threads int) error {
	source, err := p.memory.alloc("measuring", probed)
	if err != nil {
		return err
	}
	target, err := p.memory.alloc("measuring", probed)
	if err != nil {
		return err
	}
	for i := 0; i+8 <= probed; i += 8 { // pages of nothing but zeros could be one page
		binary.LittleEndian.PutUint64(source[i:], uint64(i)*0x9e3779b97f4a7c15)
	}
	numbers, err := p.memory.alloc("measuring", 8)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(numbers, math.Float32bits(0.999))
	binary.LittleEndian.PutUint32(numbers[4:], math.Float32bits(0.001))
	pieces := int(probed / p.probe[0].Reads)
	if p.read, err = p.job(p.probe[0], source, target, pieces); err != nil {
		return err
	}
	if p.copy, err = p.job(p.probe[1], source, target, pieces); err != nil {
		return err
	}
	p.fma, err = p.job(p.probe[2], numbers, target, 64*threads)
	return err
}

func (p *probes) job(q *roofline.Probe, x, y []byte, groups int) ([]job, error) {
	args, err := p.memory.alloc("arguments", 16)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint64(args, address(x))
	binary.LittleEndian.PutUint64(args[8:], address(y))
	at := uintptr(address(args))
	jobs := make([]job, 1)
	j := &jobs[0]
	j.fn, j.args, j.step, j.last = p.code.functions[q.Kernel], at, at, true
	j.width, j.height, j.groups = int32(groups), 1, int32(groups)
	return jobs, nil
}

// Roofline measures what the threads can do: the best of a few runs of
// some tens of milliseconds each.
func (m *machine) Roofline() (roofline.Rates, error) {
	p, err := m.openProbes()
	if err != nil {
		return roofline.Rates{}, err
	}
	var groups [3]int64
	var best [3]time.Duration
	for i, jobs := range [][]job{p.read, p.copy, p.fma} {
		groups[i], best[i] = int64(jobs[0].groups), m.best(jobs)
	}
	return roofline.Measured(p.probe, groups, best), nil
}

func (m *machine) openProbes() (*probes, error) {
	if m.probes == nil {
		p, err := m.newProbes()
		if err != nil {
			return nil, err
		}
		m.probes = p
	}
	return m.probes, nil
}

// best is the least time of four runs.
func (m *machine) best(jobs []job) time.Duration {
	least := time.Duration(math.MaxInt64)
	for range 4 {
		start := time.Now()
		m.runProbe(jobs)
		least = min(least, time.Since(start))
	}
	return least
}

func (m *machine) runProbe(jobs []job) {
	jobs[0].reset()
	m.pool.run(jobs)
}
