package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
)

// interrupts hands out Ctrl-C. The first ends the work at hand and the next one the program,
// but while somebody has taken them.
type interrupts struct {
	reporter *reporter
	end      context.CancelFunc // of the work at hand

	mu    sync.Mutex
	taken func() // is told of each; nil if nobody has taken them
	ended bool   // the work at hand was told to end
}

// listen has Ctrl-C go to the work that takes the context which is returned.
func listen(r *reporter) context.Context {
	i := &interrupts{reporter: r}
	ctx := context.WithValue(context.Background(), interruptsKey{}, i)
	ctx, i.end = context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		for range signals {
			i.hit()
		}
	}()
	return ctx
}

type interruptsKey struct{}

// takeInterrupts has each Ctrl-C call a function in the place of what it does otherwise, until
// giveBack is called. Where nobody listens it does nothing.
func takeInterrupts(ctx context.Context, hit func()) (giveBack func()) {
	i, ok := ctx.Value(interruptsKey{}).(*interrupts)
	if !ok {
		return func() {}
	}
	set := func(f func()) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.taken = f
	}
	set(hit)
	return func() { set(nil) }
}

// hit is told of a Ctrl-C.
func (i *interrupts) hit() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.taken != nil:
		i.taken()
	case !i.ended:
		i.ended = true
		i.reporter.ends()
		i.end()
	default:
		i.kill()
	}
}

// kill ends the program as Ctrl-C ends others, with nothing of a reporter's left on the
// terminal.
func (i *interrupts) kill() {
	i.reporter.leave()
	signal.Reset(os.Interrupt)
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(os.Interrupt)
	}
	if err != nil { // systems without signals
		os.Exit(statusInterrupted)
	}
}
