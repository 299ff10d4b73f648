package deepseekv4

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/sample"
)

// A pruning says which experts some layers keep, ascending.
type pruning map[int][]int

// kept is a layer's experts.
func (p pruning) kept(layer int) []int {
	if k, ok := p[layer]; ok {
		return k
	}
	return []int{0, 1, 2, 3, 4} // of config a
}

// prune leaves a checkpoint under official names the experts of p, numbered anew.
func (s *stored) prune(t testing.TB, p pruning) {
	t.Helper()
	for layer, kept := range p {
		ffn := fmt.Sprintf("layers.%d.ffn.", layer)
		for _, name := range s.names() {
			switch rest, _ := strings.CutPrefix(name, ffn); rest {
			case "gate.weight", "gate.bias":
				s.change(t, name, func(x *storedTensor) { gather(x, kept) })
			case "gate.tid2eid":
				s.retable(t, name, kept, true)
			}
		}
		for _, w := range []string{"w1", "w2", "w3"} {
			experts := map[int]storedTensor{}
			for e := range 5 {
				name := fmt.Sprintf("%sexperts.%d.%s.weight", ffn, e, w)
				experts[e] = s.tensors[name]
				s.drop(name)
			}
			for e, old := range kept {
				x := experts[old]
				x.Name = fmt.Sprintf("%sexperts.%d.%s.weight", ffn, e, w)
				s.add(x)
			}
		}
	}
}

// gather leaves rows of a tensor.
func gather(x *storedTensor, rows []int) {
	size := len(x.Data) / int(x.Shape[0])
	var data []byte
	for _, r := range rows {
		data = append(data, x.Data[r*size:(r+1)*size]...)
	}
	x.Data, x.Shape = data, slices.Clone(x.Shape)
	x.Shape[0] = int64(len(rows))
}

// retable has a table name kept experts only, by their new numbers or the old ones.
// Which one stands for an expert that is gone does not matter.
func (s *stored) retable(t testing.TB, name string, kept []int, anew bool) {
	t.Helper()
	s.change(t, name, func(x *storedTensor) {
		data := slices.Clone(x.Data)
		for i := 0; i < len(data); i += 8 {
			old := int(binary.LittleEndian.Uint64(data[i:]))
			e := slices.Index(kept, old)
			if e < 0 {
				e = (old + i/16) % len(kept)
			}
			if !anew {
				e = kept[e]
			}
			binary.LittleEndian.PutUint64(data[i:], uint64(e))
		}
		x.Data = data
	})
}

// mask keeps all experts and has the others never chosen.
func (s *stored) mask(t testing.TB, p pruning) {
	t.Helper()
	for layer, kept := range p {
		gate := fmt.Sprintf("layers.%d.ffn.gate.", layer)
		if s.tensors[gate+"tid2eid"].Name != "" {
			s.retable(t, gate+"tid2eid", kept, false)
			continue
		}
		s.change(t, gate+"bias", func(x *storedTensor) {
			x.Data = slices.Clone(x.Data)
			for e := range len(x.Data) / 4 {
				if !slices.Contains(kept, e) {
					binary.LittleEndian.PutUint32(x.Data[4*e:], math.Float32bits(float32(math.Inf(-1))))
				}
			}
		})
	}
}

