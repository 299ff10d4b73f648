package deepseekv4

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// zeros is a tensor that nothing uses.
func zeros(name string, shape ...int64) storedTensor {
	n := int64(2)
	for _, d := range shape {
		n *= d
	}
	return storedTensor{Out: safetensors.Out{Name: name, DType: safetensors.BF16, Shape: shape, Data: make([]byte, n)}}
}

// dspark gives the checkpoint three draft stages, and config.json what the release of
// July 31 says of them.
func (s *stored) dspark() {
	s.dropPrefix("mtp.")
	for stage := range 3 {
		s.add(zeros(fmt.Sprintf("mtp.%d.attn_norm.weight", stage), 128))
		s.add(zeros(fmt.Sprintf("mtp.%d.ffn.experts.4.w1.weight", stage), 128, 128))
	}
	s.add(zeros("mtp.0.main_proj.weight", 128, 384))
	s.add(zeros("mtp.2.markov_head.markov_w1.weight", 256, 16))
	s.add(zeros("mtp.2.confidence_head.proj.weight", 1, 144))
	s.config["compress_ratios"], s.config["num_nextn_predict_layers"] = []int{0, 4, 128, 0, 0, 0}, 1
	s.config["dspark_block_size"], s.config["dspark_markov_rank"], s.config["dspark_target_layer_ids"] = 5, 16, []int{0, 1, 2}
}

// wrap puts mlx-vlm's wrapper before every name.
func (s *stored) wrap() { s.rename(`^`, wrapper) }

