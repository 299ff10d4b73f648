package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

func TestInspectBundleGolden(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "1024", "--chunk", "64")
	for _, c := range []struct {
		suffix string
		args   []string
	}{
		{"-plan.txt", []string{"--plan"}},
		{"-plan-wide.txt", []string{"--plan", "--step", "prefill", "--wide"}},
		{"-explain.txt", []string{"--explain"}},
		{"-cost.txt", []string{"--cost", "--context", "259"}},
		{"-cost-prefill.txt", []string{"--cost", "--step", "prefill", "--wide"}},
		{"-stages.txt", []string{"--ir", "list"}},
	} {
		t.Run(c.suffix, func(t *testing.T) {
			out := smelt(t, "", append([]string{"inspect", dir}, c.args...)...).succeeds(t)
			golden(t, "b-official-fp8fp4"+c.suffix, masked(t, withoutGPU(out), dir, mixedFixture))
		})
	}
}

// withoutGPU leaves what --explain says of this machine's GPU away.
func withoutGPU(out string) string {
	before, rest, found := strings.Cut(out, "\nGPU\n")
	if !found {
		return out
	}
	_, after, _ := strings.Cut(rest, "\n\n")
	return before + "\n" + after
}

// TestExplainGPU: what was found out of a GPU, and what that decided.
func TestExplainGPU(t *testing.T) {
	b, err := bundle.Read(compileTo(t, mixedFixture, "--context", "64"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    fake.Options
		want []string
	}{
		"as planned": {fake.Options{Residency: true}, []string{
			"Fake M3 (applegpu_fake), macOS Version 15.0 (fake), families Apple7 Apple8 Apple9 Metal3", "bfloat yes", "32.8 kB of threadgroup memory",
			"every pipeline allows the threads that were planned", "\n  head_decode "}},
		"fewer threads": {fake.Options{MaxThreads: map[string]int{"attn_hyper_read_decode": 64}}, []string{
			"planned again with threadgroups of at most 64 threads", "attn_hyper_read_decode                64       64"}},
		"too large": {fake.Options{WorkingSet: 1 << 20}, []string{"refused: the model takes "}},
		"no GPU":    {fake.Options{NoDevice: true}, []string{"none here that smelt can use: the metal device needs macOS on Apple silicon", "an M1 or later"}},
		"an error":  {fake.Options{Compile: func(string) error { return errors.New("no compiler today") }}, []string{"cannot run the bundle: finding out whether halves are converted exactly: kernel halves: ", "no compiler today"}},
	} {
		r := fake.New(c.o)
		api, err := objc.Bind(r.Entry())
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		p := page{w: &out}
		p.gpu(gpuOf(metal.Examine(b, metal.Options{API: api})))
		if p.err != nil {
			t.Error(p.err)
		}
		for _, w := range c.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: expected %q in\n%s", name, w, out.String())
			}
		}
		if v, live := r.Violations(), r.Live(); len(v)+len(live) > 0 {
			t.Errorf("%s: broken rules %v, left %v", name, v, live)
		}
		r.Close()
	}
}

// TestInspectBundleText: what is printed of modules and kernels is what the
// bundle holds.
func TestInspectBundleText(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "64")
	files := tree(t, filepath.Join(dir, partsOf(t, dir)))
	for _, stage := range []string{"plan", "check-fused"} {
		if got := smelt(t, "", "inspect", dir, "--ir", stage).succeeds(t); got != files["plan.ir"] {
			t.Errorf("--ir %s is not plan.ir", stage)
		}
	}
	if got := smelt(t, "", "inspect", dir, "--ir").succeeds(t); got != files["plan.ir"] {
		t.Error("--ir is not plan.ir")
	}
	if got, graph := smelt(t, "", "inspect", dir, "--ir=input").succeeds(t), smelt(t, "", "inspect", mixedFixture, "--ir").succeeds(t); got != graph {
		t.Error("--ir=input is not the checkpoint's graph")
	}
	for _, c := range []struct {
		args []string
		file string
	}{{nil, "kernels/metal/attn_q_decode.metal"}, {[]string{"--ir", "kernel"}, "kernels/ir/attn_q_decode.kir"}} {
		got := smelt(t, "", append([]string{"inspect", dir, "--kernel", "attn_q_decode"}, c.args...)...).succeeds(t)
		if !strings.HasSuffix(got, files[c.file]) || files[c.file] == "" {
			t.Errorf("%v: got\n%s", c.args, got)
		}
	}
}

