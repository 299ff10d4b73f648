package models_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	msl "smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/standin"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
)

// pruning makes a copy of a checkpoint that lacks experts of some layers.
type pruning struct {
	keep    map[int][]int // the experts of a layer, ascending
	tensors map[string]safetensors.Out
}

// prune writes the copy. Tables name only experts that are left, unless they are to
// stay as they are.
func prune(t *testing.T, dir string, keep map[int][]int, tables bool) string {
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
	for layer, kept := range keep {
		for i := range m.Binding.Params {
			param := &m.Binding.Params[i]
			rest, in := strings.CutPrefix(param.Name, fmt.Sprintf("layers.%d.ffn.", layer))
			switch {
			case in && rest == "gate.tid2eid" && tables:
				p.rename(param.Views[0].Weight, param.Cols, len(kept))
			case in && rest == "gate.weight" || in && rest == "gate.bias":
				p.gather(param.Views[0], kept)
			case in && strings.HasPrefix(rest, "experts."):
				p.experts(param, kept)
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

// planes are a view's tensors.
func planes(v checkpoint.View) (all []*checkpoint.Tensor) {
	for _, x := range []*checkpoint.Tensor{v.Weight, v.Scales, v.Biases} {
		if x != nil {
			all = append(all, x)
		}
	}
	return all
}

// gather leaves the kept of the leading index of a view's tensors. Gathering what two
// parameters share twice is as once.
func (p pruning) gather(v checkpoint.View, kept []int) {
	for _, x := range planes(v) {
		size := int(x.Bytes / x.Shape[0])
		y := safetensors.Out{Name: x.Name, DType: x.DType, Shape: slices.Clone(x.Shape)}
		y.Shape[0] = int64(len(kept))
		for _, e := range kept {
			y.Data = append(y.Data, x.Data()[e*size:(e+1)*size]...)
		}
		p.tensors[x.Name] = y
	}
}

// experts leaves the kept experts of a parameter, stacked or apart.
func (p pruning) experts(param *checkpoint.Param, kept []int) {
	if !param.Place.PerIndex() {
		p.gather(param.Views[0], kept)
		return
	}
	for i, v := range param.Views {
		for k, x := range planes(v) {
			if i >= len(kept) {
				delete(p.tensors, x.Name)
				continue
			}
			from := planes(param.Views[kept[i]])[k]
			p.tensors[x.Name] = safetensors.Out{Name: x.Name, DType: from.DType, Shape: from.Shape, Data: from.Data()}
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

func openStandin(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
	if _, err := msl.Find(); err != nil {
		t.Skip(err)
	}
	d, err := standin.Open(b, ck, standin.Options{Quick: true, Poison: true, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A prunedCase is a fixture, and the experts that layers of it keep.
type prunedCase struct {
	fixture string
	k       int // experts of a token
	keep    map[int][]int
}

// prunedCases have layers of even, odd and the least number of experts: the first,
// the last, those routed by a table, in every layout of experts.
func prunedCases(t *testing.T) []prunedCase {
	const repository = "../internal/models/deepseekv4/testdata/fixtures/"
	cases := []prunedCase{
		{repository + "a-bf16", 2, map[int][]int{0: {0, 1, 3, 4}, 2: {1, 2, 4}}},
		{repository + "a-bf16", 2, map[int][]int{0: {1, 4}, 1: {0, 3, 4}, 2: {1, 2, 3, 4}}},
		{repository + "a-mlx-sanitized", 2, map[int][]int{0: {2, 3, 4}}},
		{repository + "a-mlx-4bit-stacked", 2, map[int][]int{2: {0, 4}}},
		{repository + "b-official-fp8fp4", 3, map[int][]int{0: {0, 2, 3}, 3: {1, 2, 3}}},
		{repository + "c-mlx-4bit-stacked", 3, map[int][]int{1: {0, 1, 4, 5, 7}, 3: {1, 2, 3, 6, 7}, 4: {0, 1, 2, 3, 4, 6, 7}}},
		{repository + "c-mlx-4bit-stacked", 3, map[int][]int{0: {0, 1, 4, 5}, 1: {5, 6, 7}, 2: {1, 2, 3, 6, 7}, 3: {0, 1, 2, 3, 4, 6}, 4: {0, 1, 2, 3, 4, 6, 7}}},
	}
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Log("SMELT_SHARED is unset: transformers' layout and mxfp4 experts were not pruned")
		return cases
	}
	return append(cases,
		prunedCase{filepath.Join(shared, "fixtures/a-transformers"), 2, map[int][]int{0: {0, 2, 4}, 1: {1, 2, 3, 4}}},
		prunedCase{filepath.Join(shared, "fixtures/b-mlx-mxfp4-unstacked"), 3, map[int][]int{1: {0, 1, 3}, 2: {1, 2, 3}}})
}

// TestPruned runs checkpoints whose layers keep different numbers of experts, in
// prefill and decode: every logit is the evaluator's.
func TestPruned(t *testing.T) {
	for _, d := range []struct {
		name  string
		open  devicetest.Open
		draws int
		rows  int
	}{{"cpu", openCPU, 3, 31}, {"standin", openStandin, 1, 18}} {
		if d.name == "standin" && testing.Short() {
			continue // clang takes most of the time
		}
		if testing.Short() {
			d.draws = 1
		}
		for _, x := range sample.Of(t, prunedCases(t), d.draws) {
			t.Run(fmt.Sprintf("%s/%s/%d", d.name, filepath.Base(x.fixture), len(x.keep)), func(t *testing.T) {
				dir := prune(t, x.fixture, x.keep, true)
				p := devicetest.New(t, dir, devicetest.Float32, bundle.Options{Context: 64, Chunk: 16, Wanted: 16, Slots: 2}, reopened(d.open, dir))
				tokens := devicetest.Random(0, d.rows, p.Model.VocabSize)
				logits := p.Feed(false, 0, 0, tokens)
				p.Feed(true, 1, 0, tokens[:d.rows/4])
				p.Report()
				if p.Clean() {
					checkReference(t, p.Model, tokens, logits)
				}
				b := p.Device.Bundle()
				checkShared(t, b)
				checkTouched(t, b, x.k)
				if file, err := os.Stat(filepath.Join(dir, "model.safetensors")); err != nil || b.Memory().Weights != file.Size() {
					t.Errorf("%d bytes of weights in the plan, %d in the file (%v)", b.Memory().Weights, file.Size(), err)
				}
			})
		}
	}
}

// checkReference compares logits with those of the model's own graph.
func checkReference(t *testing.T, m *models.Model, tokens []int32, logits []float32) {
	t.Helper()
	d, err := reference.New(m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	rows, wanted := make([]ir.Row, len(tokens)), make([]int, len(tokens))
	for i, tok := range tokens {
		rows[i], wanted[i] = ir.Row{Token: tok, Position: int32(i)}, i
	}
	want, err := d.Step(rows, wanted)
	if err != nil {
		t.Fatal(err)
	}
	if len(logits) != len(want) {
		t.Fatalf("%d logits, want %d", len(logits), len(want))
	}
	for i, v := range want {
		if diff := math.Abs(float64(v) - float64(logits[i])); !(diff <= devicetest.Limit) {
			t.Fatalf("logit %d of row %d is %v, the reference has %v", i%m.VocabSize, i/m.VocabSize, logits[i], v)
		}
	}
}

// experts is how many experts a parameter has, 0 for one that is of no expert.
func experts(b *bundle.Bundle, param string) int {
	if p := b.Params[param]; p != nil && strings.Contains(param, ".ffn.experts.") {
		return p.Lead
	}
	return 0
}

// checkShared: layers that share a kernel which reads experts' matrices, chooses
// among them or lists their rows have as many.
func checkShared(t *testing.T, b *bundle.Bundle) {
	t.Helper()
	ofLayer := map[int]int{}
	for name := range b.Params {
		var layer int
		if _, err := fmt.Sscanf(name, "layers.%d.ffn.experts.w2", &layer); err == nil {
			ofLayer[layer] = experts(b, fmt.Sprintf("layers.%d.ffn.experts.w2", layer))
		}
	}
	counts := map[string]map[int]bool{} // by kernel
	for _, s := range b.Plan.Steps {
		for _, d := range s.Dispatches {
			var layer int
			if _, err := fmt.Sscanf(d.Region, "layers.%d.ffn.", &layer); err != nil {
				continue
			}
			concerned := strings.HasSuffix(d.Region, ".experts") || d.Role == "group"
			for _, a := range d.Args {
				concerned = concerned || a.Weight != nil && experts(b, a.Weight.Param) > 0
			}
			if concerned {
				if counts[d.Kernel.Name] == nil {
					counts[d.Kernel.Name] = map[int]bool{}
				}
				counts[d.Kernel.Name][ofLayer[layer]] = true
			}
		}
	}
	if len(counts) < 4 {
		t.Errorf("%d kernels are about experts, want those of both steps", len(counts))
	}
	for name, of := range counts {
		if len(of) > 1 {
			t.Errorf("kernel %s is shared by layers of %v experts", name, slices.Sorted(maps.Keys(of)))
		}
	}
}

// checkTouched: prefill may read all experts that a layer has and no more, decode those
// of a token.
func checkTouched(t *testing.T, b *bundle.Bundle, k int) {
	t.Helper()
	ofToken := map[string]int64{} // bytes of the experts of one token, by parameter and role
	for _, s := range b.Plan.Steps {
		for _, d := range s.Dispatches {
			for _, a := range d.Args {
				if a.Weight == nil || a.Weight.Table || experts(b, a.Weight.Param) == 0 {
					continue
				}
				bytes, err := a.BytesAccessed.Eval(func(string) (int64, bool) { return 1, true })
				if err != nil {
					t.Fatal(err)
				}
				plane := a.Weight.Param + " " + a.Weight.Role.String()
				if s.Phase == program.Decode {
					ofToken[plane] = bytes
				} else if n := int64(experts(b, a.Weight.Param)); ofToken[plane] == 0 || bytes*int64(k) != ofToken[plane]*n {
					t.Errorf("%s: prefill reads %d bytes of %d experts, decode %d of %d", plane, bytes, n, ofToken[plane], k)
				}
			}
		}
	}
	if len(ofToken) == 0 {
		t.Error("no dispatch reads experts")
	}
}

// reopened opens a device on a bundle that was written, read and bound again.
func reopened(open devicetest.Open, dir string) devicetest.Open {
	return func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
		t.Helper()
		at := filepath.Join(t.TempDir(), "bundle")
		if _, err := b.Write(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		read, err := bundle.Read(at)
		if err != nil {
			t.Fatal(err)
		}
		m, err := models.Open(dir, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := read.Bind(bundle.Source{Name: b.Name, Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}); err != nil {
			t.Fatal(err)
		}
		return open(t, read, ck, observe)
	}
}

// TestPrunedTables: a table that names an expert its layer lacks is refused by
// layer before anything runs.
func TestPrunedTables(t *testing.T) {
	m, err := models.Open(prune(t, "../internal/models/deepseekv4/testdata/fixtures/a-bf16", map[int][]int{0: {0, 1, 2, 3}}, false), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	err = m.Checkpoint.Ready()
	for _, want := range []string{"outside the range of what they choose", "layers.0.ffn.gate.tid2eid", "layer 0: token", "expected 0 to 3", "layer 0: 4 experts, by the router weights layers.0.ffn.gate.weight"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}
