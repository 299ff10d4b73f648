package deepseekv4

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/sample"
)

// Renames from official names, in order, to the other layouts.
var (
	toModel = []string{`^embed\.`, "model.embed_tokens.", `^head\.`, "lm_head.", `^norm\.`, "model.norm.",
		`^layers\.`, "model.layers.", `\.gate\.bias$`, ".gate.e_score_correction_bias"}
	toMLXHC = []string{`^hc_head_(fn|base|scale)$`, "model.hc_head.$1", `\.hc_(attn|ffn)_(fn|base|scale)$`, ".hc_$1.$2"}
	toVLMHC = []string{`^hc_head_(fn|base|scale)$`, "model.hc_head.$1", `\.hc_(attn|ffn)_(fn|base|scale)$`, ".${1}_hc.$2"}
	toProj  = []string{`(experts\.\d+|shared_experts)\.w1\.`, "$1.gate_proj.", `(experts\.\d+|shared_experts)\.w2\.`, "$1.down_proj.", `(experts\.\d+|shared_experts)\.w3\.`, "$1.up_proj."}

	toTransformers = []string{`^hc_head_(fn|base|scale)$`, "model.hc_head.hc_$1", `\.hc_(attn|ffn)_(fn|base|scale)$`, ".${1}_hc.$2",
		`\.attn_norm\.`, ".input_layernorm.", `\.ffn_norm\.`, ".post_attention_layernorm.", `\.attn\.`, ".self_attn.", `\.ffn\.`, ".mlp.",
		`attn_sink$`, "sinks", `(compressor)\.norm\.`, "$1.kv_norm.", `(compressor)\.ape$`, "$1.position_bias", `\.wq_a\.`, ".q_a_proj.",
		`\.wq_b\.`, ".q_b_proj.", `\.wkv\.`, ".kv_proj.", `\.wgate\.`, ".gate_proj.", `\.wo_a\.`, ".o_a_proj.", `\.wo_b\.`, ".o_b_proj."}
	newerTransformers = []string{`\.self_attn\.q_norm\.`, ".self_attn.q_a_norm.", `indexer\.compressor\.`, "indexer.", `\.indexer\.weights_proj`, ".indexer.scorer.weights_proj",
		`self_attn\.indexer\.`, "self_attn.compressor.indexer."}
	olderTransformers = []string{`indexer\.compressor\.`, "indexer."}
)

// stackMLX stacks the experts under MLX's names; run before toProj.
func (s *stored) stackMLX() {
	s.stack(".switch_mlp.gate_proj.weight", "w1")
	s.stack(".switch_mlp.down_proj.weight", "w2")
	s.stack(".switch_mlp.up_proj.weight", "w3")
}

func (s *stored) stackOfficial() {
	for _, w := range []string{"w1", "w2", "w3"} {
		s.stack(".experts."+w+".weight", w)
	}
}

func (s *stored) fuseMLX() {
	s.fuse(".attn.wq_a.weight", ".attn.wkv.weight", ".attn.wqkv_a.weight")
	s.fuse("compressor.wkv.weight", "compressor.wgate.weight", "compressor.wkv_gate.weight")
}

// mlx renames what stackMLX and fuseMLX left.
func (s *stored) mlx() {
	s.dropPrefix("mtp.")
	s.rename(slices.Concat(toModel, toMLXHC, toProj)...)
}

func (s *stored) vlm() {
	s.dropPrefix("mtp.")
	s.stackMLX()
	s.cubeWoA(2)
	s.rename(slices.Concat(toModel, toVLMHC, toProj)...)
}

func (s *stored) transformers(more []string) {
	s.dropPrefix("mtp.")
	s.rename(slices.Concat(toModel, toTransformers, more, toProj)...)
}

// asType stores all plain numbers in another plain type that holds them exactly.
func asType(dt encoding.DType) func(string) encoding.Encoding {
	return func(string) encoding.Encoding { return encoding.Plain{DType: dt} }
}