// writeIndexed writes files of tensors, chosen by name, and an index that says where each
// is; move changes what the index says.
func (s *stored) writeIndexed(t testing.TB, file func(name string) string, move func(weightMap map[string]string)) string {
	t.Helper()
	dir := t.TempDir()
	s.writeConfig(t, dir)
	files, index := map[string][]safetensors.Out{}, map[string]string{}
	for _, x := range s.outs() {
		f := file(x.Name)
		files[f], index[x.Name] = append(files[f], x), f
	}
	move(index)
	for f, outs := range files {
		if f == "" {
			continue // stripped
		}
		if err := safetensors.Write(filepath.Join(dir, f), outs, nil); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": index})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), text, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestReleases opens what releases and conversions differ in beside names and formats:
// logits are the bits of the plain checkpoint's, and notes say what is odd.
func TestReleases(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs models")
	}
	const shard = "model-00001-of-00001.safetensors"
	flat := func(s *stored, section map[string]any) {
		section["rope_theta"] = 10000
		s.config["rope_parameters"] = section
		delete(s.config, "rope_scaling")
	}
	for _, test := range []struct {
		name   string
		make   func(t *testing.T, s *stored) string // gives the folder
		layout string
		notes  []string // parts of each, of config.json and of the binding
	}{
		{"the release of July 31", func(t *testing.T, s *stored) string { s.dspark(); return s.write(t) }, "official names",
			[]string{"3 draft stages are taken", "not used, as smelt does not draft tokens yet: dspark_block_size, dspark_markov_rank, dspark_target_layer_ids"}},
		{"two draft stages, no keys", func(t *testing.T, s *stored) string {
			s.rename(`^mtp\.0\.(.*norm.*)`, "mtp.1.$1")
			s.config["compress_ratios"] = []int{0, 4, 128, 0, 0}
			return s.writeMLX(t)
		}, "official names", []string{"2 draft stages are taken"}},
		{"draft stages in a conversion", func(t *testing.T, s *stored) string {
			s.dspark()
			s.rename(slices.Concat([]string{`^mtp\.`, "model.mtp."}, toModel, toMLXHC, toProj)...)
			return s.write(t)
		}, "MLX-converted names", []string{"3 draft stages are taken", "dspark_"}},
		{"mlx-vlm's own", func(t *testing.T, s *stored) string { s.vlm(); s.wrap(); return s.write(t) }, "MLX-converted names under language_model.", nil},
		{"mlx-vlm's own, fused, with draft stages", func(t *testing.T, s *stored) string {
			s.fuseMLX()
			s.rename(slices.Concat([]string{`^mtp\.`, "model.mtp."}, toModel, toMLXHC, toProj)...)
			s.wrap()
			return s.writeMLX(t)
		}, "MLX-converted names under language_model.", nil},
		{"official names wrapped", func(t *testing.T, s *stored) string { s.wrap(); return s.write(t) }, "official names under language_model.", nil},
		{"official names below model.", func(t *testing.T, s *stored) string { s.rename(`^`, "model."); return s.write(t) }, "MLX-converted names", nil},
		{"transformers' names wrapped", func(t *testing.T, s *stored) string {
			s.stack(".experts.gate_up_proj", "w1", "w3")
			s.stack(".experts.down_proj", "w2")
			s.transformers(newerTransformers)
			s.wrap()
			return s.write(t)
		}, "transformers' names under language_model.", nil},
		{"beside an encoder of images", func(t *testing.T, s *stored) string {
			s.vlm()
			s.wrap()
			s.add(zeros("vision.blocks.0.attn.wqkv.weight", 192, 64))
			s.add(zeros("vision.patch_embed.proj.bias", 64))
			s.add(zeros("aligner.w1.weight", 128, 64))
			s.config["vision_n_layers"], s.config["vision_dim"] = 1, 64
			return s.write(t)
		}, "MLX-converted names under language_model.", []string{"not used, as smelt does not read images yet: vision_dim, vision_n_layers"}},
		{"no metadata", func(t *testing.T, s *stored) string {
			dir := t.TempDir()
			s.writeConfig(t, dir)
			header, data := map[string]any{"__metadata__": nil}, []byte(nil)
			for _, x := range s.outs() {
				header[x.Name] = entryOf(x, int64(len(data)))
				data = append(data, x.Data...)
			}
			text, err := json.Marshal(header)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "model.safetensors"), text, data)
			return dir
		}, "official names", nil},
		{"flat rope_parameters", func(t *testing.T, s *stored) string {
			flat(s, s.config["rope_scaling"].(map[string]any))
			return s.write(t)
		}, "official names", nil},
		{"draft tensors stripped", func(t *testing.T, s *stored) string {
			return s.writeIndexed(t, func(name string) string {
				if strings.HasPrefix(name, "mtp.") {
					return ""
				}
				return shard
			}, func(index map[string]string) {
				for name := range index {
					index[name] = shard
				}
			})
		}, "official names", []string{`tensors that no file has, such as "mtp.0.attn.attn_sink" in ` + shard + "; the multi-token-prediction block is not used yet"}},
		{"the draft tensors' file left out", func(t *testing.T, s *stored) string {
			s.rename(`^mtp\.`, wrapper+"mtp.", `^(embed|head|norm|hc_head|layers)`, wrapper+"$1")
			return s.writeIndexed(t, func(name string) string {
				if strings.Contains(name, ".mtp.") {
					return ""
				}
				return shard
			}, func(index map[string]string) {
				for name, f := range index {
					if f == "" {
						index[name] = "mtp.safetensors"
					}
				}
			})
		}, "official names under language_model.", []string{"tensors that no file has, such as"}},
		{"an overlay", func(t *testing.T, s *stored) string {
			const over = "model-overlay-00001.safetensors"
			for _, name := range []string{"layers.1.attn.wo_b.weight", "layers.2.ffn.experts.1.w2.weight"} {
				x := s.tensors[name]
				s.add(storedTensor{Out: safetensors.Out{Name: "over " + name, DType: x.DType, Shape: x.Shape, Data: x.Data}})
				x.Data = make([]byte, len(x.Data)) // whoever takes it gets other logits
				s.tensors[name] = x
			}
			dir := s.writeIndexed(t, func(name string) string {
				if strings.HasPrefix(name, "over ") {
					return ""
				}
				return shard
			}, func(index map[string]string) {
				for name := range index {
					if real, ok := strings.CutPrefix(name, "over "); ok {
						index[real] = over
						delete(index, name)
					}
				}
			})
			var outs []safetensors.Out
			for _, x := range s.outs() {
				if real, ok := strings.CutPrefix(x.Name, "over "); ok {
					x.Name = real
					outs = append(outs, x)
				}
			}
			if err := safetensors.Write(filepath.Join(dir, over), outs, nil); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "official names", []string{shard + ": 2 tensors (65.5 kB) not used, superseded by the copies in model-overlay-00001.safetensors, which the index names: layers.1.attn.wo_b.weight, layers.2.ffn.experts.1.w2.weight"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := open(t, "testdata/fixtures/a-bf16")
			tokens := openGolden(t, "testdata/fixtures/a-bf16/golden.safetensors").ints(t, "p1.input_ids")
			want, _ := run[float32](t, base, tokens)
			m := open(t, test.make(t, smallCheckpoint(t)))
			if m.Binding.Layout != test.layout {
				t.Errorf("layout %q, want %q", m.Binding.Layout, test.layout)
			}
			notes := slices.Concat(m.Notes, m.Binding.Notes)
			if len(notes) != len(test.notes) {
				t.Fatalf("notes %q, want %q", notes, test.notes)
			}
			for i, part := range test.notes {
				if !strings.Contains(notes[i], part) {
					t.Errorf("note %q lacks %q", notes[i], part)
				}
			}
			if got, _ := run[float32](t, m, tokens); !slices.EqualFunc(got, want, sameBits) {
				t.Error("logits are not the bits of the plain checkpoint")
			}
		})
	}
}