// TestPruned: a pruned checkpoint gives, in every layout, the bits of the whole one
// whose other experts are never chosen, whatever number config.json gives.
func TestPruned(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs models")
	}
	const key = "n_routed_experts"
	set := func(pairs ...any) func(s *stored) {
		return func(s *stored) {
			for i := 0; i < len(pairs); i += 2 {
				s.config[pairs[i].(string)] = pairs[i+1]
			}
		}
	}
	prunings := []struct {
		name   string
		keep   pruning
		config func(s *stored)
		note   string
		line   string
	}{
		{"hash layer", pruning{0: {0, 2, 3, 4}}, set(), "5 in layers 1 to 2; 4 in layer 0; n_routed_experts is 5", "4 to 5 routed"},
		{"last layer", pruning{2: {1, 2, 4}}, set(), "5 in layers 0 to 1; 3 in layer 2; n_routed_experts is 5", "3 to 5 routed"},
		{"each its own, as many as a token uses", pruning{0: {1, 4}, 1: {0, 1, 3, 4}, 2: {2, 3, 4}}, set(), "4 in layer 1; 3 in layer 2; 2 in layer 0; n_routed_experts is 5", "2 to 4 routed"},
		{"the largest", pruning{0: {1, 4}, 1: {0, 1, 3, 4}, 2: {2, 3, 4}}, set(key, 4), "4 in layer 1; 3 in layer 2; 2 in layer 0; n_routed_experts is 4", "2 to 4 routed"},
		{"all alike, config.json as before", pruning{0: {0, 2, 4}, 1: {1, 2, 3}, 2: {0, 3, 4}}, set(), "3 in layers 0 to 2; n_routed_experts is 5", "3 routed"},
		{"all alike, config.json too", pruning{0: {0, 2, 4}, 1: {1, 2, 3}, 2: {0, 3, 4}}, set(key, 3), "", "3 routed"},
		{"hash layer left whole", pruning{1: {1, 2, 3}, 2: {0, 3, 4}}, set(key, 3), "5 in layer 0; 3 in layers 1 to 2; n_routed_experts is 3", "3 to 5 routed"},
		{"hash layer left whole, with a record", pruning{1: {1, 2, 3}, 2: {0, 3, 4}},
			set(key, 3, recordKey, map[string]any{"tool": "reap", "keep": 3, expertsKey: []int{5, 3, 3}, "layers": []any{map[string]any{"index": 0}}}), "5 in layer 0", "3 to 5 routed"},
		{"a list, with the MTP block", pruning{1: {0, 1}}, set(expertsKey, []int{5, 2, 5, 5}), "2 in layer 1", "2 to 5 routed"},
		{"a list far from n_routed_experts", pruning{1: {0, 1}, 0: {1, 2, 3, 4}}, set(key, 3, expertsKey, []int{4, 2, 5}), "n_routed_experts is 3", "2 to 5 routed"},
		{"counts by layer", pruning{1: {0, 1, 4}, 2: {0, 3}}, set(expertsKey, map[string]any{"1": 3, "2": 2, "3": 4}), "3 in layer 1; 2 in layer 2", "2 to 5 routed"},
	}
	layouts := []struct {
		name string
		make func(t *testing.T, s *stored)
	}{
		{"official", func(*testing.T, *stored) {}},
		{"official, stacked", func(_ *testing.T, s *stored) { s.stackOfficial() }},
		{"MLX, fused and stacked", func(_ *testing.T, s *stored) { s.fuseMLX(); s.stackMLX(); s.mlx() }},
		{"MLX, one tensor per expert", func(_ *testing.T, s *stored) { s.mlx() }},
		{"mlx-vlm", func(_ *testing.T, s *stored) { s.vlm() }},
		{"mlx-vlm's own, wrapped", func(_ *testing.T, s *stored) { s.vlm(); s.rename(`^`, wrapper) }},
		{"official, stacked and wrapped", func(_ *testing.T, s *stored) { s.dropPrefix("mtp."); s.stackOfficial(); s.rename(`^`, wrapper) }},
		{"transformers", func(_ *testing.T, s *stored) {
			s.stack(".experts.gate_up_proj", "w1", "w3")
			s.stack(".experts.down_proj", "w2")
			s.transformers(newerTransformers)
		}},
		{"older transformers", func(_ *testing.T, s *stored) { s.transformers(olderTransformers) }},
	}
	golden := openGolden(t, "testdata/fixtures/a-bf16/golden.safetensors")
	tokens := golden.ints(t, "p1.input_ids")
	for _, p := range prunings {
		t.Run(p.name, func(t *testing.T) {
			whole := smallCheckpoint(t)
			whole.mask(t, p.keep)
			want, _ := run[float32](t, open(t, whole.write(t)), tokens)
			for _, l := range sample.Of(t, layouts, 3) {
				s := smallCheckpoint(t)
				s.prune(t, p.keep)
				p.config(s)
				l.make(t, s)
				m := open(t, s.write(t))
				if got, _ := run[float32](t, m, tokens); !slices.EqualFunc(got, want, sameBits) {
					t.Errorf("%s: logits are not those of the whole checkpoint without the other experts", l.name)
				}
				if notes := strings.Join(m.Notes, "\n"); !strings.Contains(notes, p.note) || p.note == "" && strings.Contains(notes, "expert") {
					t.Errorf("%s: the notes %q, want %q", l.name, notes, p.note)
				}
				if !slices.ContainsFunc(m.Lines, func(l arch.Line) bool { return strings.HasPrefix(l.Text, p.line) }) {
					t.Errorf("%s: %q lacks %q", l.name, m.Lines, p.line)
				}
				for _, unknown := range m.Unknown {
					t.Errorf("%s: key %s is unknown", l.name, unknown)
				}
				for layer := range 3 {
					if w := m.Graph.Param(fmt.Sprintf("layers.%d.ffn.experts.w2", layer)); w == nil || w.Type.Shape[0].String() != fmt.Sprint(len(p.keep.kept(layer))) {
						t.Errorf("%s: layer %d has %v, want %d experts", l.name, layer, w, len(p.keep.kept(layer)))
					}
				}
			}
		})
	}
}

