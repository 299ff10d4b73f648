package metal

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

// probed is how much memory the roofline's kernels go through: far more than
// caches hold.
const probed = 512 << 20

// probes are the roofline's kernels, ready to run.
type probes struct {
	jobs    [3]job // read, copy, fma
	probe   [3]*roofline.Probe
	args    buffer
	buffers [3]buffer // source, target, the numbers that fma multiplies
	ids     []objc.ID // of what openProbes made
}

func (m *machine) openProbes() (*probes, error) {
	if m.probes != nil {
		return m.probes, nil
	}
	p := &probes{}
	err := m.api.Pool(func() error { return p.open(m) })
	if err != nil {
		p.close(m.api)
		return nil, err
	}
	m.probes = p
	return p, nil
}

func (p *probes) open(m *machine) error {
	for i, n := range []int64{probed, probed, 8} {
		id := m.api.NewBuffer(m.gpu, max(n, 16), "roofline")
		if id == 0 {
			return fmt.Errorf("%s to measure the GPU's memory with: there is not as much", message.Bytes(n))
		}
		p.ids = append(p.ids, id)
		p.buffers[i] = m.memory.seen(id, max(n, 16))
	}
	source, numbers := p.buffers[0].bytes, p.buffers[2].bytes
	for i := 0; i+8 <= len(source); i += 8 { // pages of nothing but zeros could be one page
		binary.LittleEndian.PutUint64(source[i:], uint64(i)*0x9e3779b97f4a7c15)
	}
	binary.LittleEndian.PutUint32(numbers, math.Float32bits(0.999))
	binary.LittleEndian.PutUint32(numbers[4:], math.Float32bits(0.001))
	id := m.api.NewBuffer(m.gpu, 3*alignment, "roofline's arguments")
	if id == 0 {
		return fmt.Errorf("%d bytes to measure with: the GPU's memory is full", 3*alignment)
	}
	p.ids = append(p.ids, id)
	p.args = m.memory.seen(id, 3*alignment)
	for i, f := range []func(target.Target) (*roofline.Probe, error){roofline.Read, roofline.Copy, roofline.FMA} {
		q, err := f(target.GPU)
		if err != nil {
			return err
		}
		p.probe[i] = q
		if p.jobs[i], err = p.job(m, q.Kernel, i); err != nil {
			return err
		}
	}
	groups := probed / p.probe[0].Reads
	p.jobs[0].grid, p.jobs[1].grid, p.jobs[2].grid = [3]int64{groups, 1, 1}, [3]int64{groups, 1, 1}, [3]int64{4096, 1, 1}
	return nil
}

func (p *probes) job(m *machine, k *kernel.Kernel, i int) (job, error) {
	text, err := msl.Print(k)
	if err != nil {
		return job{}, err
	}
	pso, err := pipeline(m.api, m.gpu, k, text, &archive{})
	if err != nil {
		return job{}, err
	}
	p.ids = append(p.ids, pso)
	source := p.buffers[0]
	if i == 2 {
		source = p.buffers[2]
	}
	binary.LittleEndian.PutUint64(p.args.bytes[i*alignment:], source.address)
	binary.LittleEndian.PutUint64(p.args.bytes[i*alignment+8:], p.buffers[1].address)
	return job{kernel: k.Name, pipeline: pso, args: i * alignment, threads: k.Schedule.Threads}, nil
}

func (p *probes) close(api *objc.API) {
	for _, id := range p.ids {
		api.Release(id)
	}
}

// between runs the reading probe, so that what is timed next finds no caches full
// of its own.
func (q *queue) between(s *step) error { return q.probe(s.m.probes, 0) }

// probe encodes and commits one of the roofline's kernels.
func (q *queue) probe(p *probes, i int) error {
	cb, enc := q.begin()
	if cb == 0 || enc == 0 {
		return fmt.Errorf("the queue gives no command buffer for kernel %s", p.jobs[i].kernel)
	}
	use := q.message(objc.EncoderUse, uintptr(objc.Array(p.ids[:3])), 3, objc.UsageRead|objc.UsageWrite)
	q.send(use, enc)
	q.bindArgs[2] = uintptr(p.args.id)
	q.send(q.bindArgs, enc)
	q.bindStep[2], q.bindStep[3] = uintptr(p.args.id), 0 // these kernels read no step parameters
	q.send(q.bindStep, enc)
	q.encoder.begin(enc)
	q.encoder.encode(&p.jobs[i], true)
	q.finish(cb, enc, running{}, false)
	return nil
}

// Roofline measures what the GPU can do: the best of a few runs.
func (m *machine) Roofline() (rates roofline.Rates, err error) {
	p, err := m.openProbes()
	if err != nil {
		return rates, err
	}
	var best [3]time.Duration
	var groups [3]int64
	err = m.queue.do(func() error {
		for i := range p.jobs {
			best[i], groups[i] = math.MaxInt64, p.jobs[i].grid[0]
			for range 4 {
				t, err := m.queue.timed(p, i)
				if err != nil {
					return err
				}
				best[i] = min(best[i], t)
			}
		}
		return nil
	})
	if err != nil {
		return rates, err
	}
	return roofline.Measured(p.probe, groups, best), nil
}

// timed runs a probe alone.
func (q *queue) timed(p *probes, i int) (time.Duration, error) {
	q.forgetAll()
	if err := q.probe(p, i); err != nil {
		return 0, err
	}
	r := q.running[0]
	q.send(q.completed, r.id)
	if q.send(q.status, r.id) == objc.StatusError {
		return 0, q.fault(r)
	}
	start, end := q.api.Times(r.id)
	return time.Duration((end - start) * float64(time.Second)), nil
}