// TestLossless: the same values under other names, in other shapes and types
// are the same parameters, and the logits are equal bit for bit.
func TestLossless(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs models")
	}
	const official, mlx, hf = "official names", "MLX-converted names", "transformers' names"
	tests := []struct {
		name   string
		layout string
		form   string // one that must be reported, if any
		make   func(t *testing.T, s *stored)
	}{
		{"official in one file", official, "one tensor per expert", func(t *testing.T, s *stored) {}},
		{"official without mtp", official, "", func(t *testing.T, s *stored) { s.dropPrefix("mtp.") }},
		{"official, experts stacked", official, "experts stacked", func(t *testing.T, s *stored) { s.dropPrefix("mtp."); s.stackOfficial() }},
		{"official, wo_a in pieces", official, "wo_a in pieces", func(t *testing.T, s *stored) { s.dropPrefix("mtp."); s.splitWoA(2) }},
		{"official, wo_a with three dimensions", official, "", func(t *testing.T, s *stored) { s.cubeWoA(2) }},
		{"official, attn_hc", official, "", func(t *testing.T, s *stored) { s.rename(`^(layers.*)\.hc_(attn|ffn)_`, "$1.${2}_hc.") }},
		{"official, all in F32", official, "", func(t *testing.T, s *stored) { s.encode(t, asType(encoding.F32)) }},
		{"official, all in F64", official, "", func(t *testing.T, s *stored) { s.encode(t, asType(encoding.F64)) }},
		{"mlx-vlm", mlx, "experts stacked", func(t *testing.T, s *stored) { s.vlm() }},
		{"MLX, one tensor per expert", mlx, "one tensor per expert", func(t *testing.T, s *stored) { s.mlx() }},
		{"MLX, experts with official leaves", mlx, "one tensor per expert", func(t *testing.T, s *stored) {
			s.dropPrefix("mtp.")
			s.rename(slices.Concat(toModel, toMLXHC)...)
		}},
		{"MLX, official hyper-connection names", mlx, "", func(t *testing.T, s *stored) {
			s.dropPrefix("mtp.")
			s.rename(slices.Concat([]string{`^hc_head_`, "model.hc_head_"}, toModel, toProj)...)
		}},
		{"MLX, fused", mlx, "wq_a and wkv fused", func(t *testing.T, s *stored) { s.fuseMLX(); s.stackMLX(); s.mlx() }},
		{"MLX, mtp kept", mlx, "", func(t *testing.T, s *stored) {
			s.fuseMLX()
			s.rename(slices.Concat([]string{`^mtp\.`, "model.mtp."}, toModel, toMLXHC, toProj)...)
		}},
		{"MLX, wo_a in pieces", mlx, "wo_a in pieces", func(t *testing.T, s *stored) { s.splitWoA(2); s.mlx() }},
		{"transformers", hf, "experts stacked, gate over up", func(t *testing.T, s *stored) {
			s.stack(".experts.gate_up_proj", "w1", "w3")
			s.stack(".experts.down_proj", "w2")
			s.transformers(newerTransformers)
		}},
		{"older transformers", hf, "one tensor per expert", func(t *testing.T, s *stored) { s.transformers(olderTransformers) }},
	}
	base := open(t, "testdata/fixtures/a-bf16")
	golden := openGolden(t, "testdata/fixtures/a-bf16/golden.safetensors")
	var texts [][]int32
	var want [][]float32
	for p := range prompts() {
		texts = append(texts, golden.ints(t, fmt.Sprintf("p%d.input_ids", p)))
		logits, _ := run[float32](t, base, texts[p])
		want = append(want, logits)
	}
	plain := smallCheckpoint(t)
	plain.encode(t, func(string) encoding.Encoding { return nil })

	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := smallCheckpoint(t)
			test.make(t, s)
			for _, unaligned := range []bool{false, true} {
				dir := ""
				if unaligned {
					dir = s.writeMLX(t)
				} else {
					dir = s.write(t)
				}
				m := open(t, dir)
				if b := m.Binding; b.Layout != test.layout || (test.form != "" && !slices.Contains(b.Forms, test.form)) || len(b.Notes) > 0 {
					t.Errorf("layout %q, forms %q, notes %q; want %q with %q", b.Layout, b.Forms, b.Notes, test.layout, test.form)
				}
				if odd := oddViews(m); (odd > 0) != unaligned {
					t.Errorf("unaligned file: %v, but %d views start at odd bytes", unaligned, odd)
				}
				split := s.want
				s.want = plain.want
				s.checkRows(t, m)
				s.want = split
				for _, p := range sample.Of(t, all(len(texts)), 1) {
					if got, _ := run[float32](t, m, texts[p]); !slices.EqualFunc(got, want[p], sameBits) {
						t.Fatalf("unaligned %v: prompt %d: logits are not the bits under official names", unaligned, p)
					}
				}
			}
		})
	}
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

func oddViews(m *opened) (n int) {
	for _, p := range m.Binding.Params {
		for _, v := range p.Views {
			if v.Skew()%2 == 1 {
				n++
			}
		}
	}
	return n
}