// TestPrunedFormats: as TestPruned, with weights in the formats that have scales; a
// quantised router counts by its rows too.
func TestPrunedFormats(t *testing.T) {
	affine := encoding.Affine{Bits: 4, Group: 64, Scale: encoding.BF16}
	tokens := openGolden(t, "testdata/fixtures/a-bf16/golden.safetensors").ints(t, "p0.input_ids")
	for _, x := range []struct {
		name string
		make func(t *testing.T, s *stored)
	}{
		{"FP8 and FP4, one tensor per expert", officialBase},
		{"affine, stacked, the router too", func(t *testing.T, s *stored) {
			s.fuseMLX()
			s.stackMLX()
			s.mlx()
			s.encode(t, func(official string) encoding.Encoding {
				if strings.HasSuffix(official, ".ffn.gate.weight") {
					return encoding.Affine{Bits: 8, Group: 64, Scale: encoding.BF16}
				}
				return linear(affine)(official)
			})
		}},
		{"mxfp4, one tensor per expert", func(t *testing.T, s *stored) { s.mlx(); s.encode(t, linear(encoding.MX{Bits: 4})) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			keep := pruning{0: {0, 2, 3, 4}, 1: {0, 4}, 2: {1, 2, 4}}
			whole := smallCheckpoint(t)
			whole.mask(t, keep)
			x.make(t, whole)
			want, _ := run[float32](t, open(t, whole.write(t)), tokens)
			s := smallCheckpoint(t)
			s.prune(t, keep)
			x.make(t, s)
			if got, _ := run[float32](t, open(t, s.writeMLX(t)), tokens); !slices.EqualFunc(got, want, sameBits) {
				t.Error("logits are not those of the whole checkpoint without the other experts")
			}
		})
	}
}