// TestWriteKernel: facts are comments before the text that the bundle holds.
func TestWriteKernel(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "64")
	files := tree(t, filepath.Join(dir, partsOf(t, dir)))
	b, err := bundle.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range b.Plan.Kernels {
		var asIR, whole strings.Builder
		if err := errors.Join(writeKernel(&asIR, b, k.Name, true), writeKernel(&whole, b, k.Name, false)); err != nil {
			t.Fatal(err)
		}
		if asIR.String() != files["kernels/ir/"+k.Name+".kir"] {
			t.Errorf("%s: the kernel IR is not that of the bundle", k.Name)
		}
		facts, rest, found := strings.Cut(whole.String(), "\n\n")
		if !found || rest != files["kernels/metal/"+k.Name+".metal"] || !strings.HasPrefix(facts, "// "+k.Name+": ") || !strings.Contains(facts, " of a ") {
			t.Errorf("%s: got\n%s", k.Name, whole.String())
		}
		for _, line := range strings.Split(facts, "\n") {
			if !strings.HasPrefix(line, "// ") {
				t.Errorf("%s: the fact %q is no comment", k.Name, line)
			}
		}
	}
}

// TestCost: dispatches add up to the total, and layers to it, too.
func TestCost(t *testing.T) {
	dir := compileTo(t, mixedFixture, "--context", "1024", "--slots", "2")
	for _, args := range [][]string{nil, {"--context", "3"}, {"--rows", "2"}, {"--step", "prefill"}, {"--step", "prefill", "--rows", "5", "--context", "6"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			var r costReport
			decodeStrictly(t, smelt(t, "", append([]string{"inspect", dir, "--cost", "--json"}, args...)...).succeeds(t), &r)
			var sum costNumbers
			barriers := 0
			for i, d := range r.Dispatches {
				sum.Weights += d.Weights
				sum.CacheRead += d.CacheRead
				sum.CacheWrite += d.CacheWrite
				sum.Read += d.Read
				sum.Write += d.Write
				sum.Bytes += d.Bytes
				sum.Traffic += d.Traffic
				sum.Flops += d.Flops
				if d.Barrier {
					barriers++
				}
				if d.Index != i || d.Kernel == "" || d.Region == "" || !strings.HasPrefix(d.Region, d.Layer) || d.Bytes != d.Weights+d.CacheRead+d.CacheWrite+d.Read+d.Write {
					t.Errorf("dispatch %d is %+v", i, d)
				}
			}
			if sum != r.Total || barriers != r.Barriers || r.CommandBuffers < 1 || !(r.Ratio >= 1) || r.Minimum > r.Total.Bytes || sum.Flops == 0 {
				t.Errorf("sum %+v of %+v", sum, r)
			}
			// What scores tokens is no part of the step.
			if n := len(r.Scoring); n != 2 || r.Scoring[0].Index != len(r.Dispatches) || r.ScoringTotal.Bytes != r.Scoring[0].Bytes+r.Scoring[1].Bytes || r.ScoringTotal.Flops == 0 {
				t.Errorf("scoring %+v, in all %+v", r.Scoring, r.ScoringTotal)
			}
			var bytes, flops int64
			layers := 0
			for _, k := range r.Layers {
				bytes, flops, layers = bytes+k.Bytes, flops+k.Flops, layers+len(k.Layers)
				if k.DispatchesMin < 1 || k.DispatchesMax < k.DispatchesMin {
					t.Errorf("%+v", k)
				}
			}
			if bytes != sum.Bytes || flops != sum.Flops || layers != 4 || len(r.Layers) != 4 {
				t.Errorf("layers %+v", r.Layers)
			}
		})
	}
}

func TestInspectHTML(t *testing.T) {
	checkpoint := copyOf(t, plainFixture)
	dir := compileTo(t, checkpoint, "--context", "16")
	page := filepath.Join(t.TempDir(), "page.html")
	if out := smelt(t, "", "inspect", dir, "--html", page).succeeds(t); out != "" {
		t.Errorf("standard output %q", out)
	}
	whole, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(whole), "fuse-linear") {
		t.Errorf("the page lacks stages (%v)", err)
	}
	if err := os.RemoveAll(checkpoint); err != nil {
		t.Fatal(err)
	}
	r := smelt(t, "", "inspect", dir, "--html", page)
	if r.status != 0 || !strings.HasPrefix(r.errors, "the page has no stages but the last: ") {
		t.Errorf("without the checkpoint: status %d, %q", r.status, r.errors)
	}
	smelt(t, "", "inspect", dir, "--html", filepath.Dir(page)).fails(t, "--html", "is a folder")
	smelt(t, "", "inspect", dir, "--html", filepath.Join(page, "x")).fails(t, "--html", "is not a folder")
}

