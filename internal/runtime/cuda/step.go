package cuda

import (
	"fmt"
	"time"
	"unsafe"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/cuda/driver"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/internal/runtime/stepblock"
)

// ringBlocks is how many blocks of step parameters are in use at once: the host
// writes one while copies of others are still on their way.
const ringBlocks = 4

// step is one of a plan's steps on the card.
type step struct {
	m      *machine
	plan   *plan.Step
	first  int             // number of its first dispatch among all of the machine's
	ring   *driver.Host    // of step parameters
	block  int             // the one of the next Start
	reads  [ringBlocks]int // how many starts there were when a block's last was begun
	used   []stepblock.Span
	params driver.Pointer
	jobs   []job
	graphs graphs
	marks  []driver.Event // around dispatches, where they are timed
	timed  [2]int         // dispatches between marks of the last Start
	times  []time.Duration
}

// job is a dispatch, ready to launch. Its parameters point to what follows.
type job struct {
	driver.Launch
	args   []byte
	params driver.Pointer
	begun  driver.Pointer
	number uint32
}

// Prepare makes a step's jobs.
func (m *machine) Prepare(p *plan.Step, args [][]byte) (planned.Step, error) {
	s := &step{m: m, plan: p, jobs: make([]job, len(p.Dispatches)), times: make([]time.Duration, len(p.Dispatches))}
	for _, other := range m.steps {
		s.first += len(other.jobs)
	}
	m.steps = append(m.steps, s)
	return s, m.do(func() error { return s.prepare(args) })
}

// paramBytes is the size of the step's parameters, stride the distance of blocks.
func (s *step) paramBytes() int { return s.plan.Params.Layout.Bytes() }
func (s *step) stride() int     { return (max(s.paramBytes(), 1) + 255) / 256 * 256 }

func (s *step) prepare(args [][]byte) (err error) {
	m := s.m
	if s.ring, err = m.host(ringBlocks * s.stride()); err != nil {
		return fmt.Errorf("step parameters: %w", err)
	}
	if s.params, err = m.api.Alloc(int64(s.stride())); err != nil {
		return fmt.Errorf("step parameters: %w", err)
	}
	m.memory = append(m.memory, s.params)
	for i, x := range s.plan.Dispatches {
		k := m.code.kernels[x.Kernel.Name]
		j := &s.jobs[i]
		// A struct of CUDA's ends at a multiple of its alignment, and is read whole.
		j.args = append(args[i], make([]byte, 16)...)
		j.params, j.number = s.params, uint32(s.first+i)
		if !m.opts.unmarked {
			j.begun = m.begun.Device
		}
		j.Function, j.Threads = k.function, uint32(x.Kernel.Schedule.Threads)
		if k.entry.Args {
			j.Params = append(j.Params, unsafe.Pointer(&j.args[0]))
		}
		if k.entry.Step {
			j.Params = append(j.Params, unsafe.Pointer(&j.params))
		}
		j.Params = append(j.Params, unsafe.Pointer(&j.begun), unsafe.Pointer(&j.number))
	}
	s.graphs.s = s
	return nil
}

// Params is the next block of the ring. Where the card may still read it, the steps
// before are waited for.
func (s *step) Params() []byte {
	s.block = (s.block + 1) % ringBlocks
	// A failure shows again at the next call.
	_ = s.m.do(func() error { return s.m.starts.wait(s.m.api, s.reads[s.block]) })
	return s.present()
}

func (s *step) present() []byte { return s.ring.Bytes[s.block*s.stride():][:s.paramBytes()] }

// Use says which parts of the parameters are sent. Mostly that is a hundredth of them.
func (s *step) Use(parts []stepblock.Span) { s.used = parts }

// send sends the parameters.
func (s *step) send() error {
	for _, part := range s.used {
		if err := s.m.api.Send(s.params+driver.Pointer(part.From), s.present()[part.From:part.To], s.m.stream); err != nil {
			return err
		}
	}
	return nil
}

// Start puts dispatches into the stream: those of a decode step as one graph, but for
// what picks tokens, others one by one.
func (s *step) Start(grids [][3]int64, from, to int) error {
	m := s.m
	return m.do(func() error {
		if err := s.start(grids, from, to); err != nil {
			return m.fault(err)
		}
		m.starts.begun++
		s.reads[s.block] = m.starts.begun
		return nil
	})
}

func (s *step) start(grids [][3]int64, from, to int) error {
	m := s.m
	marks, err := m.starts.next(m.api)
	if err != nil {
		return err
	}
	if err := s.send(); err != nil {
		return err
	}
	if err := m.api.Record(marks.from, m.stream); err != nil {
		return err
	}
	if err := s.launch(grids, from, to); err != nil {
		return err
	}
	return m.api.Record(marks.to, m.stream)
}

func (s *step) launch(grids [][3]int64, from, to int) error {
	s.timed = [2]int{}
	switch {
	case s.m.mode != profile.Off:
		return s.each(grids, from, to)
	case s.plan.Phase == program.Decode && from == 0 && to >= s.plan.Picks():
		// What picks tokens comes behind the graph, as it does where it is started later.
		from = s.plan.Picks()
		if err := s.graphs.play(grids[:from]); err != nil {
			return err
		}
	}
	for i := from; i < to; i++ {
		if err := s.one(i, grids[i]); err != nil {
			return err
		}
	}
	return nil
}

// one puts a dispatch into the stream. A grid of no threadgroups is no work.
func (s *step) one(i int, grid [3]int64) error {
	if !s.jobs[i].size(grid) {
		return nil
	}
	if err := s.m.api.Run(&s.jobs[i].Launch, s.m.stream); err != nil {
		return fmt.Errorf("kernel %s: %w", s.plan.Dispatches[i].Kernel.Name, err)
	}
	return nil
}

// size gives a job its grid, and tells whether there is work.
func (j *job) size(grid [3]int64) bool {
	j.Grid = [3]uint32{uint32(grid[0]), uint32(grid[1]), uint32(grid[2])}
	return grid[0] != 0 && grid[1] != 0 && grid[2] != 0
}

// each times dispatches one by one.
func (s *step) each(grids [][3]int64, from, to int) error {
	api := s.m.api
	for len(s.marks) < 2*len(s.jobs) {
		e, err := api.NewEvent()
		if err != nil {
			return err
		}
		s.marks = append(s.marks, e)
	}
	for i := from; i < to; i++ {
		if s.m.mode == profile.Cold {
			if err := s.m.probes.run(0); err != nil {
				return err
			}
		}
		if err := api.Record(s.marks[2*i], s.m.stream); err != nil {
			return err
		}
		if err := s.one(i, grids[i]); err != nil {
			return err
		}
		if err := api.Record(s.marks[2*i+1], s.m.stream); err != nil {
			return err
		}
	}
	s.timed = [2]int{from, to}
	return nil
}

// Times are the card's times between marks; zeros outside of a profile.
func (s *step) Times() []time.Duration {
	clear(s.times)
	_ = s.m.do(func() error {
		for i := s.timed[0]; i < s.timed[1]; i++ {
			t, err := s.m.api.Between(s.marks[2*i], s.marks[2*i+1])
			if err != nil {
				return err // the step was not waited for, or failed: it says so itself
			}
			s.times[i] = t
		}
		return nil
	})
	return s.times
}

func (s *step) close() error {
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, e := range s.marks {
		note(s.m.api.CloseEvent(e))
	}
	note(s.graphs.close())
	return first
}
