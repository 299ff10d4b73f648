package jit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"smelt.example/smelt/internal/runtime/codecache"
)

// Module is one module of LLVM IR with the name errors call it. Its text is
// asked for only if the cache has no object for it: ID stands for the text there.
type Module struct {
	Name string
	ID   string // differs where texts differ
	IR   func() (string, error)
}

// Text is a module of a text that is at hand.
func Text(name, ir string) Module {
	return Module{Name: name, ID: ir, IR: func() (string, error) { return ir, nil }}
}

// Build is the result of CompileAll.
type Build struct {
	Objects [][]byte // one for each module, in their order
	Stages  []Stages // of each module; zero where the cache had it

	Hits, Misses int // objects from the cache, and compiled

	Elapsed   time.Duration // of the whole
	Compiling time.Duration // in the compiler, summed over workers

	// CacheError is why the cache is bypassed, or the first error that kept an
	// object from being kept. It costs time, nothing else.
	CacheError error
}

// CompileAll compiles modules with so many workers (at least 1), each module
// only if the cache does not have it. A nil cache has nothing and keeps nothing.
// done, if not nil, is told of each module by the worker that had it. If modules
// fail the error is that of the first one in their order, and none after it is
// started once it is known.
func (l *LLVM) CompileAll(modules []Module, o Options, c *codecache.Cache, workers int, done func(n int64)) (*Build, error) {
	start := time.Now()
	var bypassed error
	if c != nil && c.Bypassed() != nil {
		c, bypassed = nil, c.Bypassed()
	}
	results := make([]result, len(modules))
	var next atomic.Int64
	var failed atomic.Bool
	var group sync.WaitGroup
	for range min(max(workers, 1), len(modules)) {
		group.Go(func() {
			// Modules start in order: whatever comes before one that failed
			// has started, and ends.
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(modules) {
					return
				}
				results[i] = l.build(modules[i], o, c)
				if results[i].err != nil {
					failed.Store(true)
				}
				if done != nil {
					done(1)
				}
			}
		})
	}
	group.Wait()
	b := &Build{Objects: make([][]byte, len(modules)), Stages: make([]Stages, len(modules)), CacheError: bypassed}
	for i, r := range results {
		if r.err != nil {
			return nil, r.err
		}
		b.add(i, r)
	}
	b.Elapsed = time.Since(start)
	return b, nil
}

// Key is the cache's name for what Compile makes of a module with options: the text or
// what stands for it, the library (version, file, its size and time), the machine and
// the options.
func (l *LLVM) Key(id string, o Options) codecache.Key {
	o = o.resolve(l.host)
	reloc, model := l.addressing()
	return codecache.KeyOf(
		"object 2", // changes with what this package makes of its input
		id, l.Version(), l.identity, l.host.Triple, o.CPU, o.Features, o.Passes,
		fmt.Sprint(o.Codegen, o.NoUnroll, reloc, model))
}

// UserCache is where this package's objects are kept for the user.
func UserCache() *codecache.Cache { return codecache.User("objects") }

// result is one module's way through build.
type result struct {
	object    []byte
	stages    Stages
	hit       bool
	compiling time.Duration
	cacheErr  error
	err       error
}

func (b *Build) add(i int, r result) {
	b.Objects[i], b.Stages[i] = r.object, r.stages
	if r.hit {
		b.Hits++
	} else {
		b.Misses++
	}
	b.Compiling += r.compiling
	if b.CacheError == nil {
		b.CacheError = r.cacheErr
	}
}

// build takes a module from the cache or compiles it.
func (l *LLVM) build(m Module, o Options, c *codecache.Cache) (r result) {
	var key codecache.Key
	if c != nil {
		key = l.Key(m.ID, o)
		if r.object, r.hit = c.Get(key); r.hit {
			return r
		}
	}
	ir, err := m.IR()
	if err != nil {
		return result{err: err}
	}
	start := time.Now()
	r.object, r.stages, r.err = l.emit(m.Name, ir, o, kindObject)
	r.compiling = time.Since(start)
	if r.err == nil && c != nil {
		r.cacheErr = c.Put(key, r.object)
	}
	return r
}