func TestInspectBundleRefuses(t *testing.T) {
	dir := compileTo(t, plainFixture, "--context", "16", "--chunk", "8")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"stage of a checkpoint", []string{plainFixture, "--ir", "plan"}, []string{"--ir plan needs a bundle", "smelt compile " + plainFixture}},
		{"plan of a checkpoint", []string{plainFixture, "--plan"}, []string{"--plan needs a bundle"}},
		{"kernel of a checkpoint", []string{plainFixture, "--kernel", "x"}, []string{"--kernel needs a bundle"}},
		{"weights of a bundle", []string{dir, "--weights"}, []string{"--weights is about a checkpoint"}},
		{"two forms", []string{dir, "--plan", "--cost"}, []string{"--plan contradicts --cost"}},
		{"kernel as JSON", []string{dir, "--kernel", "attn_q_decode", "--json"}, []string{"--kernel contradicts --json", "text only"}},
		{"wide alone", []string{dir, "--wide"}, []string{"--wide needs --weights or --plan or --explain or --cost"}},
		{"wide views", []string{dir, "--weights", "--views", "--wide"}, []string{"--wide contradicts --views"}},
		{"wide as JSON", []string{dir, "--plan", "--wide", "--json"}, []string{"--wide contradicts --json"}},
		{"step alone", []string{dir, "--step", "decode"}, []string{"--step needs --plan or --cost"}},
		{"another step of the plan", []string{dir, "--plan", "--step", "both"}, []string{"--step both: expected decode or prefill"}},
		{"no step", []string{dir, "--plan", "--step", ""}, []string{"--step : expected decode or prefill"}},
		{"context alone", []string{dir, "--context", "4"}, []string{"--context needs --cost"}},
		{"rows of the plan", []string{dir, "--plan", "--rows", "4"}, []string{"--rows needs --cost"}},
		{"another step", []string{dir, "--cost", "--step", "draft"}, []string{"--step draft: expected decode or prefill"}},
		{"no context", []string{dir, "--cost", "--context", "0"}, []string{`--context: found "0", expected`}},
		{"beyond the context", []string{dir, "--cost", "--context", "17"}, []string{"--context 17", "at most 16 tokens", "--context 17"}},
		{"more rows than slots", []string{dir, "--cost", "--rows", "2"}, []string{"--rows 2", "at most 1 row", "--slots 2"}},
		{"more rows than a chunk", []string{dir, "--cost", "--rows", "9", "--step", "prefill"}, []string{"--rows 9", "at most 8 rows", "--chunk 9"}},
		{"more rows than the text", []string{dir, "--cost", "--rows", "5", "--context", "4", "--step", "prefill"}, []string{"--rows 5", "4 tokens"}},
		{"unknown stage", []string{dir, "--ir", "fused"}, []string{"--ir fused", "fuse-linear", "or plan"}},
		{"unknown kernel", []string{dir, "--kernel", "gemm"}, []string{"--kernel gemm", "no kernel of that name"}},
		{"part of a kernel's name", []string{dir, "--kernel", "attn_q"}, []string{"near it are", "attn_q_decode"}},
		{"kernel without a name", []string{dir, "--kernel", ""}, []string{"--kernel needs a name"}},
		{"kernel and stage", []string{dir, "--kernel", "attn_q_decode", "--ir", "plan"}, []string{"--ir plan contradicts --kernel"}},
		{"two folders", []string{dir, dir}, []string{"got 2 arguments"}},
		{"three arguments", []string{dir, "--ir", "plan", "x"}, []string{"got 3 arguments"}},
	} {
		t.Run(c.name, func(t *testing.T) { smelt(t, "", append([]string{"inspect"}, c.args...)...).fails(t, c.want...) })
	}
}

// TestBundleOutputFails: output that cannot be written is an error of every form.
func TestBundleOutputFails(t *testing.T) {
	dir := compileTo(t, plainFixture, "--context", "16")
	for _, args := range [][]string{
		nil, {"--json"}, {"--plan"}, {"--explain"}, {"--cost"}, {"--cost", "--json"}, {"--ir", "list"}, {"--ir", "plan"}, {"--kernel", "attn_q_decode"},
		{"--plan", "--json"}, {"--explain", "--json"}, {"--ir", "list", "--json"}, {"--ir", "plan", "--json"},
	} {
		r := smeltWith(t.Context(), fullDisk{}, append([]string{"inspect", dir}, args...)...)
		if r.status != 1 || r.errors != "smelt: disk full\n" {
			t.Errorf("inspect %v: status %d, standard error %q", args, r.status, r.errors)
		}
	}
}

// TestBundleListsAreNotNull: programs that read JSON find lists.
func TestBundleListsAreNotNull(t *testing.T) {
	dir := compileTo(t, plainFixture, "--context", "16")
	for _, args := range [][]string{
		{"inspect", dir, "--json"}, {"inspect", dir, "--cost", "--json"}, {"inspect", dir, "--ir", "list", "--json"},
		{"inspect", dir, "--ir", "input", "--json"}, {"inspect", dir, "--ir", "--json"}, {"verify", dir, "--scan", "--json"},
	} {
		out := smelt(t, "", args...).succeeds(t)
		if !json.Valid([]byte(out)) || strings.Contains(out, "null") {
			t.Errorf("%v prints\n%s", args, out)
		}
	}
}
