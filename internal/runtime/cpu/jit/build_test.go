package jit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/codecache/cachetest"
)

func modules(n int) []Module {
	var list []Module
	for i := range n {
		name := fmt.Sprint("add", i)
		list = append(list, Text(name, addIR(name)))
	}
	return list
}

// compileAll compiles and checks the counts.
func compileAll(t *testing.T, l *LLVM, c *codecache.Cache, list []Module, hits int) *Build {
	t.Helper()
	b, err := l.CompileAll(list, Options{}, c, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Hits != hits || b.Misses != len(list)-hits || b.CacheError != nil {
		t.Errorf("%d hits, %d misses, %v; want %d, %d, no error", b.Hits, b.Misses, b.CacheError, hits, len(list)-hits)
	}
	taken := 0
	for _, s := range b.Stages {
		if s.Parse > 0 && s.Passes > 0 && s.Code > 0 && s.Total() == s.Parse+s.Passes+s.Code {
			taken++
		}
	}
	if taken != b.Misses {
		t.Errorf("%d modules have times of all stages, %d were compiled", taken, b.Misses)
	}
	if b.Elapsed <= 0 || (b.Compiling > 0) != (b.Misses > 0) {
		t.Errorf("%v in all, compiling %v with %d misses", b.Elapsed, b.Compiling, b.Misses)
	}
	return b
}

func TestCompileAll(t *testing.T) {
	l := openLLVM(t)
	dir := t.TempDir()
	list := modules(8)
	cold := compileAll(t, l, newCache(t, dir, 1<<20), list[:6], 0)
	warm := compileAll(t, l, newCache(t, dir, 1<<20), list, 6)
	for i, object := range cold.Objects {
		if !bytes.Equal(object, warm.Objects[i]) {
			t.Errorf("object %d is another one from the cache", i)
		}
	}
	p, err := l.Link(warm.Objects)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		wantAdd(t, symbol(t, p, m.Name))
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}

	// Broken entries are compiled again, and are whole the time after.
	entries := cachetest.Entries(t, dir)
	cut, altered := entries[0], entries[1]
	if err := os.Truncate(cut, 100); err != nil {
		t.Fatal(err)
	}
	cachetest.Alter(t, altered)
	compileAll(t, l, newCache(t, dir, 1<<20), list, 6)
	compileAll(t, l, newCache(t, dir, 1<<20), list, 8)

	compileAll(t, l, nil, list, 0)
	if b := compileAll(t, l, nil, nil, 0); len(b.Objects) != 0 {
		t.Errorf("%d objects of no modules", len(b.Objects))
	}
}

// Of several broken modules the first in order is the error, whoever compiles it.
func TestFirstError(t *testing.T) {
	l := openLLVM(t)
	for _, workers := range []int{0, 1, 4} {
		list := modules(12)
		for _, i := range []int{3, 4, 7, 11} {
			list[i] = Text(fmt.Sprint("broken", i), "garbage")
		}
		_, err := l.CompileAll(list, Options{}, nil, workers, nil)
		wantLine(t, err, "kernel broken3:")
	}
}

// A cache that cannot be written is told of and costs nothing else.
func TestUnwritableCache(t *testing.T) {
	l := openLLVM(t)
	dir := filepath.Join(t.TempDir(), "cache")
	c := newCache(t, dir, 1<<20)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	b, err := l.CompileAll(modules(3), Options{}, c, 2, nil)
	if err != nil || b.Misses != 3 || len(b.Objects[2]) == 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	wantLine(t, b.CacheError, "cache of compiled kernels: ", dir)
}

// All that decides an object's bytes is in its key.
func TestKey(t *testing.T) {
	l := openLLVM(t)
	other := &LLVM{version: l.version, identity: l.identity + "x", host: l.host}
	elsewhere := &LLVM{version: l.version, identity: l.identity, host: Host{l.host.Triple, l.host.CPU, l.host.Features + ",+x"}}
	seen := map[codecache.Key]int{}
	for i, key := range []codecache.Key{
		l.Key("a", Options{}),
		l.Key("b", Options{}),
		l.Key("a", Options{Passes: "default<O3>"}),
		l.Key("a", Options{Codegen: Default}),
		l.Key("a", Options{NoUnroll: true}),
		l.Key("a", Options{CPU: "generic"}),
		l.Key("a", Options{CPU: "generic", Features: "+x"}),
		l.Key("a", Options{Features: "+x"}),
		other.Key("a", Options{}),
		elsewhere.Key("a", Options{CPU: ""}),
	} {
		if j, ok := seen[key]; ok && !(i == 9 && j == 7) { // the same features by another way
			t.Errorf("keys %d and %d are the same", j, i)
		}
		seen[key] = i
	}
	if l.Key("a", Options{}) != l.Key("a", Options{Passes: VectorPasses}) {
		t.Error("the default options have another key when they are spelled out")
	}
}

func newCache(t testing.TB, dir string, limit int64) *codecache.Cache {
	t.Helper()
	c, err := codecache.Open(cachetest.Folder(t, dir), limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
