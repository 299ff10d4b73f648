package standin

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// both runs a test plainly and with sanitizers.
func both(t *testing.T, test func(t *testing.T, r rig)) {
	for _, sanitize := range []bool{false, true} {
		t.Run(fmt.Sprintf("sanitize=%v", sanitize), func(t *testing.T) {
			t.Parallel()
			test(t, start(t, sanitize))
		})
	}
}

func TestWork(t *testing.T) {
	if err := compiler(t).Check("work.metal", testdata(t, "work.metal")); err != nil {
		t.Error(err)
	}
	both(t, func(t *testing.T, r rig) {
		for seed := range uint64(4) {
			matmul(t, r, seed)
			rowSum(t, r, seed)
			countNegative(t, r, seed)
		}
		scaled(t, r)
		where(t, r)
		blocks(t, r)
	})
}

// matmul of 64 by 64; b's halves are exact.
func matmul(t *testing.T, r rig, seed uint64) {
	const n = 64
	a, b := noise(n*n, 1), noise(n*n, 2)
	for i := range b {
		b[i] = float32(math.Round(float64(b[i])*8) / 8)
	}
	out := r.space(n * n)
	r.launch(Launch{Kernel: "matmul", Grid: [3]uint32{n / 32, n / 32, 1}, Threads: 128, Poison: 0xff,
		Args: args(n, put(r, a), put(r, b), out), Seed: seed})
	got := get[float32](r, out, n*n)
	for i := range n {
		for j := range n {
			want := 0.0
			for k := range n {
				want += float64(a[i*n+k]) * float64(b[k*n+j])
			}
			if !near(float64(got[i*n+j]), want, 1e-5) {
				t.Fatalf("matmul, seed %d: c[%d,%d] = %v, want %v", seed, i, j, got[i*n+j], want)
			}
		}
	}
}

func rowSum(t *testing.T, r rig, seed uint64) {
	const rows, width, threads = 5, 333, 96
	a := noise(rows*width, 3)
	out := r.space(rows)
	in := put(r, a)
	r.launch(Launch{Kernel: "row_sum", Grid: [3]uint32{rows}, Threads: threads, Poison: 0x7f, Args: args(width, in, in, out), Seed: seed})
	for row, got := range get[float32](r, out, rows) {
		want := 0.0
		for _, v := range a[row*width : (row+1)*width] {
			want += float64(v)
		}
		if !near(float64(got), want, 1e-5) {
			t.Errorf("row_sum, seed %d: row %d is %v, want %v", seed, row, got, want)
		}
	}
}

func countNegative(t *testing.T, r rig, seed uint64) {
	a := noise(1000, 4)
	count, last := 0, 0
	for i, v := range a {
		if v < 0 {
			count, last = count+1, i
		}
	}
	in, out := put(r, a), r.space(2)
	r.launch(Launch{Kernel: "count_negative", Threads: 64, Args: args(len(a), in, in, out), Seed: seed})
	if got, want := get[float32](r, out, 2), []float32{float32(count), float32(last)}; !slices.Equal(got, want) {
		t.Errorf("count_negative: got %v, want %v", got, want)
	}
}

// scaled reads a step block and a table in constant memory; threads beyond T
// write nothing.
func scaled(t *testing.T, r rig) {
	const n, live = 40, 35
	a := noise(n, 5)
	step := binary.LittleEndian.AppendUint32(nil, live)
	for _, s := range []float32{2, 3, 5} {
		step = binary.LittleEndian.AppendUint32(step, math.Float32bits(s))
	}
	in, out := put(r, a), r.space(n)
	r.launch(Launch{Kernel: "scaled", Grid: [3]uint32{2}, Threads: 20, Args: args(0, in, in, out), Step: put(r, step)})
	for i, got := range get[float32](r, out, n) {
		want := a[i] * []float32{2, 3, 5}[i%3] * []float32{1, 0.5, 0.25, 0.125}[i%4]
		if i < live && got != want || i >= live && got == got {
			t.Errorf("scaled: %d is %v, want %v below %d, NaN from there", i, got, want, live)
		}
	}
}

// where: every thread runs once, whatever the order.
func where(t *testing.T, r rig) {
	for _, seed := range []uint64{0, 1, 2, 3, 1 << 63, math.MaxUint64} {
		out := r.space(12 * 40)
		r.launch(Launch{Kernel: "where", Grid: [3]uint32{2, 3, 2}, Threads: 40, Args: args(0, out, out, out), Seed: seed})
		for i, got := range get[float32](r, out, 12*40) {
			group := i / 40
			if want := float32(group%2 + 10*(group/2%3) + 100*(group/6) + 1000*(i%40)); got != want {
				t.Fatalf("where, seed %d: group %d, thread %d writes %v, want %v", seed, group, i%40, got, want)
			}
		}
	}
}

func blocks(t *testing.T, r rig) {
	const width = 24
	a, b := noise(16*width, 6), noise(64, 7)
	out := r.space(128)
	r.launch(Launch{Kernel: "blocks", Threads: 32, Args: args(width, put(r, a), put(r, b), out)})
	got := get[float32](r, out, 128)
	for i := range 8 {
		for j := range 8 {
			if want := 2 * a[(8+j)*width+16+i]; got[i*8+j] != want {
				t.Errorf("blocks: transposed [%d,%d] is %v, want %v", i, j, got[i*8+j], want)
			}
			if want := b[i*8+j]/2 + 1; !near(float64(got[64+i*8+j]), float64(want), 1e-6) {
				t.Errorf("blocks: product [%d,%d] is %v, want %v", i, j, got[64+i*8+j], want)
			}
		}
	}
}

