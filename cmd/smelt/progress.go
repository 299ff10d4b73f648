package main

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"smelt.example/smelt/internal/progress"
)

// phase is something that may take long, as package progress tells of it.
type phase struct {
	name, unit string
	total      int64 // 0: not known
	began      time.Time
	done       atomic.Int64
	now        func() float64 // in the place of done, if not nil
	part       string         // the name of the part that was shown last; "" if none was
}

// reached is how much is done.
func (p *phase) reached() float64 {
	if p.now != nil {
		return p.now()
	}
	return float64(p.done.Load())
}

// renderer is a form of progress: on a terminal, or in a pipe. Its functions are
// called one at a time.
type renderer interface {
	// show is called every tick with the phases that go on, the outermost first. There
	// were always some since the time busy, but for moments.
	show(now, busy time.Time, open []*phase)
	// clear takes away what does not stay; whatever else is written comes after it.
	clear()
}

// tick is the time between two looks at the phases.
const tick = 100 * time.Millisecond

// reporter has the phases that go on, and shows them in one form.
type reporter struct {
	mu     sync.Mutex
	form   renderer
	open   []*phase
	stop   chan struct{} // ends the goroutine that shows, which runs while phases do
	busy   time.Time     // since when there are phases, but for moments
	idle   time.Time     // since when there are none
	ending *phase        // since Ctrl-C; nil before
	inLine bool          // what was written last, on the form's stream, is no whole line
}

// reporting gives a command's streams a reporter: a line that changes if standard
// error is a terminal which can do that, otherwise lines now and then.
func reporting(io stdio) stdio {
	r := &reporter{}
	if f, ok := fileOf(io.err); ok && isTerminal(f) && !isDumb() {
		r.form = &terminalForm{to: f, columns: func() int { return columns(f) }}
		if isTerminal(io.out) {
			io.out = &shared{r, io.out}
		}
	} else {
		r.form = &pipeForm{to: io.err}
	}
	io.err = &shared{r, io.err}
	return io
}

// shared is a stream that others write to beside the reporter.
type shared struct {
	reporter *reporter
	to       io.Writer
}

// Write writes where nothing of the reporter's stands.
func (s *shared) Write(b []byte) (int, error) {
	s.reporter.mu.Lock()
	defer s.reporter.mu.Unlock()
	s.reporter.form.clear()
	n, err := s.to.Write(b)
	if n > 0 {
		s.reporter.inLine = !bytes.HasSuffix(b[:n], []byte("\n"))
	}
	return n, err
}

// reporter is the one that reporting gave the streams; nil if none did.
func (s stdio) reporter() *reporter {
	if err, ok := s.err.(*shared); ok {
		return err.reporter
	}
	return nil
}

// phases is what work is given to tell of its phases.
func (s stdio) phases() progress.Begin {
	r := s.reporter()
	if r == nil {
		return nil
	}
	return func(name string, total int64, unit string) (done func(n int64), end func()) {
		p := &phase{name: name, total: total, unit: unit}
		r.begin(p)
		return func(n int64) { p.done.Add(n) }, sync.OnceFunc(func() { r.end(p) })
	}
}

// wait begins a phase of which nothing is known but its name.
func (s stdio) wait(name string) (end func()) { return s.phases().Wait(name) }

// follow begins a phase that is looked at rather than told.
func (s stdio) follow(name string, total int64, unit string, now func() float64) (end func()) {
	r := s.reporter()
	if r == nil {
		return func() {}
	}
	p := &phase{name: name, total: total, unit: unit, now: now}
	r.begin(p)
	return sync.OnceFunc(func() { r.end(p) })
}

func (r *reporter) begin(p *phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.began = time.Now()
	r.open = append(r.open, p)
	if len(r.open) > 1 {
		return
	}
	if p.began.Sub(r.idle) > moment {
		r.busy = p.began
	}
	r.stop = make(chan struct{})
	go r.run(r.stop)
}

func (r *reporter) end(p *phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(o *phase) bool { return o == p })
	if len(r.open) == 0 {
		r.idle = time.Now()
		close(r.stop)
		r.form.clear()
	}
}

// run shows the phases until there are none.
func (r *reporter) run(stop chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			r.look(now, stop)
		}
	}
}

func (r *reporter) look(now time.Time, stop chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != stop || len(r.open) == 0 || r.inLine {
		return // another goroutine shows what goes on by now, or a line must stay
	}
	open := r.open
	if r.ending != nil {
		open = append([]*phase{r.ending}, open...)
	}
	r.form.show(now, r.busy, open)
}

// ends says that what goes on is being ended, which steps and compilers do not do at once.
func (r *reporter) ends() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = &phase{name: "interrupted, ending", began: time.Now()}
}

// leave takes the line away for good: the process ends now.
func (r *reporter) leave() {
	r.mu.Lock() // and nothing is drawn any more
	r.form.clear()
}

// terminalForm is one line that changes and goes.
type terminalForm struct {
	to      io.Writer
	columns func() int
	drawn   string
}

// patience is how long something may take in silence, also in several phases with a
// moment between them.
const (
	patience = 500 * time.Millisecond
	moment   = patience / 2
)

// takeAway ends a line that stays: to its beginning, and nothing to its end.
const takeAway = "\r\x1b[K"

func (f *terminalForm) show(now, busy time.Time, open []*phase) {
	if now.Sub(busy) < patience {
		return
	}
	line := inColumns(now, visible(now, open), f.columns()-1) // the last column would wrap
	if line == f.drawn {
		return
	}
	// A terminal that cannot be drawn on is no reason to stop.
	_, _ = io.WriteString(f.to, takeAway+line)
	f.drawn = line
}

func (f *terminalForm) clear() {
	if f.drawn != "" {
		_, _ = io.WriteString(f.to, takeAway)
		f.drawn = ""
	}
}

// visible are the phases of a line: parts of others once they last, and then also
// those that follow them under the same name, so that nothing flickers.
func visible(now time.Time, open []*phase) []*phase {
	n := 1
	for i, p := range open[1:] {
		if outer := open[i]; now.Sub(p.began) >= patience || outer.part == p.name {
			outer.part, n = p.name, i+2
		}
	}
	return open[:n]
}

// pipeForm is a line every ten seconds.
type pipeForm struct {
	to    io.Writer
	of    *phase // the outermost
	lines int64  // that were written of it
}

// between is the time from line to line.
const between = 10 * time.Second

func (f *pipeForm) show(now, _ time.Time, open []*phase) {
	if f.of != open[0] {
		f.of, f.lines = open[0], 0
	}
	due := int64(now.Sub(f.of.began) / between)
	if due <= f.lines {
		return
	}
	f.lines = due
	_, _ = io.WriteString(f.to, inWords(now, open)+"\n")
}

func (f *pipeForm) clear() {}
