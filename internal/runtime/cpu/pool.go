package cpu

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebitengine/purego"
)

// job is one dispatch of a step: a kernel's function over a grid.
type job struct {
	fn, args, step uintptr
	width, height  int32
	groups         int32 // threadgroups in all
	next           atomic.Int32
	last           bool         // the next job must see this one's results
	began, ended   atomic.Int64 // of the first and the last thread, since the pool began; in a profile
}

// elapsed is how long threads worked on the job; 0 if it was not profiled.
func (j *job) elapsed() time.Duration {
	began, ended := j.began.Load(), j.ended.Load()
	if ended < began {
		return 0
	}
	return time.Duration(ended - began)
}

// reset makes the job ready to run.
func (j *job) reset() {
	j.next.Store(0)
	j.began.Store(math.MaxInt64)
	j.ended.Store(math.MinInt64)
}

// pool runs the jobs of a step on several threads. All of them go through the
// jobs in order, taking threadgroups from each until none is left, and meet
// where results are to be seen; the caller is one of them. A step allocates
// nothing.
type pool struct {
	workers []*worker
	jobs    []job
	profile bool
	begun   atomic.Int32 // jobs of the step that runs, by the caller's count
	since   time.Time
	meet    barrier
	done    sync.WaitGroup
}

type worker struct {
	pool *pool
	wake chan struct{}
	args [7]uintptr // of a call; the third is the worker's threadgroup memory
}

// newPool starts threads-1 goroutines. shared gives each thread's threadgroup memory.
func newPool(threads int, shared func(i int) uintptr) *pool {
	p := &pool{since: time.Now(), meet: barrier{size: int32(threads)}}
	for i := range threads {
		w := &worker{pool: p, wake: make(chan struct{}, 1)}
		w.args[2] = shared(i)
		p.workers = append(p.workers, w)
		if i > 0 {
			p.done.Add(1)
			go w.loop()
		}
	}
	return p
}

func (p *pool) close() {
	for _, w := range p.workers[1:] {
		close(w.wake)
	}
	p.done.Wait()
}

// run runs jobs to their end.
func (p *pool) run(jobs []job) {
	p.jobs = jobs
	for _, w := range p.workers[1:] {
		w.wake <- struct{}{}
	}
	p.workers[0].step()
}

func (w *worker) loop() {
	defer w.pool.done.Done()
	for range w.wake {
		w.step()
	}
}

func (w *worker) step() {
	p := w.pool
	for i := range p.jobs {
		j := &p.jobs[i]
		if w == p.workers[0] {
			p.begun.Store(int32(i))
		}
		if p.profile {
			earliest(&j.began, int64(time.Since(p.since)))
		}
		w.work(j)
		if p.profile {
			latest(&j.ended, int64(time.Since(p.since)))
		}
		if j.last || p.profile || i == len(p.jobs)-1 {
			p.meet.wait()
		}
	}
}

// earliest sets v to the less of itself and x, latest to the greater.
func earliest(v *atomic.Int64, x int64) {
	for old := v.Load(); x < old && !v.CompareAndSwap(old, x); old = v.Load() {
	}
}

func latest(v *atomic.Int64, x int64) {
	for old := v.Load(); x > old && !v.CompareAndSwap(old, x); old = v.Load() {
	}
}

// mostAtOnce is how many threadgroups a thread takes at once. A call costs about
// as much as the smallest threadgroup; experts without rows and those with many
// are neighbours, so more would leave threads idle.
const mostAtOnce = 8

// work takes threadgroups while there are any: at most half of an even share of
// what is left, so that threads end together though some take longer.
func (w *worker) work(j *job) {
	threads := int32(len(w.pool.workers))
	if j.groups == 0 {
		return
	}
	w.args[0], w.args[1], w.args[5], w.args[6] = j.args, j.step, uintptr(j.width), uintptr(j.height)
	for {
		first := j.next.Load()
		if first >= j.groups {
			return
		}
		n := min(max((j.groups-first)/(2*threads), 1), mostAtOnce)
		if !j.next.CompareAndSwap(first, first+n) {
			continue
		}
		w.args[3], w.args[4] = uintptr(first), uintptr(first+n)
		purego.SyscallN(j.fn, w.args[:]...)
	}
}

// barrier lets threads wait for each other. Waits are short, so it spins, and
// gives way where a thread is not running.
type barrier struct {
	size    int32
	arrived atomic.Int32
	round   atomic.Uint32
}

// How long to spin, and to give way, before sleeping: some microseconds each.
const (
	spins  = 4000
	yields = 200
)

func (b *barrier) wait() {
	round := b.round.Load()
	if b.arrived.Add(1) == b.size {
		b.arrived.Store(0)
		b.round.Add(1)
		return
	}
	for n := 0; b.round.Load() == round; n++ {
		switch {
		case n < spins:
		case n < spins+yields:
			runtime.Gosched()
		default:
			time.Sleep(20 * time.Microsecond)
		}
	}
}
