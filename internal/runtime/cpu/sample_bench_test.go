package cpu

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
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

// BenchmarkSample picks the token of a row of Flash's vocabulary, on one thread.
func BenchmarkSample(b *testing.B) {
	const vocab = 129280
	host, err := target.Named("cpu")
	if err != nil {
		b.Fatal(err)
	}
	logits := &ir.Value{ID: 1, Type: ir.Tensor(ir.F32, ir.Sym("W"), ir.Const(vocab))}
	module := &ir.Module{Symbols: []ir.Symbol{{Name: "W", Def: ir.Wanted}}, Results: []*ir.Value{logits}}
	step := program.NewStep(module, 1)
	launch, _, err := lower.LowerSample(&lower.Input{Module: module, Step: step, Target: host})
	if err != nil {
		b.Fatal(err)
	}
	c, err := compile([]*kernel.Kernel{launch.Kernel}, Options{LLVM: openLLVM(b), Threads: 1})
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
	row, keys, token, args, shared := alloc(4*vocab), alloc(4*vocab), alloc(4), alloc(24), alloc(c.shared+4096)
	for i, of := range [][]byte{row, keys, token} { // as the kernel's parameters come
		binary.LittleEndian.PutUint64(args[8*i:], address(of))
	}
	values, r := make([]float32, vocab), rand.New(rand.NewPCG(5, 0))
	for i := range values {
		values[i] = float32(r.NormFloat64() * 4)
		binary.LittleEndian.PutUint32(row[4*i:], math.Float32bits(values[i]))
	}
	filler := stepblock.New(step)
	block := alloc(filler.Bytes())
	table := alloc(len(llvm.StepTable(launch.Kernel, 0)))
	copy(table, llvm.StepTable(launch.Kernel, address(block)))
	p := newPool(1, func(int) uintptr { return uintptr(address(shared)) })
	defer p.close()
	jobs := make([]job, 1)
	j := &jobs[0]
	j.fn, j.args, j.step, j.width, j.height, j.groups = c.functions[launch.Kernel], uintptr(address(args)), uintptr(address(table)), 1, 1, 1
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
				j.next.Store(0)
				p.run(jobs)
			}
			if want, err := choice.Pick(values, nil); err != nil || int32(binary.LittleEndian.Uint32(token)) != want {
				b.Errorf("token %d, expected %d, %v", binary.LittleEndian.Uint32(token), want, err)
			}
		})
	}
}
