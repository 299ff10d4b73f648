package models_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
)

// pruning makes a copy of a checkpoint that lacks the last experts of some layers.
type pruning struct {
	keep    map[int]int // experts by layer
	tensors map[string]safetensors.Out
}

// prune writes the copy. Tables name only experts that are left, unless they are to
// stay as they are.
func prune(t *testing.T, dir string, keep map[int]int, tables bool) string {
	t.Helper()
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p := pruning{keep: keep, tensors: map[string]safetensors.Out{}}
	for _, x := range m.Checkpoint.Tensors() {
		p.tensors[x.Name] = safetensors.Out{Name: x.Name, DType: x.DType, Shape: x.Shape, Data: x.Data()}
	}
	for layer, n := range keep {
		for i := range m.Binding.Params {
			param := &m.Binding.Params[i]
			rest, in := strings.CutPrefix(param.Name, fmt.Sprintf("layers.%d.ffn.", layer))
			switch {
			case in && rest == "gate.tid2eid" && tables:
				p.rename(param.Views[0].Weight, param.Cols, n)
			case in && (rest == "gate.weight" || rest == "gate.bias" || strings.HasPrefix(rest, "experts.")):
				p.cut(param, n)
			}
		}
	}
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "config.json"), m.Checkpoint.ConfigJSON(), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(filepath.Join(out, "model.safetensors"), slices.Collect(maps.Values(p.tensors)), nil); err != nil {
		t.Fatal(err)
	}
	return out
}

// cut leaves the first n of a parameter's leading index.
func (p pruning) cut(param *checkpoint.Param, n int) {
	for i, v := range param.Views {
		for _, x := range []*checkpoint.Tensor{v.Weight, v.Scales, v.Biases} {
			switch {
			case x == nil:
			case len(param.Views) == 1:
				shape := slices.Clone(x.Shape)
				shape[0] = int64(n)
				p.tensors[x.Name] = safetensors.Out{Name: x.Name, DType: x.DType, Shape: shape, Data: x.Data()[:x.Bytes/x.Shape[0]*int64(n)]}
			case i >= n:
				delete(p.tensors, x.Name)
			}
		}
	}
}

// rename has a table of k experts a token name n experts only, each once.
func (p pruning) rename(x *checkpoint.Tensor, k, n int) {
	data := slices.Clone(x.Data())
	size, _ := x.DType.Size()
	for i := range len(data) / size {
		first := i / k * 7 // of the token
		clear(data[i*size : (i+1)*size])
		binary.LittleEndian.PutUint16(data[i*size:], uint16((first+i%k)%n))
	}
	p.tensors[x.Name] = safetensors.Out{Name: x.Name, DType: x.DType, Shape: x.Shape, Data: data}
}

func openCPU(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
	l, err := jit.Open("")
	if err != nil {
		t.Skip(err)
	}
	d, err := cpu.Open(b, ck, cpu.Options{LLVM: l, Cache: jit.UserCache(), Poison: true, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPruned runs checkpoints whose layers keep different numbers of experts, of
// those routed by a table too, in prefill and decode: every logit is the evaluator's.
func TestPruned(t *testing.T) {
	for _, x := range []struct {
		fixture string
		keep    map[int]int
		note    string
		line    arch.Line
	}{
		{"a-bf16", map[int]int{0: 4, 2: 3}, "5 in layer 1; 4 in layer 0; 3 in layer 2; n_routed_experts is 5", arch.Line{Label: "experts", Text: "3 to 5 routed, 2 used per token, 1 shared; width 128"}},
		{"c-mlx-4bit-stacked", map[int]int{1: 5, 3: 5, 4: 7}, "8 in layers 0, 2; 7 in layer 4; 5 in layers 1, 3", arch.Line{Label: "experts", Text: "5 to 8 routed, 3 used per token, 1 shared; width 64"}},
	} {
		t.Run(x.fixture, func(t *testing.T) {
			dir := prune(t, "../internal/models/deepseekv4/testdata/fixtures/"+x.fixture, x.keep, true)
			p := devicetest.New(t, dir, devicetest.Float32, bundle.Options{Context: 64, Chunk: 16, Wanted: 16, Slots: 2}, openCPU)
			if !strings.Contains(strings.Join(p.Model.Notes, "\n"), x.note) {
				t.Errorf("the notes %q lack %q", p.Model.Notes, x.note)
			}
			if !slices.Contains(p.Model.Lines, x.line) {
				t.Errorf("%q lacks %q", p.Model.Lines, x.line)
			}
			tokens := devicetest.Random(0, 31, p.Model.VocabSize)
			p.Feed(false, 0, 0, tokens)
			p.Feed(true, 1, 0, tokens[:9])
			p.Report()
			checkShared(t, p.Device.Bundle(), x.keep)
		})
	}
}

// checkShared: layers that have the kernel that chooses experts in common have as
// many. Kernels whose text does not depend on the number may be shared.
func checkShared(t *testing.T, b *bundle.Bundle, keep map[int]int) {
	t.Helper()
	counts := map[string]map[int]bool{} // by kernel; 0 for layers that keep all
	routers := 0
	for _, s := range b.Plan.Steps {
		for _, d := range s.Dispatches {
			var layer int
			if _, err := fmt.Sscanf(d.Region, "layers.%d.ffn.experts", &layer); err != nil || d.Role != "route" {
				continue
			}
			if counts[d.Kernel.Name] == nil {
				counts[d.Kernel.Name] = map[int]bool{}
			}
			counts[d.Kernel.Name][keep[layer]] = true
			routers++
		}
	}
	if routers == 0 {
		t.Error("no kernel chooses experts")
	}
	for name, of := range counts {
		if len(of) > 1 {
			t.Errorf("kernel %s is shared by layers with %d different numbers of experts", name, len(of))
		}
	}
}

// TestPrunedTables: a table that names an expert its layer lacks is refused by
// layer before anything runs.
func TestPrunedTables(t *testing.T) {
	m, err := models.Open(prune(t, "../internal/models/deepseekv4/testdata/fixtures/a-bf16", map[int]int{0: 4}, false), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	err = m.Checkpoint.Ready()
	for _, want := range []string{"outside the range of what they choose", "layers.0.ffn.gate.tid2eid", "layer 0: token", "expected 0 to 3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}