// TestSumOrders: even and odd seeds add in different orders.
func TestSumOrders(t *testing.T) {
	r := start(t, false)
	a := noise(32, 8)
	in, out := put(r, a), r.space(32)
	sum := func(seed uint64) float32 {
		r.launch(Launch{Kernel: "many_sums", Threads: 32, Args: args(1, in, in, out), Seed: seed})
		return get[float32](r, out, 1)[0] * 32
	}
	ascending := float32(0)
	tree := slices.Clone(a)
	for i := range a {
		ascending += a[i]
	}
	for apart := 16; apart > 0; apart /= 2 {
		for i := range apart {
			tree[i] += tree[i+apart]
		}
	}
	if ascending == tree[0] {
		t.Fatal("the test's numbers do not tell the orders apart")
	}
	if got := [2]float32{sum(2), sum(3)}; got != [2]float32{ascending, tree[0]} {
		t.Errorf("sums of an even and an odd seed are %v, want %v and %v", got, ascending, tree[0])
	}
}

// TestPrinted: what package msl prints is accepted and built.
func TestPrinted(t *testing.T) {
	c := compiler(t)
	paths, err := filepath.Glob("../testdata/*.metal")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no printed kernels in ../testdata (%v)", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(filepath.Base(path), string(text)); err != nil {
			t.Error(err)
		}
	}
	r := start(t, true)
	x := noise(256, 9)
	weight := slices.Repeat([]uint16{0x3f80}, 256) // bfloat 1
	out := r.space(256)
	r.launch(Launch{Kernel: "rms_norm", Threads: 128, Poison: 0xff, Args: args(256, put(r, x), put(r, weight), out)})
	squares := 0.0
	for _, v := range x {
		squares += float64(v) * float64(v)
	}
	for i, got := range get[float32](r, out, 256) {
		if want := float64(x[i]) / math.Sqrt(squares/256+1e-6); !near(float64(got), want, 1e-6) {
			t.Fatalf("rms_norm: %d is %v, want %v", i, got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	r := start(t, false)
	path := filepath.Join(t.TempDir(), "numbers")
	if err := os.WriteFile(path, []byte("some bytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	file, size, err := r.Map(path)
	if err != nil || size != 10 {
		t.Fatalf("Map: size %d, %v", size, err)
	}
	if got, err := r.Read(file+5, 5); err != nil || string(got) != "bytes" {
		t.Errorf("Read of a mapped file: %q, %v", got, err)
	}
	block, err := r.Alloc(8, 0x5a)
	if err != nil || block%256 != 0 {
		t.Fatalf("Alloc: %#x, %v", block, err)
	}
	if err := r.Write(block+2, []byte{1, 2}); err != nil {
		t.Error(err)
	}
	if got, err := r.Read(block, 5); err != nil || string(got) != "ZZ\x01\x02Z" {
		t.Errorf("Read: %q, %v", got, err)
	}
	step, err := r.Alloc(16, 0)
	if err != nil {
		t.Fatal(err)
	}
	ok := Launch{Kernel: "scaled", Grid: [3]uint32{1, 1, 1}, Threads: 1, Args: args(0, block, block, block), Step: step}
	change := func(f func(l *Launch)) error {
		l := ok
		f(&l)
		return r.Launch(l)
	}
	_, _, noFile := r.Map(path + ".missing")
	_, beyond := r.Read(block+4, 5)
	_, none := r.Alloc(0, 0)
	for _, test := range []struct {
		err  error
		want string
	}{
		{noFile, "No such file"},
		{beyond, "not within one block"},
		{none, "at least 1"},
		{r.Write(block+9, nil), "not within one block"},
		{r.Write(file, []byte{1}), "mapped file"},
		{r.Free(block + 1), "inside a block"},
		{r.Free(block + 4096), "not within one block"},
		{change(func(l *Launch) { l.Kernel = "absent" }), `no kernel "absent"`},
		{change(func(l *Launch) { l.Threads = 1025 }), "expected 1 to 1024"},
		{change(func(l *Launch) { l.Grid[1] = 0 }), "at least 1 along each axis"},
		{change(func(l *Launch) { l.Grid = [3]uint32{1 << 20, 1 << 20, 2} }), "at most 2^40"},
		{change(func(l *Launch) { l.Args = l.Args[:24] }), "struct Args has 32"},
		{change(func(l *Launch) { l.Step = step + 1 }), "step block: 16 bytes"},
		{change(func(l *Launch) { l.Limit = -1 }), "time limit"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("got error %v, want one with %q", test.err, test.want)
		}
	}
	for _, at := range []Addr{block, file} {
		if err := r.Free(at); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(at, 1); err == nil {
			t.Errorf("Read of %#x after Free: no error", at)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Alloc(1, 0); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Alloc after Close: %v", err)
	}
}

// benchmark reports what one of width operations of a kernel costs.
func benchmark(b *testing.B, kernel string, threads uint32) {
	const width = 20000
	r := start(b, false)
	in := put(r, noise(1024, 1))
	l := Launch{Kernel: kernel, Threads: threads, Args: args(width, in, in, r.space(1024))}
	r.launch(l)
	begin := time.Now()
	for b.Loop() {
		r.launch(l)
	}
	b.ReportMetric(float64(time.Since(begin).Nanoseconds())/float64(b.N*width), "ns/each")
}

func BenchmarkSimdSum(b *testing.B)            { benchmark(b, "many_sums", 32) }
func BenchmarkBarrier256(b *testing.B)         { benchmark(b, "many_barriers", 256) }
func BenchmarkMultiplyAccumulate(b *testing.B) { benchmark(b, "many_products", 32) }
