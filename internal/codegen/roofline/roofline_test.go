package roofline

import (
	"encoding/binary"
	"math"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/target"
)

// run interprets two threadgroups of a probe on buffers of random words.
func run(t *testing.T, p *Probe, x, y []byte) {
	t.Helper()
	err := interp.Run(p.Kernel, interp.Launch{Grid: [3]int{2, 1, 1}, Buffers: map[string][]byte{"x": x, "y": y}})
	if err != nil {
		t.Fatal(err)
	}
}

func words(n int64, seed uint32) []byte {
	b := make([]byte, n)
	for i := 0; i < len(b); i += 4 {
		seed = seed*1664525 + 1013904223
		binary.LittleEndian.PutUint32(b[i:], seed)
	}
	return b
}

func sum(b []byte) (s uint32) {
	for i := 0; i < len(b); i += 4 {
		s += binary.LittleEndian.Uint32(b[i:])
	}
	return s
}

var targets = []target.Target{target.GPU, target.CPU8}

// TestRead: every word is read once, for all sums agree.
func TestRead(t *testing.T) {
	for _, machine := range targets {
		p, err := Read(machine)
		if err != nil {
			t.Fatal(err)
		}
		x, y := words(2*p.Reads, 1), words(2*p.Writes, 2)
		run(t, p, x, y)
		if got, want := sum(y), sum(x); got != want {
			t.Errorf("%s: the sums add up to %x, want %x", machine.Name, got, want)
		}
	}
}

func TestCopy(t *testing.T) {
	for _, machine := range targets {
		p, err := Copy(machine)
		if err != nil {
			t.Fatal(err)
		}
		x, y := words(2*p.Reads, 1), words(2*p.Writes, 2)
		run(t, p, x, y)
		if string(x) != string(y) {
			t.Errorf("%s: the copy differs", machine.Name)
		}
	}
}

// TestFMA: each thread's number is what so many multiply-adds give, and the
// estimator counts as many operations as the probe claims.
func TestFMA(t *testing.T) {
	const a, b = 0.5, 0.25
	for _, machine := range targets {
		p, err := FMA(machine)
		if err != nil {
			t.Fatal(err)
		}
		x, y := make([]byte, 8), words(2*p.Writes, 2)
		binary.LittleEndian.PutUint32(x, math.Float32bits(a))
		binary.LittleEndian.PutUint32(x[4:], math.Float32bits(b))
		run(t, p, x, y)
		for i := 0; i < len(y); i += 4 {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(y[i:])); got != chains*b/(1-a) {
				t.Fatalf("%s: thread %d has %v, want the fixed point %v", machine.Name, i/4, got, chains*b/(1-a))
			}
		}
		cost, err := kernel.Estimate(p.Kernel, kernel.Env{Grid: [3]int64{1, 1, 1}})
		if err != nil {
			t.Fatal(err)
		}
		if extra := cost.Flops - p.Flops; extra < 0 || extra > p.Flops/1000 {
			t.Errorf("%s: the estimator counts %d operations, the probe says %d", machine.Name, cost.Flops, p.Flops)
		}
	}
}
