package lower

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMetal keeps the Metal text of one small kernel of each family: what a
// change of a family does to it shows in the diff.
func TestMetal(t *testing.T) {
	m, err := models.Open("../../models/deepseekv4/testdata/fixtures/a-bf16", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := passes.Run(m.Graph, passes.Options{Formats: passes.Formats{Rows: "fp8", Keys: "fp4"}})
	if err != nil {
		t.Fatal(err)
	}
	params, err := storage.Bound(m.Checkpoint, m.Binding, m.Graph)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		region string
		phase  program.Phase
		kernel string
	}{
		{"layers.0.attn.out_a", program.Decode, "attn_out_a_decode"},
		{"layers.0.attn.out_a", program.Prefill, "attn_out_a_prefill"},
		{"layers.2.attn.cache", program.Decode, "attn_cache_decode"},
		{"layers.1.attn.indexer.topk", program.Decode, "attn_indexer_topk_merge_decode"},
		{"layers.0.attn.attend", program.Decode, "attn_attend_decode"},
		{"layers.0.attn.hyper", program.Decode, "attn_hyper_read_decode"},
		{"layers.0.ffn.experts", program.Prefill, "ffn_experts_route_prefill"},
	} {
		for _, region := range r.Module.Regions {
			if region.Name != c.region {
				continue
			}
			launches, err := Lower(&Input{Module: r.Module, Region: region, Phase: c.phase, Params: params, Caches: caches(t, r.Module), Step: program.NewStep(r.Module, program.MaxDecodeRows), Target: target.GPU})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, l := range launches {
				if l.Kernel.Name != c.kernel {
					continue
				}
				found = true
				checkMetal(t, l.Kernel)
			}
			if !found {
				t.Errorf("region %s has no kernel %s", c.region, c.kernel)
			}
		}
	}
	for _, lower := range []func(*Input) ([]program.Launch, *program.Scratch, error){LowerSample, LowerScore} {
		launches, _, err := lower(&Input{Module: r.Module, Phase: program.Decode, Step: program.NewStep(r.Module, program.MaxDecodeRows), Target: target.GPU})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range launches {
			checkMetal(t, l.Kernel)
		}
	}
}

// checkMetal compares a kernel's text with the golden file.
func checkMetal(t *testing.T, k *kernel.Kernel) {
	t.Helper()
	got, err := msl.Print(k)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", k.Name+".metal")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what %s says; look at the difference and run with -update", k.Name, path)
	}
}
