package standin

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// compiler skips a test where clang is missing; continuous integration installs it.
func compiler(tb testing.TB) *Compiler {
	tb.Helper()
	c, err := Find()
	if err != nil {
		tb.Skip(err)
	}
	return c
}

func testdata(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// rig is a host that runs files, with a block for each argument.
type rig struct {
	*Host
	tb testing.TB
}

// program builds all of testdata, the generated kernels and package msl's once,
// plainly or with sanitizers.
func program(tb testing.TB, sanitize bool) *Program {
	tb.Helper()
	compiler(tb)
	build := plain
	if sanitize {
		if testing.Short() {
			tb.Skip("-short: building with sanitizers takes as long as everything else")
		}
		build = sanitized
	}
	p, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

var (
	scratch   string // of the whole test run
	plain     = sync.OnceValues(func() (*Program, error) { return buildAll("plain", Options{}) })
	sanitized = sync.OnceValues(func() (*Program, error) { return buildAll("sanitized", Options{Sanitize: true}) })
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "standin-test-")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func buildAll(name string, options Options) (*Program, error) {
	c, err := Find()
	if err != nil {
		return nil, err
	}
	files := map[string]string{"builtins.metal": builtinSource(), "simd.metal": simdSource()}
	for _, pattern := range []string{"testdata/*.metal", "../testdata/*.metal"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			return nil, fmt.Errorf("no kernels in %s (%v)", pattern, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			files[filepath.Base(path)] = string(text)
		}
	}
	dir := filepath.Join(scratch, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	return c.Build(dir, files, options)
}

func start(tb testing.TB, sanitize bool) rig {
	tb.Helper()
	return rig{begin(tb, program(tb, sanitize)), tb}
}

func begin(tb testing.TB, p *Program) *Host {
	tb.Helper()
	h, err := p.Start()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// put allocates a block with the content of a slice of numbers.
func put[T any](r rig, values []T) Addr {
	r.tb.Helper()
	data, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		r.tb.Fatal(err)
	}
	at, err := r.Alloc(len(data), 0)
	if err == nil {
		err = r.Write(at, data)
	}
	if err != nil {
		r.tb.Fatal(err)
	}
	return at
}

// get reads n numbers.
func get[T any](r rig, at Addr, n int) []T {
	r.tb.Helper()
	out := make([]T, n)
	data, err := r.Read(at, binary.Size(out))
	if err == nil {
		_, err = binary.Decode(data, binary.LittleEndian, out)
	}
	if err != nil {
		r.tb.Fatal(err)
	}
	return out
}

// space allocates n floats of NaN.
func (r rig) space(n int) Addr {
	r.tb.Helper()
	at, err := r.Alloc(4*n, 0xff)
	if err != nil {
		r.tb.Fatal(err)
	}
	return at
}

// args is an argument block of addresses and one int behind them.
func args(width int, at ...Addr) []byte {
	var out []byte
	for _, a := range at {
		out = binary.LittleEndian.AppendUint64(out, uint64(a))
	}
	return binary.LittleEndian.AppendUint64(out, uint64(uint32(width)))
}

func (r rig) launch(l Launch) {
	r.tb.Helper()
	l.Grid = [3]uint32{max(l.Grid[0], 1), max(l.Grid[1], 1), max(l.Grid[2], 1)}
	if err := r.Launch(l); err != nil {
		r.tb.Fatal(err)
	}
}

// noise is n numbers between -1 and 1, the same every time.
func noise(n int, seed uint32) []float32 {
	out := make([]float32, n)
	for i := range out {
		seed = seed*1664525 + 1013904223
		out[i] = float32(int32(seed)>>8) / (1 << 23)
	}
	return out
}

func near(got, want, tolerance float64) bool {
	if math.IsNaN(want) || math.IsInf(want, 0) {
		return math.IsNaN(got) == math.IsNaN(want) && (math.IsNaN(want) || got == want)
	}
	return math.Abs(got-want) <= tolerance*max(1, math.Abs(want))
}
