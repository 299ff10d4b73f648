package deepseekv4

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func readConfigFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "configs", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parseFile(t *testing.T, name string) *Config {
	t.Helper()
	c, err := ParseConfig(readConfigFile(t, name), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// edit returns a file's JSON with some top-level keys replaced; a removed{}
// value deletes its key.
func edit(t testing.TB, name string, changes map[string]any) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(readConfigFile(t, name), &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range changes {
		m[k] = v
		if v == (removed{}) {
			delete(m, k)
		}
	}
	data, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type removed struct{}

// alternating is head, n times (4, 128), then 4: the published layer patterns.
func alternating(head []int, n int) []int {
	list := slices.Clone(head)
	for range n {
		list = append(list, 4, 128)
	}
	return append(list, 4)
}

func flash() *Config {
	return &Config{
		VocabSize: 129280, Hidden: 4096, Layers: 43, Heads: 64, HeadDim: 512, RopeDim: 64, QLoraRank: 1024, OGroups: 8, OLoraRank: 1024, Window: 128,
		Ratios: alternating([]int{0, 0}, 20), MTPRatios: []int{0}, MTPLayers: 1,
		IndexHeads: 64, IndexDim: 128, IndexTopK: 512,
		Experts: 256, ExpertsPerToken: 6, SharedExperts: 1, ExpertDim: 2048, HashLayers: 3, RoutedScale: 1.5, SwigluLimit: 10,
		HC: 4, SinkhornIters: 20, HCEps: 1e-6, NormEps: 1e-6,
		RopeTheta: 10000, CompressRopeTheta: 160000, Yarn: &Yarn{Factor: 16, Original: 65536, BetaFast: 32, BetaSlow: 1},
		MaxPositions: 1048576, BOS: []int32{0}, EOS: []int32{1},
		Quant: Quantization{Official: &OfficialQuant{BlockRows: 128, BlockCols: 128, ExpertDType: "fp4"}},
	}
}

func TestParsePublishedConfigs(t *testing.T) {
	pro := flash()
	pro.Hidden, pro.Layers, pro.Heads, pro.QLoraRank, pro.OGroups, pro.IndexTopK = 7168, 61, 128, 1536, 16, 1024
	pro.Experts, pro.ExpertDim, pro.RoutedScale = 384, 3072, 2.5
	pro.Ratios = alternating([]int{128, 128}, 29)

	converted := flash()
	converted.MTPLayers, converted.MTPRatios = 0, []int{}
	converted.Quant = Quantization{Global: &ModuleQuant{Mode: "affine", Bits: 4, Group: 64}, Modules: map[string]ModuleQuant{}}
	converted.Notes = []string{"compress_ratios has 1 number beyond the layers, but num_nextn_predict_layers is 0; it is left out"}

	for name, want := range map[string]*Config{"flash": flash(), "pro": pro, "flash-mlx": converted} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, parseFile(t, name)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseFixtureConfigs(t *testing.T) {
	wantRatios := map[string][]int{"a": {0, 4, 128}, "b": {128, 4, 4, 0}, "c": {128, 128, 4, 128, 4}, "storyteller": {0, 0, 4, 128, 4, 128, 4, 4}}
	files, err := filepath.Glob("testdata/configs/*.json")
	if err != nil || len(files) < 13 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		t.Run(name, func(t *testing.T) {
			c := parseFile(t, name)
			kind, _, _ := strings.Cut(name, "-")
			if want, ok := wantRatios[kind]; ok && !slices.Equal(c.Ratios, want) {
				t.Errorf("ratios %v, want %v", c.Ratios, want)
			}
			if len(c.Unknown) > 0 {
				t.Errorf("unknown keys %q", c.Unknown)
			}
		})
	}
}

// TestSharedConfigs checks that the copies in testdata are what the shared
// checkpoints hold.
func TestSharedConfigs(t *testing.T) {
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Skip("SMELT_SHARED is not set: the configs of the shared checkpoints were not compared with testdata")
	}
	found := 0
	for pattern, prefix := range map[string]string{"fixtures/*/config.json": "", "storyteller/*/config.json": "storyteller-"} {
		files, err := filepath.Glob(filepath.Join(shared, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			name := prefix + filepath.Base(filepath.Dir(f))
			if string(data) != string(readConfigFile(t, name)) {
				t.Errorf("%s differs from testdata/configs/%s.json", f, name)
			}
			found++
		}
	}
	if found == 0 {
		t.Errorf("no config.json below %s", shared)
	}
}

func TestTransformersSpellingMeansTheSame(t *testing.T) {
	want, got := parseFile(t, "a-bf16"), parseFile(t, "a-transformers")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-official +transformers)\n%s", diff)
	}
	both := map[string]any{"compress_ratios": []int{0, 4, 128, 0}, "num_hash_layers": 1, "qk_rope_head_dim": 64, "rope_theta": 10000, "compress_rope_theta": 160000,
		"rope_scaling": map[string]any{"type": "yarn", "factor": 4, "original_max_position_embeddings": 128}, "torch_dtype": "bfloat16"}
	c, err := ParseConfig(edit(t, "a-transformers", both), "both")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-official +both spellings)\n%s", diff)
	}
}