// TestTokenTable: tid2eid comes in any integer type.
func TestTokenTable(t *testing.T) {
	const name = "layers.0.ffn.gate.tid2eid"
	want := make([]int32, 2)
	base := open(t, "testdata/fixtures/a-bf16").Weights(name)
	for dt, size := range map[encoding.DType]int{encoding.U8: 1, encoding.I8: 1, encoding.U16: 2, encoding.I16: 2, encoding.U32: 4, encoding.I32: 4, encoding.U64: 8, encoding.I64: 8} {
		t.Run(string(dt), func(t *testing.T) {
			s := smallCheckpoint(t)
			s.change(t, name, func(x *storedTensor) {
				var data []byte
				for i := 0; i < len(x.Data); i += 8 {
					data = append(data, x.Data[i:i+size]...) // small and positive: the low bytes are the number
				}
				x.DType, x.Data = safetensors.DType(dt), data
			})
			src := open(t, s.writeMLX(t)).Weights(name)
			got := make([]int32, 2)
			for r := range src.Rows() {
				if err := base.Ints(want, r); err != nil {
					t.Fatal(err)
				}
				if err := src.Ints(got, r); err != nil || !slices.Equal(got, want) {
					t.Fatalf("row %d: %v, %v; want %v", r, got, err, want)
				}
			}
		})
	}
}

// TestEncodedRows binds every format under names and shapes it occurs with;
// each row must decode to what was stored.
func TestEncodedRows(t *testing.T) {
	type variant struct {
		name   string
		layout func(t *testing.T, s *stored)
		choose func(official string) encoding.Encoding
		check  func(t *testing.T, m *opened)
	}
	aff := func(bits, group int, scale encoding.DType) encoding.Encoding {
		return encoding.Affine{Bits: bits, Group: group, Scale: scale}
	}
	expertsIn := func(experts, rest encoding.Encoding) func(string) encoding.Encoding {
		return func(official string) encoding.Encoding {
			if strings.Contains(official, ".ffn.experts.") {
				return experts
			}
			return linear(rest)(official)
		}
	}
	encodingOf := func(param, want string) func(*testing.T, *opened) {
		return func(t *testing.T, m *opened) {
			if got := m.Binding.Param(param).Encoding(); got != want {
				t.Errorf("%s is stored as %s, want %s", param, got, want)
			}
		}
	}
	const experts1, woA1, wqA1 = "layers.1.ffn.experts.w1", "layers.1.attn.wo_a.weight", "layers.1.attn.wq_a.weight"
	tests := []variant{
		{"per-expert mxfp4 under MLX names", func(t *testing.T, s *stored) { s.mlx() }, expertsIn(encoding.MX{Bits: 4}, aff(4, 64, encoding.BF16)), encodingOf(experts1, "mxfp4")},
		{"stacked mxfp4 under official names", func(t *testing.T, s *stored) { s.dropPrefix("mtp."); s.stackOfficial() }, linear(encoding.MX{Bits: 4}), encodingOf(experts1, "mxfp4")},
		{"stacked mxfp8 under MLX names", func(t *testing.T, s *stored) { s.stackMLX(); s.mlx() }, linear(encoding.MX{Bits: 8}), encodingOf(experts1, "mxfp8")},
		{"fused in affine 3 bits", func(t *testing.T, s *stored) { s.fuseMLX(); s.stackMLX(); s.mlx() }, linear(aff(3, 64, encoding.BF16)), encodingOf(wqA1, "affine3_g64_bf16")},
		{"gate over up in affine 5 bits", func(t *testing.T, s *stored) {
			s.stack(".experts.gate_up_proj.weight", "w1", "w3")
			s.stack(".experts.down_proj.weight", "w2")
			s.transformers(newerTransformers)
		}, linear(aff(5, 32, encoding.F16)), encodingOf(experts1, "affine5_g32_f16")},
		{"gate over up in FP4", func(t *testing.T, s *stored) {
			s.stack(".experts.gate_up_proj.weight", "w1", "w3")
			s.stack(".experts.down_proj.weight", "w2")
			s.transformers(olderTransformers)
		}, expertsIn(encoding.FP4{}, encoding.FP8Block{}), encodingOf(experts1, "fp4_e2m1_g32")},
		{"fused in FP8", func(t *testing.T, s *stored) { s.fuseMLX(); s.mlx() }, expertsIn(encoding.FP4{}, encoding.FP8Block{}), encodingOf(wqA1, "fp8_e4m3_b128")},
		{"pieces in several formats", func(t *testing.T, s *stored) { s.dropPrefix("mtp."); s.splitWoA(2) }, func(official string) encoding.Encoding {
			switch {
			case strings.HasSuffix(official, ".wo_a.weight#1"):
				return aff(6, 128, encoding.F16)
			case strings.Contains(official, ".experts.3."):
				return encoding.MX{Bits: 8}
			case strings.Contains(official, ".experts.2."):
				return encoding.FP4{}
			}
			return nil
		}, func(t *testing.T, m *opened) { encodingOf(experts1, "mixed")(t, m); encodingOf(woA1, "mixed")(t, m) }},
	}
	var affine []variant
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, group := range []int{32, 64, 128} {
			for _, scale := range []encoding.DType{encoding.BF16, encoding.F16, encoding.F32} {
				e := aff(bits, group, scale)
				affine = append(affine, variant{e.Name(), func(t *testing.T, s *stored) { s.vlm() }, linear(e), encodingOf(woA1, e.Name())})
			}
		}
	}
	tests = append(tests, sample.Short(t, affine, 6)...)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := smallCheckpoint(t)
			test.layout(t, s)
			s.encode(t, test.choose)
			m := open(t, s.writeMLX(t))
			s.checkRows(t, m)
			test.check(t, m)
		})
	}
}