// TestManyCounts: a note stays one line, however many layers there are.
func TestManyCounts(t *testing.T) {
	n := expertCounter{cfg: &Config{Experts: 256}}
	for l := range 40 {
		n.counts = append(n.counts, 100+3*l)
	}
	if got, want := n.note(), "routed experts by the router weights: 100 to 217; n_routed_experts is 256"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPrunedRefused: what a tool that prunes can get wrong is refused by layer.
func TestPrunedRefused(t *testing.T) {
	const file = "(model.safetensors)"
	whole := func(t *testing.T, s *stored) {}
	mlx := func(t *testing.T, s *stored) { s.fuseMLX(); s.stackMLX(); s.mlx() }
	renumber := func(layer int, from, to int) func(t *testing.T, s *stored) {
		return func(t *testing.T, s *stored) {
			s.rename(fmt.Sprintf(`^(layers\.%d\.ffn\.experts)\.%d\.`, layer, from), fmt.Sprintf("$1.%d.", to))
		}
	}
	bias := func(name string, n int64) func(t *testing.T, s *stored) {
		return func(t *testing.T, s *stored) { s.reshape(t, name, "F32", n) }
	}
	config := func(pairs ...any) func(t *testing.T, s *stored) {
		return func(t *testing.T, s *stored) {
			for i := 0; i < len(pairs); i += 2 {
				s.config[pairs[i].(string)] = pairs[i+1]
			}
		}
	}
	const gate1 = "the router weights layers.1.ffn.gate.weight BF16["
	for _, x := range []struct {
		name string
		keep pruning
		make func(t *testing.T, s *stored)
		want []string
	}{
		{"fewer than a token uses", pruning{1: {3}}, whole, []string{"1 layer with fewer experts than a token uses; too many experts were pruned", "layer 1: " + gate1 + "1 128] " + file + " have 1 row, expected num_experts_per_tok (2) or more"}},
		{"fewer than a token uses, stacked", pruning{1: {3}, 2: {0}}, mlx, []string{"2 layers with fewer experts", "layer 1: ", "layer 2: "}},
		{"the old numbers", pruning{1: {0, 1, 3, 4}}, func(t *testing.T, s *stored) { renumber(1, 3, 4)(t, s); renumber(1, 2, 3)(t, s) },
			[]string{"2 problems", "3 parameters whose tensors are numbered with gaps; number them from 0 on", "layer 1: of layers.1.ffn.experts.{n}.w1 there are 0 to 1, 3 to 4, expected 0 to 3; number 2 is missing", "of layers.1.ffn.experts.{n}.w3", "layer 1: 4 experts, by " + gate1 + "4 128] " + file + "; n_routed_experts is 5"}},
		{"the old numbers, none of them wanted", pruning{0: {3, 4}}, func(t *testing.T, s *stored) { renumber(0, 1, 4)(t, s); renumber(0, 0, 3)(t, s) },
			[]string{"3 parameters whose tensors are numbered with gaps", "layer 0: of layers.0.ffn.experts.{n}.w2 there are 3 to 4, expected 0 to 1; numbers 0 to 1 are missing"}},
		{"the old numbers, transformers", pruning{2: {0, 2, 3}}, func(t *testing.T, s *stored) {
			renumber(2, 2, 3)(t, s)
			renumber(2, 1, 2)(t, s)
			s.transformers(olderTransformers)
		}, []string{"3 parameters whose tensors are numbered with gaps", "layer 2: of model.layers.2.mlp.experts.{n}.down_proj there are 0, 2 to 3, expected 0 to 2; number 1 is missing"}},
		{"one in the middle missing", pruning{2: {0, 1, 2, 4}}, func(t *testing.T, s *stored) {
			for _, w := range []string{"w1", "w2", "w3"} {
				s.drop("layers.2.ffn.experts.2." + w + ".weight")
			}
		}, []string{"3 parameters of the model not found", "layers.2.ffn.experts.w1[2] [128 128]: looked for layers.2.ffn.experts.2.w1.weight", "1 size taken from the tensors", "layer 2: 4 experts, by"}},
		{"one too many", pruning{1: {0, 1, 3, 4}}, func(t *testing.T, s *stored) { s.extra("layers.1.ffn.experts.4.w1.weight", "BF16", 128, 128) },
			[]string{"1 tensor used by no parameter", "layers.1.ffn.experts.4.w1.weight BF16[128 128]", "layer 1: 4 experts, by"}},
		{"bias as before", pruning{1: {0, 1, 3, 4}}, bias("layers.1.ffn.gate.bias", 5), []string{"layers.1.ffn.gate.bias F32[5] " + file, "K = 4 columns, found weight F32 [1, 5]", "layer 1: 4 experts, by"}},
		{"bias too short", pruning{1: {0, 1, 3, 4}}, bias("layers.1.ffn.gate.bias", 3), []string{"layers.1.ffn.gate.bias F32[3] " + file, "K = 4 columns, found weight F32 [1, 3]"}},
		{"router as before", pruning{1: {0, 1, 3, 4}}, func(t *testing.T, s *stored) { s.reshape(t, "layers.1.ffn.gate.weight", "BF16", 5, 128) }, []string{"layers.1.ffn.experts.w1[4] [128 128]: looked for layers.1.ffn.experts.4.w1.weight"}},
		{"stacks of other numbers", pruning{1: {0, 1, 3, 4}}, func(t *testing.T, s *stored) {
			mlx(t, s)
			s.reshape(t, "model.layers.1.ffn.switch_mlp.up_proj.weight", "BF16", 3, 128, 128)
		}, []string{"1 tensor stored", "model.layers.1.ffn.switch_mlp.up_proj.weight BF16[3 128 128]", "expected [4 128] before the last dimension", "layer 1: 4 experts, by"}},
		{"a list that contradicts", pruning{1: {0, 1, 3, 4}}, config(expertsKey, []int{5, 3, 5}), []string{"1 layer with another number of experts than n_routed_experts_per_layer of config.json says", "layer 1: " + gate1 + "4 128] " + file + " have 4 rows, expected 3"}},
		{"a record that contradicts", pruning{1: {0, 1, 3, 4}}, config(recordKey, map[string]any{expertsKey: []int{5, 5, 5}}), []string{"layer 1: " + gate1 + "4 128] " + file + " have 4 rows, expected 5"}},
		{"more than config.json says, of no layer", pruning{1: {0, 1, 3, 4}, 0: {0, 1, 2}}, config("n_routed_experts", 2), []string{"3 layers with more experts than config.json says", "layer 2: the router weights layers.2.ffn.gate.weight BF16[5 128]", "5 rows, expected n_routed_experts (2) or fewer"}},
		{"a short list", nil, config(expertsKey, []int{5, 5}), []string{expertsKey, "2 entries", "num_hidden_layers, which is 3, or more for MTP blocks"}},
		{"a list with too few", nil, config(expertsKey, []int{5, 1, 5}), []string{expertsKey + "[1]", "num_experts_per_tok, which is 2, or more"}},
		{"a list of words", nil, config(expertsKey, []any{5, "five", 5}), []string{expertsKey + "[1]", "a whole number from 1"}},
		{"counts by name", nil, config(expertsKey, map[string]any{"first": 4}), []string{expertsKey + ".first", "the number of a layer"}},
		{"two lists", nil, config(expertsKey, []int{5, 5, 5}, recordKey, map[string]any{expertsKey: []int{5, 4, 5}}), []string{recordKey + "." + expertsKey, "4 for layer 1", "5, as n_routed_experts_per_layer has it"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := smallCheckpoint(t)
			s.prune(t, x.keep)
			x.make(t, s)
			wantError(t, s.writeEmpty(t), x.want...)
		})
	}
}
