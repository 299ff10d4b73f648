package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/bench"
	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// needCPU skips where there is no libLLVM to measure with.
func needCPU(t *testing.T) {
	t.Helper()
	if _, err := jit.Open(""); err != nil {
		t.Skip(err)
	}
}

func TestBenchRun(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: measures")
	}
	needCPU(t)
	svg := filepath.Join(t.TempDir(), "run.svg")
	r := smelt(t, "", "bench", "run", mixedFixture, "--frontiers", "16,40", "--rows", "1,3", "-n", "4", "--json", "--svg", svg)
	if r.status != 0 {
		t.Fatalf("status %d: %s", r.status, r.errors)
	}
	var report bench.RunReport
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Frontiers) != 2 || len(report.Frontiers[1].Decode) != 2 || report.Frontiers[1].Decode[1].TokensPerSecond <= 0 {
		t.Errorf("frontiers: %+v", report.Frontiers)
	}
	if report.Opening.Kernels == 0 || report.Opening.Planned == 0 || report.Model.Weights == 0 || report.Machine.Device == "" {
		t.Errorf("opening %+v, model %+v, machine %+v", report.Opening, report.Model, report.Machine)
	}
	data, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(data, new(struct{})); err != nil {
		t.Errorf("the chart: %v", err)
	}
}

func TestBenchRunTable(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: measures")
	}
	needCPU(t)
	text := writeFile(t, filepath.Join(t.TempDir(), "text"), "Once upon a time there was a test.")
	r := smelt(t, "", "bench", "run", "../../examples/storyteller/checkpoint", "--frontiers", "20", "-n", "2", "--text", text)
	if r.status != 0 {
		t.Fatalf("status %d: %s", r.status, r.errors)
	}
	for _, want := range []string{"prefill tokens/s", "memory: the plan says", "prefill in steps of 22 tokens"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing from\n%s", want, r.out)
		}
	}
}

func TestBenchKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: measures")
	}
	needCPU(t)
	dir := filepath.Join(t.TempDir(), "tiny.smelt")
	if r := smelt(t, "", "compile", mixedFixture, "-o", dir, "--context", "64", "--chunk", "32", "--slots", "2"); r.status != 0 {
		t.Fatal(r.errors)
	}
	r := smelt(t, "", "bench", "kernels", dir, "--rows", "2", "--prefill", "32", "--repeat", "1")
	if r.status != 0 {
		t.Fatalf("status %d: %s", r.status, r.errors)
	}
	for _, want := range []string{"decode, rows: 2, context: 64", "prefill, rows: 32, context: 64", "head_decode", "kernels together", " is outside of kernels\n", "the machine reads"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing from\n%s", want, r.out)
		}
	}
	r = smelt(t, "", "bench", "kernels", dir, "--rows", "1", "--repeat", "1", "--kernel", "sample", "--json")
	var report bench.KernelReport
	decodeStrictly(t, r.succeedsNoting(t), &report)
	if len(report.Steps) != 2 || len(report.Steps[0].Kernels) != 1 || report.Steps[0].Kernels[0].Name != "sample_decode" {
		t.Fatalf("of the samplers: %+v", report.Steps)
	}
	for _, s := range report.Steps { // the likeliest token: a pass over the logits
		if k := s.Kernels[0]; k.Bytes < 4*323 || k.Bytes > 12*323+4 || k.OfPeak > 0.5 || !(k.Share > 0 && k.Share < 1) || k.OfRead != k.BytesPerSecond/s.Machine.Read || s.Machine.Read < max(s.Before.Read, s.After.Read) {
			t.Errorf("%s: %+v, machine %+v", s.Kind, k, s.Machine)
		}
	}
	smelt(t, "", "bench", "kernels", dir, "--rows", "1", "--device", "cpu", "--kernel", "sampel_decode").fails(t, `--kernel "sampel_decode": the plan has no kernel of that name; near it are sample_decode`)
	r = smelt(t, "", "bench", "kernels", dir, "--rows", "0", "--prefill", "7", "--repeat", "1", "--csv")
	if lines := strings.Split(r.out, "\n"); r.status != 0 || !strings.HasPrefix(r.out, "kind,rows,context,kernel,") || len(lines) < 10 {
		t.Errorf("status %d, lines:\n%s%s", r.status, r.out, r.errors)
	}
}

