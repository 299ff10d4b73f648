package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/llvm"
	"smelt.example/smelt/internal/codegen/lower"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/runtime/stepblock"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// benchVocab is Flash's.
const benchVocab = 129280

// rowBench runs what is made of rows of logits, on all processors (-cpu 1: on one).
type rowBench struct {
	b        *testing.B
	values   [][]float32
	launches []program.Launch
	jobs     []job
	pool     *pool
	filler   *stepblock.Filler
	block    []byte
	out      []byte
	memory   memory
	places   map[*program.Scratch][]byte
	logits   []byte
}

// newRowBench compiles kernels, and draws so many rows.
func newRowBench(b *testing.B, rows int, lowered func(*lower.Input) ([]program.Launch, *program.Scratch, error)) *rowBench {
	host, err := target.Named("cpu")
	if err != nil {
		b.Fatal(err)
	}
	logits := &ir.Value{ID: 1, Type: ir.Tensor(ir.F32, ir.Sym("W"), ir.Const(benchVocab))}
	module := &ir.Module{Symbols: []ir.Symbol{{Name: "W", Def: ir.Wanted}}, Results: []*ir.Value{logits}}
	step := program.NewStep(module, rows)
	launches, out, err := lowered(&lower.Input{Module: module, Step: step, Target: host})
	if err != nil {
		b.Fatal(err)
	}
	var kernels []*kernel.Kernel
	for _, l := range launches {
		kernels = append(kernels, l.Kernel)
	}
	threads := runtime.GOMAXPROCS(0)
	c, err := compile(kernels, Options{LLVM: openLLVM(b), Threads: threads})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.program.Close() })
	b.Logf("compiled in %v", c.build.Compiling)
	x := &rowBench{b: b, launches: launches, jobs: make([]job, len(launches)), filler: stepblock.New(step), places: map[*program.Scratch][]byte{}}
	b.Cleanup(func() { x.memory.free() })
	x.logits, x.block = x.alloc(4*benchVocab*rows), x.alloc(x.filler.Bytes())
	r := rand.New(rand.NewPCG(5, 0))
	for i := range rows {
		x.values = append(x.values, make([]float32, benchVocab))
		for id := range x.values[i] {
			x.values[i][id] = float32(r.NormFloat64() * 4)
			binary.LittleEndian.PutUint32(x.logits[4*(i*benchVocab+id):], math.Float32bits(x.values[i][id]))
		}
	}
	stacks := make([][]byte, threads)
	for i := range stacks {
		stacks[i] = x.alloc(c.shared + 4096)
	}
	x.pool = newPool(threads, func(i int) uintptr { return uintptr(address(stacks[i])) })
	b.Cleanup(x.pool.close)
	for n, l := range launches {
		args, table := x.alloc(8*len(l.Args)), x.alloc(len(llvm.StepTable(l.Kernel, 0)))
		for i, a := range l.Args { // as the kernel's parameters come
			binary.LittleEndian.PutUint64(args[8*i:], address(x.place(a)))
		}
		copy(table, llvm.StepTable(l.Kernel, address(x.block)))
		x.jobs[n].fn, x.jobs[n].args, x.jobs[n].step, x.jobs[n].last = c.functions[l.Kernel], uintptr(address(args)), uintptr(address(table)), true
	}
	x.out = x.places[out]
	return x
}

func (x *rowBench) alloc(n int) []byte {
	data, err := x.memory.alloc("benchmark", int64(n))
	if err != nil {
		x.b.Fatal(err)
	}
	return data
}

func (x *rowBench) place(a program.Arg) []byte {
	if a.Scratch == nil {
		return x.logits
	}
	if x.places[a.Scratch] == nil {
		n, err := a.Scratch.Bytes.Eval(func(string) (int64, bool) { return 1, true })
		if err != nil {
			x.b.Fatal(err)
		}
		x.places[a.Scratch] = x.alloc(int(n))
	}
	return x.places[a.Scratch]
}