// flatYarn is flash's scaling with a base, in one section.
func flatYarn(theta int) map[string]any {
	return map[string]any{"rope_type": "yarn", "factor": 16, "original_max_position_embeddings": 65536, "beta_fast": 32, "beta_slow": 1, "rope_theta": theta}
}

// drafts is flash with a number of draft stages, none of which compress.
func drafts(n int, notes ...string) func(*Config) {
	return func(c *Config) { c.MTPLayers, c.MTPRatios, c.Notes = n, make([]int, n), notes }
}

func TestParseConfigAccepts(t *testing.T) {
	yarnless := map[string]any{"type": "default"}
	for _, c := range []struct {
		name    string
		changes map[string]any
		expect  func(*Config)
	}{
		{"pruned experts", map[string]any{"n_routed_experts": 137}, func(c *Config) { c.Experts = 137 }},
		{"every expert used", map[string]any{"n_routed_experts": 6}, func(c *Config) { c.Experts = 6 }},
		{"whole numbers with a point", map[string]any{"hidden_size": 4096.0, "rope_theta": 1e4}, func(*Config) {}},
		{"several ends", map[string]any{"eos_token_id": []int{1, 7}}, func(c *Config) { c.EOS = []int32{1, 7} }},
		{"no ends", map[string]any{"eos_token_id": nil, "bos_token_id": removed{}}, func(c *Config) { c.EOS, c.BOS = nil, nil }},
		{"no clamp", map[string]any{"swiglu_limit": removed{}}, func(c *Config) { c.SwigluLimit = 0 }},
		{"clamp null", map[string]any{"swiglu_limit": nil}, func(c *Config) { c.SwigluLimit = 0 }},
		{"clamp zero", map[string]any{"swiglu_limit": 0}, func(c *Config) { c.SwigluLimit = 0 }},
		{"no scaling", map[string]any{"rope_scaling": nil}, func(c *Config) { c.Yarn = nil }},
		{"default scaling", map[string]any{"rope_scaling": yarnless}, func(c *Config) { c.Yarn = nil }},
		{"deepseek_yarn", map[string]any{"rope_scaling": map[string]any{"rope_type": "deepseek_yarn", "factor": 16, "original_max_position_embeddings": 65536, "mscale": 0, "attention_factor": 1}}, func(*Config) {}},
		{"no MTP", map[string]any{"num_nextn_predict_layers": 0, "compress_ratios": alternating([]int{0, 0}, 20)}, func(c *Config) { c.MTPLayers, c.MTPRatios = 0, []int{} }},
		{"MTP without ratio", map[string]any{"compress_ratios": alternating([]int{0, 0}, 20)}, func(c *Config) {
			c.Notes = []string{"compress_ratios has 0 numbers beyond the layers, num_nextn_predict_layers is 1; ratio 0 is taken for draft stages without a number"}
		}},
		{"one draft stage more than counted", map[string]any{"compress_ratios": append(alternating([]int{0, 0}, 20), 0, 0)}, drafts(2, "compress_ratios has 2 numbers beyond the layers, num_nextn_predict_layers is 1; 2 draft stages are taken, which smelt does not use yet")},
		{"the release of July 31", map[string]any{"compress_ratios": append(alternating([]int{0, 0}, 20), 0, 0, 0),
			"dspark_block_size": 5, "dspark_noise_token_id": 128799, "dspark_target_layer_ids": []int{40, 41, 42}, "dspark_markov_rank": 256},
			drafts(3, "compress_ratios has 3 numbers beyond the layers, num_nextn_predict_layers is 1; 3 draft stages are taken, which smelt does not use yet",
				"not used, as smelt does not draft tokens yet: dspark_block_size, dspark_markov_rank, dspark_noise_token_id, dspark_target_layer_ids")},
		{"the release that reads images", map[string]any{"vision_n_layers": 27, "vision_dim": 1024}, func(c *Config) {
			c.Notes = []string{"not used, as smelt does not read images yet: vision_dim, vision_n_layers"}
		}},
		{"three draft stages counted", map[string]any{"num_nextn_predict_layers": 3, "compress_ratios": append(alternating([]int{0, 0}, 20), 0, 0, 0)}, drafts(3)},
		{"draft stages that compress", map[string]any{"num_nextn_predict_layers": 2, "compress_ratios": append(alternating([]int{0, 0}, 20), 128, 4)},
			func(c *Config) { c.MTPLayers, c.MTPRatios = 2, []int{128, 4} }},
		{"draft stages dropped", map[string]any{"num_nextn_predict_layers": 0, "compress_ratios": append(alternating([]int{0, 0}, 20), 0, 0, 0)},
			drafts(0, "compress_ratios has 3 numbers beyond the layers, but num_nextn_predict_layers is 0; they are left out")},
		{"fewer numbers than draft stages", map[string]any{"num_nextn_predict_layers": 3},
			drafts(3, "compress_ratios has 1 number beyond the layers, num_nextn_predict_layers is 3; ratio 0 is taken for draft stages without a number")},
		{"no count of draft stages", map[string]any{"num_nextn_predict_layers": removed{}, "compress_ratios": append(alternating([]int{0, 0}, 20), 0, 0)},
			drafts(0, "compress_ratios has 2 numbers beyond the layers, but num_nextn_predict_layers is 0; they are left out")},
		{"flat rope parameters", map[string]any{"rope_scaling": removed{}, "rope_theta": removed{}, "rope_parameters": flatYarn(10000)}, func(*Config) {}},
		{"flat rope parameters, old spelling", map[string]any{"rope_scaling": removed{}, "rope_parameters": map[string]any{"type": "yarn", "factor": 16, "original_max_position_embeddings": 65536}}, func(*Config) {}},
		{"flat beside the same scaling", map[string]any{"rope_parameters": flatYarn(10000)}, func(*Config) {}},
		{"flat with the compressed layers' base", map[string]any{"rope_scaling": removed{}, "rope_parameters": flatYarn(160000)}, func(*Config) {}},
		{"flat base alone", map[string]any{"rope_theta": removed{}, "rope_parameters": map[string]any{"rope_theta": 10000.0}}, func(*Config) {}},
		{"flat share of the head", map[string]any{"rope_scaling": removed{}, "qk_rope_head_dim": removed{}, "rope_parameters": map[string]any{"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 65536, "rope_theta": 10000, "partial_rotary_factor": 0.125, "attention_factor": 1.0}}, func(*Config) {}},
		{"flat without scaling", map[string]any{"rope_scaling": removed{}, "rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 10000}}, func(c *Config) { c.Yarn = nil }},
		{"flat and compressed, with one scaling", map[string]any{"rope_scaling": removed{}, "rope_theta": removed{}, "compress_rope_theta": removed{},
			"rope_parameters": flatYarn(10000), "compress_rope_parameters": flatYarn(160000)}, func(*Config) {}},
		{"flat and compressed, one scaled", map[string]any{"rope_scaling": removed{},
			"rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 10000}, "compress_rope_parameters": flatYarn(160000)}, func(*Config) {}},
		{"window layers only", map[string]any{"num_hidden_layers": 1, "num_hash_layers": 1, "compress_ratios": []int{0, 0}, "index_n_heads": removed{}, "index_head_dim": removed{}, "index_topk": removed{}, "rope_scaling": removed{}},
			func(c *Config) {
				c.Layers, c.HashLayers, c.Ratios, c.IndexHeads, c.IndexDim, c.IndexTopK, c.Yarn = 1, 1, []int{0}, 0, 0, 0, nil
			}},
		{"model_type alone", map[string]any{"architectures": removed{}}, func(*Config) {}},
		{"architectures alone", map[string]any{"model_type": removed{}}, func(*Config) {}},
		{"norm_topk_prob false", map[string]any{"norm_topk_prob": false}, func(c *Config) {
			c.Notes = []string{"norm_topk_prob is false; DeepSeek's own code always normalises the routed weights, and so does smelt"}
		}},
		{"fp8 experts", map[string]any{"expert_dtype": "fp8"}, func(c *Config) { c.Quant.Official.ExpertDType = "fp8" }},
		{"not quantised", map[string]any{"expert_dtype": removed{}, "quantization_config": removed{}}, func(c *Config) { c.Quant = Quantization{} }},
		{"unknown keys", map[string]any{"zeta": 1, "alpha": map[string]any{"x": 1},
			"rope_scaling": map[string]any{"type": "yarn", "factor": 16, "original_max_position_embeddings": 65536, "wobble": 2}},
			func(c *Config) { c.Unknown = []string{"alpha", "rope_scaling.wobble", "zeta"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := flash()
			c.expect(want)
			got, err := ParseConfig(edit(t, "flash", c.changes), "flash.json")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseMLXQuantization(t *testing.T) {
	block := map[string]any{
		"group_size": 32, "bits": 4, "mode": "mxfp4",
		"layers.0.attn.wq_a": map[string]any{"bits": 8, "group_size": 128},
		"layers.0.attn.wq_b": map[string]any{"mode": "mxfp8"},
		"layers.0.attn.wkv":  map[string]any{},
		"head":               false,
		"embed":              true,
		"colour":             "blue",
	}
	want := Quantization{
		Global: &ModuleQuant{Mode: "mxfp4", Bits: 4, Group: 32},
		Modules: map[string]ModuleQuant{
			"layers.0.attn.wq_a": {Mode: "affine", Bits: 8, Group: 128},
			"layers.0.attn.wq_b": {Mode: "mxfp8", Bits: 8, Group: 32},
			"layers.0.attn.wkv":  {Mode: "affine", Bits: 4, Group: 64},
			"head":               {Off: true},
			"embed":              {Mode: "mxfp4", Bits: 4, Group: 32},
		},
	}
	for _, keys := range [][]string{{"quantization"}, {"quantization_config"}, {"quantization", "quantization_config"}} {
		changes := map[string]any{"quantization": removed{}, "quantization_config": removed{}}
		var unknown []string
		for _, k := range keys {
			changes[k] = block
			unknown = append(unknown, k+".colour")
		}
		c, err := ParseConfig(edit(t, "flash-mlx", changes), "mlx")
		if err != nil {
			t.Fatal(keys, err)
		}
		if diff := cmp.Diff(want, c.Quant); diff != "" {
			t.Errorf("%v (-want +got)\n%s", keys, diff)
		}
		if !slices.Equal(c.Unknown, unknown) {
			t.Errorf("%v: unknown %q, want %q", keys, c.Unknown, unknown)
		}
	}
}

func TestHasRatio(t *testing.T) {
	c := &Config{Ratios: []int{0, 128}, MTPRatios: []int{4}}
	if !c.HasRatio(0) || !c.HasRatio(4) || !c.HasRatio(128) || c.HasRatio(2) {
		t.Errorf("wrong answers for %+v", c)
	}
}

// FuzzParseConfig checks that no file panics the parser and that what it
// accepts satisfies the relations Config states.
func FuzzParseConfig(f *testing.F) {
	for _, name := range []string{"flash", "flash-mlx", "a-transformers", "c-mlx-4bit-stacked", "b-mlx-mxfp4-unstacked"} {
		f.Add(readConfigFile(f, name))
	}
	f.Add([]byte(`{"compress_ratios":[`))
	for _, counts := range []string{`"n_routed_experts_per_layer":[5,2,5,5]`, `"n_routed_experts_per_layer":{"1":4,"9":3}`, `"reap_pruning":{"n_routed_experts_per_layer":[5,5,4]}`} {
		f.Add(bytes.Replace(readConfigFile(f, "a-transformers"), []byte("{"), []byte("{"+counts+","), 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data, "fuzz")
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		if err != nil {
			return
		}
		sound := len(c.Ratios) == c.Layers && len(c.MTPRatios) == c.MTPLayers && c.Heads%c.OGroups == 0 &&
			c.RopeDim >= 2 && c.RopeDim%2 == 0 && c.RopeDim <= c.HeadDim && c.ExpertsPerToken <= c.Experts && c.HashLayers <= c.Layers &&
			(!c.HasRatio(4) || c.IndexHeads > 0 && c.IndexTopK > 0 && c.RopeDim <= c.IndexDim) &&
			c.Window >= 1 && c.HC >= 1 && c.HCEps > 0 && c.NormEps > 0 && c.RopeTheta > 1 && c.CompressRopeTheta > 1 &&
			(c.LayerExperts == nil || len(c.LayerExperts) == c.Layers)
		for _, n := range c.LayerExperts {
			sound = sound && (n == 0 || c.ExpertsPerToken <= n && n <= maxExperts)
		}
		if !sound {
			t.Errorf("accepted %+v", c)
		}
	})
}
