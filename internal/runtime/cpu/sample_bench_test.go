package cpu

import (
	"encoding/binary"
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

// BenchmarkSample picks the token of a row of Flash's vocabulary, on all processors
// (-cpu 1: on one).
func BenchmarkSample(b *testing.B) {
	const vocab = 129280
	host, err := target.Named("cpu")
	if err != nil {
		b.Fatal(err)
	}
	logits := &ir.Value{ID: 1, Type: ir.Tensor(ir.F32, ir.Sym("W"), ir.Const(vocab))}
	module := &ir.Module{Symbols: []ir.Symbol{{Name: "W", Def: ir.Wanted}}, Results: []*ir.Value{logits}}
	step := program.NewStep(module, 1)
	launches, tokens, err := lower.LowerSample(&lower.Input{Module: module, Step: step, Target: host})
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
	defer c.program.Close()
	b.Logf("compiled in %v", c.build.Compiling)
	var m memory
	defer m.free()
	alloc := func(n int) []byte {
		data, err := m.alloc("benchmark", int64(n))
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	row, places := alloc(4*vocab), map[*program.Scratch][]byte{}
	place := func(a program.Arg) []byte {
		if a.Scratch == nil {
			return row
		}
		if places[a.Scratch] == nil {
			n, err := a.Scratch.Bytes.Eval(func(string) (int64, bool) { return 1, true })
			if err != nil {
				b.Fatal(err)
			}
			places[a.Scratch] = alloc(int(n))
		}
		return places[a.Scratch]
	}
	values, r := make([]float32, vocab), rand.New(rand.NewPCG(5, 0))
	for i := range values {
		values[i] = float32(r.NormFloat64() * 4)
		binary.LittleEndian.PutUint32(row[4*i:], math.Float32bits(values[i]))
	}
	filler := stepblock.New(step)
	block := alloc(filler.Bytes())
	stacks := make([][]byte, threads)
	for i := range stacks {
		stacks[i] = alloc(c.shared + 4096)
	}
	p := newPool(threads, func(i int) uintptr { return uintptr(address(stacks[i])) })
	defer p.close()
	jobs := make([]job, len(launches))
	for n, l := range launches {
		args, table := alloc(8*len(l.Args)), alloc(len(llvm.StepTable(l.Kernel, 0)))
		for i, a := range l.Args { // as the kernel's parameters come
			binary.LittleEndian.PutUint64(args[8*i:], address(place(a)))
		}
		copy(table, llvm.StepTable(l.Kernel, address(block)))
		grid := [2]int64{}
		for axis := range grid {
			if grid[axis], err = l.Grid[axis].Eval(func(string) (int64, bool) { return 1, true }); err != nil {
				b.Fatal(err)
			}
		}
		j := &jobs[n]
		j.fn, j.args, j.step, j.last = c.functions[l.Kernel], uintptr(address(args)), uintptr(address(table)), true
		j.width, j.height, j.groups = int32(grid[0]), int32(grid[1]), int32(grid[0]*grid[1])
	}
	token := places[tokens]
	some, text := pick.NewMaskOfAll(vocab), &pick.Changes{Positive: 0.8, Negative: 1.25}
	for id := int32(0); id < vocab; id += 50 {
		some.Forbid(id)
		text.Tokens = append(text.Tokens, pick.Change{Token: id + 1, Less: 0.5})
	}
	for _, x := range []struct {
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
		b.Run(x.name, func(b *testing.B) {
			choice := x.params.Choice(0, 0)
			choice.Allowed, choice.Changes = x.allowed, x.changes
			if err := filler.Fill(block, []ir.Row{{}}, []int{0}, []sampling.Choice{choice}); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for i := range jobs {
					jobs[i].reset()
				}
				p.run(jobs)
			}
			if want, err := choice.Pick(values, nil); err != nil || int32(binary.LittleEndian.Uint32(token)) != want {
				b.Errorf("token %d, expected %d, %v", binary.LittleEndian.Uint32(token), want, err)
			}
		})
	}
}