// TestBenchStored: layers that stand on stored ones are measured as the layers they are,
// and the report says so; a decode step at a multiple of a block has more to do.
func TestBenchStored(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles a model of eight layers twice")
	}
	needCPU(t)
	var reports [2]bench.KernelReport
	for i, stored := range []string{"4", "8"} {
		r := smelt(t, "", "bench", "kernels", "--synthetic", "storyteller", "--layers", "8", "--stored", stored, "--device", "cpu", "--context", "127,128", "--rows", "1", "--prefill", "0", "--repeat", "1", "--json")
		decodeStrictly(t, r.succeedsNoting(t), &reports[i])
	}
	few, all := reports[0], reports[1]
	if !strings.Contains(few.Model.Note, "of 8 layers 4 are stored") || strings.Contains(all.Model.Note, "stored") || few.Model.Weights >= all.Model.Weights || few.Opening.Planned >= all.Opening.Planned {
		t.Errorf("%+v, %+v; with all stored %+v, %+v", few.Model, few.Opening, all.Model, all.Opening)
	}
	if len(few.Steps) != 2 || len(all.Steps) != 2 {
		t.Fatalf("%d and %d steps", len(few.Steps), len(all.Steps))
	}
	for i, s := range few.Steps {
		if a, b := s.All, all.Steps[i].All; a.Dispatches != b.Dispatches || a.Bytes != b.Bytes || a.Flops != b.Flops {
			t.Errorf("at %d tokens %+v, with all stored %+v", s.Context, a, b)
		}
	}
	if open, closing := few.Steps[0], few.Steps[1]; open.Context != 127 || closing.Context != 128 || open.All.Bytes >= closing.All.Bytes {
		t.Errorf("%+v; where blocks close %+v", open.All, closing.All)
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"bench kernels", "expected one CHECKPOINT or BUNDLE, or --synthetic"},
		{"bench run x --synthetic flash", "--synthetic contradicts x"},
		{"bench run x --layers 3", "--layers, --stored and --format are for --synthetic"},
		{"bench run --synthetic flash --text y", "--text contradicts --synthetic"},
		{"bench run --synthetic flesh", "--synthetic flesh: expected flash or pro or storyteller"},
		{"bench run --synthetic flash --format gguf", "--format gguf: expected official or mlx-4bit"},
		{"bench run --synthetic flash --layers 99", "has layers 0 to 42"},
		{"bench run --synthetic flash --layers 8 --stored 9", "--stored 9 contradicts --layers 8"},
		{"bench run --synthetic flash --layers 43 --stored 3", "store at least 4 layers"},
		{"bench kernels x --repeat 9223372036854775807", `--repeat: found "9223372036854775807", expected a whole number, 1 to 10000`},
		{"bench run x --json --csv", "--json contradicts --csv"},
		{"bench run x --frontiers 5,3", "--frontiers: expected numbers that ascend from 1 on, found 3 after 5"},
		{"bench run x --rows 17", `--rows: found "17", expected whole numbers with commas between them, each 1 to 16`},
		{"bench run x -n 0", `--generate: found "0", expected a whole number, 1 to`},
		{"bench run x --svg no/such/folder/x.svg", "make the folder first"},
		{"bench kernels x --context 1", `--context: found "1", expected whole numbers with commas between them, each 2 to`},
		{"bench kernels x --prefill 4096", "--prefill 4096: expected at most the 2048 tokens of --context"},
		{"bench kernels x --device gpu", "--device gpu: expected"},
		{"bench kernels no-such-model", "no-such-model"},
		{"bench kernels " + mixedFixture + " --device reference", "--device reference cannot be measured kernel by kernel"},
		{"bench run " + mixedFixture + " --frontiers 9999999", "the model was made for at most"},
	} {
		r := smelt(t, "", strings.Fields(c.args)...)
		if r.status != 1 || !strings.Contains(r.errors, c.want) || r.out != "" {
			t.Errorf("smelt %s: status %d, %q and %q, want an error with %q", c.args, r.status, r.out, r.errors, c.want)
		}
	}
}