// TestStrippedWeights: what the model needs is missed by name, whatever else is stripped.
func TestStrippedWeights(t *testing.T) {
	const shard = "model-00001-of-00001.safetensors"
	for _, gone := range [][]string{
		{"layers.0.attn.wq_a.weight"}, {"layers.2.ffn.gate.weight", "mtp.0.enorm.weight"}, {"embed.weight"}, {"layers.1.ffn.experts.3.w2.weight"},
		{"hc_head_fn", "mtp.0.norm.weight", "mtp.0.hnorm.weight"},
	} {
		s := smallCheckpoint(t)
		dir := s.writeIndexed(t, func(name string) string {
			if slices.Contains(gone, name) {
				return ""
			}
			return shard
		}, func(index map[string]string) {
			for name := range index {
				index[name] = shard
			}
		})
		_, err := openModel(dir)
		want := "1 tensor in the index but not in the shard it names; the files are of different versions: download the index and the shards named here again\n  \"" + gone[0] + `" in ` + shard
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "problems") {
			t.Errorf("without %q: %v, want %q alone", gone, err, want)
		}
	}
}

// TestScaleTypes: every type of scales, wherever blocks of scales occur, means the
// numbers it stores: logits are the bits of the same numbers stored as they are.
func TestScaleTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs models")
	}
	experts := func(e, rest encoding.Encoding) func(string) encoding.Encoding {
		return func(official string) encoding.Encoding {
			if strings.Contains(official, ".ffn.experts.") {
				return e
			}
			return linear(rest)(official)
		}
	}
	none := func(*stored) {}
	for _, test := range []struct {
		name   string
		layout func(s *stored)
		choose func(string) encoding.Encoding
		names  []string // renamed once there are scales
	}{
		{"V4-Flash-Base: all FP8 with F32", none, linear(encoding.FP8Block{Scale: encoding.F32}), nil},
		{"all FP8 with BF16", none, linear(encoding.FP8Block{Scale: encoding.BF16}), nil},
		{"all FP8 with E8M0", none, linear(encoding.FP8Block{}), nil},
		{"FP4 experts with F32, FP8 with BF16", none, experts(encoding.FP4{Scale: encoding.F32}, encoding.FP8Block{Scale: encoding.BF16}), nil},
		{"FP4 experts with BF16, FP8 with E8M0", none, experts(encoding.FP4{Scale: encoding.BF16}, encoding.FP8Block{}), nil},
		{"FP8 experts with F32, FP8 with E8M0", none, experts(encoding.FP8Block{Scale: encoding.F32}, encoding.FP8Block{}), nil},
		{"experts stacked, FP8 with F32", func(s *stored) { s.dropPrefix("mtp."); s.stackOfficial() }, linear(encoding.FP8Block{Scale: encoding.F32}), nil},
		{"fused under MLX's names, FP8 with BF16", func(s *stored) { s.fuseMLX(); s.mlx() }, linear(encoding.FP8Block{Scale: encoding.BF16}), nil},
		{"wo_a in pieces, FP4 with F32", func(s *stored) { s.dropPrefix("mtp."); s.splitWoA(2) }, linear(encoding.FP4{Scale: encoding.F32}), nil},
		{"gate over up, FP8 with F32", func(s *stored) {
			s.stack(".experts.gate_up_proj.weight", "w1", "w3")
			s.stack(".experts.down_proj.weight", "w2")
			s.transformers(newerTransformers)
		}, linear(encoding.FP8Block{Scale: encoding.F32}), nil},
		{"named as DeepSeek-V3 names them", none, linear(encoding.FP8Block{Scale: encoding.F32}), []string{`\.scale$`, ".weight_scale_inv"}},
		{"named as V3 names them, wrapped", none, linear(encoding.FP8Block{}), []string{`\.scale$`, ".weight_scale_inv", `^`, wrapper}},
		{"named as V3 names them, fused", func(s *stored) { s.fuseMLX(); s.mlx() }, linear(encoding.FP8Block{Scale: encoding.F32}), []string{`(\.w\w*|_proj)\.scale$`, "$1.weight_scale_inv"}},
		{"named as Quark names them", none, experts(encoding.FP4{}, encoding.FP8Block{Scale: encoding.BF16}), []string{`\.scale$`, ".weight_scale"}},
		{"named as transformers names them", func(s *stored) { s.transformers(newerTransformers) }, linear(encoding.FP8Block{Scale: encoding.F32}), []string{`_proj\.scale$`, "_proj.weight_scale_inv"}},
		{"named as transformers names them, stacked", func(s *stored) {
			s.stack(".experts.gate_up_proj.weight", "w1", "w3")
			s.stack(".experts.down_proj.weight", "w2")
			s.transformers(newerTransformers)
		}, linear(encoding.FP8Block{Scale: encoding.BF16}), []string{`(experts\.\w+_proj)\.weight$`, "$1", `(experts\.\w+_proj)\.scale$`, "${1}_scale_inv", `_proj\.scale$`, "_proj.weight_scale_inv"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tokens := openGolden(t, "testdata/fixtures/a-bf16/golden.safetensors").ints(t, "p1.input_ids")
			s := smallCheckpoint(t)
			test.layout(s)
			s.encode(t, test.choose)
			s.rename(test.names...)
			s.config["quantization_config"] = map[string]any{"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": []int{128, 128}}
			m := open(t, s.writeMLX(t))
			s.checkRows(t, m)
			if len(m.Notes)+len(m.Binding.Notes) > 0 {
				t.Errorf("notes %q, %q", m.Notes, m.Binding.Notes)
			}
			got, _ := run[float32](t, m, tokens)

			plain := smallCheckpoint(t)
			test.layout(plain)
			plain.store(s.want)
			want, _ := run[float32](t, open(t, plain.write(t)), tokens)
			if !slices.EqualFunc(got, want, sameBits) {
				t.Error("logits are not the bits of the same numbers in F32")
			}
		})
	}
}

