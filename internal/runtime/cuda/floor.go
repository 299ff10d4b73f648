package cuda

import (
	"errors"
	"slices"
	"time"
	"unsafe"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/runtime/device"
)

// Graphs count what decode steps did with their graphs.
func (d *Device) Graphs() device.Graphs {
	for _, s := range d.machine.steps {
		if s.graphs.stats.Steps > 0 {
			return s.graphs.stats
		}
	}
	return device.Graphs{}
}

// Code is what NVRTC made of a kernel.
func (d *Device) Code(name string) (device.Code, bool) {
	x, ok := d.machine.code.kernels[name]
	if !ok {
		return device.Code{}, false
	}
	return device.Code{Registers: x.use.Registers, Spilled: x.use.Local}, true
}

// LaunchFloor is how long the last decode step's graph takes with kernels that do
// nothing.
func (d *Device) LaunchFloor() (least time.Duration, err error) {
	err = d.Exclusively(func() error {
		m := d.machine
		return m.do(func() error {
			for _, s := range m.steps {
				if s.graphs.last != nil {
					least, err = s.floor()
					return err
				}
			}
			return nil
		})
	})
	return least, err
}

// floorRuns is how often the empty graph is played: the best time counts.
const floorRuns = 20

// floor plays the last graph with an empty kernel in each node.
func (s *step) floor() (least time.Duration, err error) {
	m := s.m
	k, text, err := emptyKernel()
	if err != nil {
		return 0, err
	}
	code, err := m.compileAll([]*kernel.Kernel{k}, map[string]string{k.Name: text})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, code.close(m.api)) }()
	empty := &step{m: m, plan: s.plan, jobs: make([]job, len(s.jobs))}
	empty.graphs.s, empty.graphs.rows = empty, s.graphs.rows
	for i := range empty.jobs {
		j := &empty.jobs[i]
		j.Function, j.Threads = code.kernels[k.Name].function, s.jobs[i].Threads
		j.Params = []unsafe.Pointer{unsafe.Pointer(&j.begun), unsafe.Pointer(&j.number)}
	}
	x, err := empty.graphs.make(s.graphs.last.grids)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, x.close(m.api)) }()
	return m.least(floorRuns, func() error { return m.api.Play(x.exec, m.stream) })
}

// emptyKernel does nothing, in threadgroups of any size.
func emptyKernel() (*kernel.Kernel, string, error) {
	k, err := kernel.New("empty", &kernel.StepLayout{}, kernel.Schedule{Threads: 1024, SimdWidth: 32}, "Does nothing.").Kernel()
	if err != nil {
		return nil, "", err
	}
	text, err := msl.Print(k)
	return k, text, err
}

// least is the least time on the card of some runs of what is put into the stream.
func (m *machine) least(runs int, put func() error) (least time.Duration, err error) {
	var c clock
	if err := c.make(m.api); err != nil {
		return 0, err
	}
	defer c.close(m.api, func(e error) { err = errors.Join(err, e) })
	var times []time.Duration
	for range runs {
		if err := m.api.Record(c.from, m.stream); err != nil {
			return 0, err
		}
		if err := put(); err != nil {
			return 0, err
		}
		if err := m.api.Record(c.to, m.stream); err != nil {
			return 0, err
		}
		t, err := c.took(m.api)
		if err != nil {
			return 0, err
		}
		times = append(times, t)
	}
	return slices.Min(times), nil
}