// TestEncodedGolden compares logits, experts and indexer choices with the
// numpy reference's, computed in float64 from the same planes: each golden
// carries the hash of the planes it was computed from. The limits are
// TestGolden's.
func TestEncodedGolden(t *testing.T) {
	tests := []struct {
		enc    string
		layout func(s *stored)
	}{
		{"mxfp8", func(s *stored) {}},
		{"affine2_g32_f16", func(s *stored) { s.stackOfficial(); s.splitWoA(2) }},
		{"affine3_g64_bf16", func(s *stored) { s.fuseMLX(); s.stackMLX(); s.mlx() }},
		{"affine5_g128_f16", func(s *stored) { s.vlm() }},
		{"affine6_g32_bf16", func(s *stored) { s.mlx() }},
	}
	for _, test := range tests {
		t.Run(test.enc, func(t *testing.T) {
			e, err := encoding.Parse(test.enc)
			if err != nil {
				t.Fatal(err)
			}
			g := openGolden(t, filepath.Join("testdata/variants", test.enc+".safetensors"))
			s := smallCheckpoint(t)
			s.dropPrefix("mtp.")
			if got, want := planesHash(t, s, e), g.f.Metadata()["planes_sha256"]; got != want {
				t.Fatalf("the encoder's planes hash to %s, the golden was computed from %s", got, want)
			}
			test.layout(s)
			s.encode(t, linear(e))
			s.declareMLX(e, nil)
			m := open(t, s.writeMLX(t))
			if len(m.Binding.Notes) > 0 {
				t.Errorf("notes: %q", m.Binding.Notes)
			}
			for p := range prompts() {
				q := fmt.Sprintf("p%d.", p)
				tokens, want := g.ints(t, q+"input_ids"), g.floats(t, q+"logits")
				l32, s32 := run[float32](t, m, tokens)
				d32, _ := maxDiff(t, l32, want)
				l64, s64 := run[float64](t, m, tokens)
				_, d64 := maxDiff(t, l64, want)
				t.Logf("%s %d tokens: logits differ by %.1e in float32, by %.1e beyond rounding in float64; the reference's closest choices: %s",
					q, len(tokens), d32, d64, g.f.Metadata()[q+"margins"])
				if !(d32 <= 2e-4) || !(d64 <= 1e-9) {
					t.Errorf("%slogits: float32 %.3g (limit 2e-4), float64 %.3g beyond rounding (limit 1e-9)", q, d32, d64)
				}
				compareTrace(t, g, q, s32, 2e-4, math.Inf(1))
				compareTrace(t, g, q, s64, math.Inf(1), 1e-9)
			}
		})
	}
}

// planesHash hashes names and planes of all official weights that are quantised.
func planesHash(t *testing.T, s *stored, e encoding.Encoding) string {
	t.Helper()
	h := sha256.New()
	for _, name := range s.names() {
		x := s.tensors[name]
		if !isLinear(name) {
			continue
		}
		values := make([]float64, len(x.Data)/2)
		for i := range values {
			values[i] = float64(num.BF16ToF32(binary.LittleEndian.Uint16(x.Data[2*i:])))
		}
		p, err := encoding.Encode(e, values, int(x.Shape[0]), int(x.Shape[1]))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(h, name)
		h.Write(p.Weight)
		h.Write(p.Scales)
		h.Write(p.Biases)
	}
	return hex.EncodeToString(h.Sum(nil))
}