// store replaces the numbers of tensors by others, as F32.
func (s *stored) store(numbers map[string][]float32) {
	for _, name := range s.names() {
		x := s.tensors[name]
		if len(x.of) == 0 || encoding.IsInteger(encoding.DType(x.DType)) {
			continue
		}
		x.DType, x.Data = safetensors.F32, nil
		for _, of := range x.of {
			for _, v := range numbers[of] {
				x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(v))
			}
		}
		s.tensors[name] = x
	}
}

// TestWrappedQuantization: entries of quantization are compared with the tensors whether
// or not they have the wrapper that the tensors have.
func TestWrappedQuantization(t *testing.T) {
	affine := encoding.Affine{Bits: 4, Group: 64, Scale: encoding.BF16}
	module := map[string]any{"bits": 4, "group_size": 64, "mode": "affine"}
	const wqA = "model.layers.1.attn.wq_a"
	for name, test := range map[string]struct {
		wrapped bool // the tensors
		modules map[string]any
		note    string
		err     string
	}{
		"as mlx-vlm writes them":    {true, map[string]any{wrapper + wqA: module, wrapper + "model.norm": false}, "", ""},
		"without the wrapper":       {true, map[string]any{wqA: module, "lm_head": module}, "", ""},
		"with one too many":         {false, map[string]any{wrapper + wqA: module, wrapper + "lm_head": module}, "", ""},
		"contradicting":             {true, map[string]any{wrapper + wqA: map[string]any{"mode": "mxfp8"}}, "", "language_model." + wqA + ": config.json says mxfp8 8 bits, groups of 32, stored is affine4_g64_bf16"},
		"contradicting, unwrapped":  {true, map[string]any{wqA: false}, "", "\n  " + wqA + ": config.json says not quantised, stored is affine4_g64_bf16"},
		"of what the model has not": {true, map[string]any{wrapper + "model.layers.9.attn.wq_a": module, wrapper + wqA: module}, "config.json describes the format of language_model.model.layers.9.attn.wq_a, which the model does not use", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := smallCheckpoint(t)
			s.vlm()
			s.encode(t, linear(affine))
			if test.wrapped {
				s.wrap()
			}
			s.declareMLX(affine, test.modules)
			m, err := openModel(s.writeMLX(t))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			s.checkRows(t, m)
			if notes := strings.Join(m.Binding.Notes, "\n"); notes != test.note {
				t.Errorf("notes %q, want %q", notes, test.note)
			}
		})
	}
}