// run runs the launches of the block that was filled last, again and again.
func (x *rowBench) run(b *testing.B) {
	for n, l := range x.launches {
		var grid [2]int64
		for axis := range grid {
			var err error
			if grid[axis], err = l.Grid[axis].Eval(x.filler.Symbol); err != nil {
				b.Fatal(err)
			}
		}
		x.jobs[n].width, x.jobs[n].height, x.jobs[n].groups = int32(grid[0]), int32(grid[1]), int32(grid[0]*grid[1])
	}
	for b.Loop() {
		for i := range x.jobs {
			x.jobs[i].reset()
		}
		x.pool.run(x.jobs)
	}
}

// BenchmarkSample picks the token of a row.
func BenchmarkSample(b *testing.B) {
	const vocab = benchVocab
	x := newRowBench(b, 1, lower.LowerSample)
	filler, block, values, token := x.filler, x.block, x.values[0], x.out
	some, text := pick.NewMaskOfAll(vocab), &pick.Changes{Positive: 0.8, Negative: 1.25}
	for id := int32(0); id < vocab; id += 50 {
		some.Forbid(id)
		text.Tokens = append(text.Tokens, pick.Change{Token: id + 1, Less: 0.5})
	}
	for _, c := range []struct {
		name    string
		params  sampling.Params
		allowed *pick.Mask
		changes *pick.Changes
	}{
		{"greedy", sampling.Greedy(), nil, nil},
		{"mask", sampling.Greedy(), some, nil},
		{"penalties", sampling.Greedy(), some, text},
		{"plain", sampling.Params{Temperature: 1, TopP: 1}, nil, nil},
		{"top-k", sampling.Params{Temperature: 1, TopK: 40, TopP: 1}, nil, nil},
		{"top-p", sampling.Params{Temperature: 1, TopP: 0.95}, nil, nil},
		{"all", sampling.Params{Temperature: 1, TopK: 40, TopP: 0.95, MinP: 0.01}, some, text},
	} {
		b.Run(c.name, func(b *testing.B) {
			choice := c.params.Choice(0, 0)
			choice.Allowed, choice.Changes = c.allowed, c.changes
			if err := filler.Fill(block, []ir.Row{{}}, []int{0}, []sampling.Choice{choice}); err != nil {
				b.Fatal(err)
			}
			x.run(b)
			if want, err := choice.Pick(values, nil); err != nil || int32(binary.LittleEndian.Uint32(token)) != want {
				b.Errorf("token %d, expected %d, %v", binary.LittleEndian.Uint32(token), want, err)
			}
		})
	}
}

// BenchmarkScore scores a token of each row, alone or with the 20 most probable ones; the
// host does it by the logits, which have left the device.
func BenchmarkScore(b *testing.B) {
	for _, rows := range []int{1, 16} {
		x := newRowBench(b, rows, lower.LowerScore)
		wanted := make([]int, rows)
		if err := x.filler.Fill(x.block, make([]ir.Row, rows), wanted, nil); err != nil {
			b.Fatal(err)
		}
		for _, top := range []int{0, program.MaxTop} {
			var asks []program.Ask
			for i := range rows {
				asks = append(asks, program.Ask{Row: int32(i), Token: 7, Top: int32(top)})
			}
			b.Run(fmt.Sprintf("%d rows, %d others", rows, top), func(b *testing.B) {
				if err := x.filler.Score(x.block, 0, asks); err != nil {
					b.Fatal(err)
				}
				x.run(b)
				for i, row := range x.values {
					of := x.out[4*program.ScoreWords*i:]
					if got, want := math.Float32frombits(binary.LittleEndian.Uint32(of[4:])), sampling.LogProb(row, 7); math.Abs(float64(got)-want) > 2e-5 {
						b.Errorf("row %d: %v, expected %v", i, got, want)
					}
					for n, p := range sampling.Top(row, top) {
						if got := int32(binary.LittleEndian.Uint32(of[8*(n+1):])); got != p.Token {
							b.Errorf("row %d: token %d, expected %d", i, got, p.Token)
						}
					}
				}
			})
			b.Run(fmt.Sprintf("%d rows, %d others, on the host", rows, top), func(b *testing.B) {
				for b.Loop() {
					for i := range rows {
						logits := make([]float32, benchVocab) // as the device gives them out
						for id := range logits {
							logits[id] = math.Float32frombits(binary.LittleEndian.Uint32(x.logits[4*(i*benchVocab+id):]))
						}
						sampling.LogProb(logits, 7)
						sampling.Top(logits, top)
					}
				}
			})
		}
	}
}
