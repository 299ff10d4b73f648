// Package roofline has the kernels that find out what a machine can do at most:
// read memory, copy it, multiply and add. The speed of other kernels is
// given as a share of theirs. They run like any kernel, on the same threads.
package roofline

import (
	"time"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/target"
)

// Rates are a machine's measured rates, per second.
type Rates struct {
	Read  float64 `json:"read_bytes"` // bytes read
	Copy  float64 `json:"copy_bytes"` // bytes read and bytes written, together
	Flops float64 `json:"fp32_flops"` // operations of float32 fused multiply-adds, two each
}

// Probe is a kernel with what one of its threadgroups does. Its parameters are
// a buffer it reads, `x`, and one it writes, `y`, both of u32 or f32.
type Probe struct {
	Kernel *kernel.Kernel
	Reads  int64 // bytes
	Writes int64 // bytes
	Flops  int64
}

// Measured are the rates of Read, Copy and FMA that so many threadgroups of each took
// at least.
func Measured(probes [3]*Probe, groups [3]int64, least [3]time.Duration) Rates {
	rate := func(i int, each int64) float64 {
		return float64(each) * float64(groups[i]) / max(least[i].Seconds(), 1e-9)
	}
	return Rates{Read: rate(0, probes[0].Reads+probes[0].Writes), Copy: rate(1, probes[1].Reads+probes[1].Writes), Flops: rate(2, probes[2].Flops)}
}

// perThread is how many words a thread reads; unrolled of them at once.
const (
	perThread = 2048
	unrolled  = 8
)

// schedule has as many threads as let a GPU hide latency.
func schedule(t target.Target) kernel.Schedule {
	if t.Vector > 0 {
		return kernel.Schedule{Threads: t.Vector, SimdWidth: t.Vector}
	}
	return kernel.Schedule{Threads: min(256, t.MaxThreads), SimdWidth: t.SimdWidth}
}

// Read adds up words: each threadgroup a piece of x of its own, and a word of y
// for each thread.
func Read(t target.Target) (*Probe, error) {
	s := schedule(t)
	k := kernel.New("roofline_read", &kernel.StepLayout{}, s, "Reads words and adds them up.")
	x, y := k.Pointer("x", kernel.Of(kernel.U32), kernel.Read), k.Pointer("y", kernel.Of(kernel.U32), kernel.Write)
	words := s.Threads * perThread
	base := k.Let("base", kernel.Group(0).To(kernel.I64).Mul(kernel.C(kernel.I64, float64(words))))
	sums := k.Vars("sum", unrolled, kernel.U(0))
	k.For("i", kernel.Thread(), kernel.I(words), kernel.I(unrolled*s.Threads), func(i *kernel.Expr) {
		for n, v := range sums {
			v.Set(v.Add(x.At(base.Add(i.Add(kernel.I(n * s.Threads)).To(kernel.I64)))))
		}
	})
	total := sums[0].Expr
	for _, v := range sums[1:] {
		total = total.Add(v.Expr)
	}
	y.Set(kernel.Group(0).Mul(kernel.I(s.Threads)).Add(kernel.Thread()), total)
	return probe(k, 4*int64(words), 4*int64(s.Threads), 0)
}

// Copy copies words: each threadgroup a piece of x to the same place of y.
func Copy(t target.Target) (*Probe, error) {
	s := schedule(t)
	k := kernel.New("roofline_copy", &kernel.StepLayout{}, s, "Copies words.")
	x, y := k.Pointer("x", kernel.Of(kernel.U32), kernel.Read), k.Pointer("y", kernel.Of(kernel.U32), kernel.Write)
	words := s.Threads * perThread
	base := k.Let("base", kernel.Group(0).To(kernel.I64).Mul(kernel.C(kernel.I64, float64(words))))
	k.For("i", kernel.Thread(), kernel.I(words), kernel.I(unrolled*s.Threads), func(i *kernel.Expr) {
		at := k.Let("at", base.Add(i.To(kernel.I64)))
		place := func(n int) *kernel.Expr { return at.Add(kernel.C(kernel.I64, float64(n*s.Threads))) }
		var loaded []*kernel.Expr // all before the first is stored: one load at a time is latency
		for n := range unrolled {
			loaded = append(loaded, k.Let("word", x.At(place(n))))
		}
		for n, word := range loaded {
			y.Set(place(n), word)
		}
	})
	return probe(k, 4*int64(words), 4*int64(words), 0)
}

// Chains of dependent multiply-adds a thread has, and how long they are: enough
// chains for every unit of a core to have one to go on with.
const (
	chains = 12
	links  = 4096
)

// FMA multiplies and adds in registers. x gives two numbers, y gets a sum for
// each thread, so that nothing can be left out.
func FMA(t target.Target) (*Probe, error) {
	s := schedule(t)
	k := kernel.New("roofline_fma", &kernel.StepLayout{}, s, "Fused multiply-adds in registers.")
	x, y := k.Pointer("x", kernel.Of(kernel.F32), kernel.Read), k.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
	a, b := k.Let("a", x.At(kernel.I(0))), k.Let("b", x.At(kernel.I(1)))
	start := k.Let("start", kernel.Thread().To(kernel.F32))
	sums := make([]kernel.Variable, chains)
	for i := range sums {
		sums[i] = k.Var("sum", start.Add(kernel.F(float64(i))))
	}
	k.For("i", kernel.I(0), kernel.I(links), kernel.I(1), func(*kernel.Expr) {
		for _, v := range sums {
			v.Set(v.Fma(a, b))
		}
	})
	total := sums[0].Expr
	for _, v := range sums[1:] {
		total = total.Add(v.Expr)
	}
	y.Set(kernel.Group(0).Mul(kernel.I(s.Threads)).Add(kernel.Thread()), total)
	return probe(k, 8, 4*int64(s.Threads), 2*chains*links*int64(s.Threads))
}

func probe(k *kernel.Builder, reads, writes, flops int64) (*Probe, error) {
	built, err := k.Kernel()
	if err != nil {
		return nil, err
	}
	return &Probe{built, reads, writes, flops}, nil
}
