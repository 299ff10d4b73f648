package cuda

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/halves"
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	cudatext "smelt.example/smelt/internal/codegen/msl/cuda"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/cuda/nvrtc"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// story is a trained model of the repository's, whose layers are of every kind.
const story = "../../../examples/storyteller/checkpoint"

// texts are the Metal texts of kernels of three checkpoints for the targets that are
// proved, equal ones once.
func texts(t *testing.T) (kernels []*kernel.Kernel, texts map[string]string) {
	t.Helper()
	texts = map[string]string{}
	seen := map[string]bool{}
	for _, dir := range []string{story, devicetest.Fixture("b-official-fp8fp4"), devicetest.Fixture("c-mlx-4bit-stacked")} {
		m, err := models.Open(dir, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		b, _, err := bundle.Compile(bundle.SourceOf(m), bundle.Options{Lean: true, Formats: passes.Formats{Rows: "fp8", Keys: "fp4"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range proved(t) {
			if b, err = b.For(to); err != nil {
				t.Fatal(err)
			}
			for _, k := range b.Plan.Kernels {
				text, err := b.Text(k.Name)
				if err != nil {
					t.Fatal(err)
				}
				if _, code, _ := strings.Cut(text, "#include"); seen[code] {
					continue
				} else {
					seen[code] = true
				}
				named := *k
				named.Name = to.Name + "/" + filepath.Base(dir) + "/" + k.Name
				kernels, texts[named.Name] = append(kernels, &named), text
			}
		}
	}
	return kernels, texts
}

// compiler is NVRTC, which .ci/need nvrtc brings where no CUDA is.
func compiler(t *testing.T) *nvrtc.Compiler {
	t.Helper()
	c, err := nvrtc.Open()
	if err != nil {
		t.Skip(err)
	}
	return c
}

// TestCompile compiles Metal's text for cards, of which none is needed: the oldest and
// the newest that NVRTC knows, and the H100's. A thread's variables need no memory: those
// under one name lie in registers once loops are unrolled.
func TestCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a kernel takes NVRTC about a second")
	}
	c := compiler(t)
	known, err := c.Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	all, texts := texts(t)
	for _, to := range proved(t) {
		if !slices.ContainsFunc(all, func(k *kernel.Kernel) bool { return strings.HasPrefix(k.Name, to.Name+"/") }) {
			t.Errorf("no kernel of %s differs from those of targets before it", to.Name)
		}
	}
	t.Logf("%d kernels that differ", len(all))
	for i, k := range sample.Of(t, all, 6) {
		capability := 90
		switch {
		case i%6 == 1:
			capability = max(oldestCapability, int(slices.Min(known)))
		case i%6 == 2:
			capability = int(slices.Max(known))
		}
		images := make([]image, 1)
		tr := &translator{compiler: c, capability: capability}
		if err := tr.translate([]*kernel.Kernel{k}, texts, images, func() error { return nil }, func(int64) {}); err != nil {
			t.Errorf("compute capability %d: %v", capability, err)
			continue
		}
		if assembly := assemblyOf(t, c, texts[k.Name], capability); strings.Contains(assembly, ".local ") {
			t.Errorf("%s: threads have variables in memory", k.Name)
		}
		if e := images[0].entry; !strings.Contains(string(images[0].code), e.Name) || e.Threads != k.Schedule.Threads {
			t.Errorf("%s: the code has no function %s of %d threads", k.Name, e.Name, k.Schedule.Threads)
		}
	}
}

// assemblyOf is a text as PTX.
func assemblyOf(t *testing.T, c *nvrtc.Compiler, text string, capability int) string {
	t.Helper()
	source, _, err := cudatext.Source(text)
	if err != nil {
		t.Fatal(err)
	}
	var headers []nvrtc.Header
	for _, h := range cudatext.Headers() {
		headers = append(headers, nvrtc.Header(h))
	}
	assembly, err := c.Assembly("kernel.metal", source, headers, cudatext.Options(capability))
	if err != nil {
		t.Fatal(err)
	}
	return assembly
}

// TestRefuses: what is no kernel is refused with the compiler's words, and a text that
// uses what the stand-in lacks.
func TestRefuses(t *testing.T) {
	c := compiler(t)
	tr := &translator{compiler: c, capability: 90}
	for _, test := range []struct{ text, want string }{
		{"", "no kernel"},
		{"[[kernel]] void k(texture2d<float> t [[texture(0)]]) {}", "attribute texture is not known"},
		{"struct Other { int n; };\n[[kernel]] void k(constant Other &o [[buffer(0)]]) {}", "only buffer 0 (Args)"},
		{"#include <metal_stdlib>\nusing namespace metal;\n[[kernel]] void k(uint lane [[thread_index_in_simdgroup]]) { missing(lane); }", "kernel.metal(3)"},
		{"#include <metal_stdlib>\nusing namespace metal;\n[[kernel]] void k(uint lane [[thread_index_in_simdgroup]]) { float2 v = float2(1.0f, 2.0f, 3.0f); }", "as many operands"},
	} {
		_, err := tr.one(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

// TestWholeWarps: what all lanes of a warp must execute together stands in the code as
// often as in the text. Copies of it in branches have lanes wait for each other for
// ever, which is how the first run on a card ended.
func TestWholeWarps(t *testing.T) {
	c := compiler(t)
	text := `#include <metal_stdlib>
using namespace metal;
struct Args { device const float *x; device float *y; };
[[kernel, max_total_threads_per_threadgroup(32)]]
void k(constant Args &args [[buffer(0)]])
{
    simdgroup_float8x8 a, b, acc = make_filled_simdgroup_matrix<float, 8>(0.0f);
    for (int i = 0; i < 3; i++) {
        simdgroup_load(a, args.x + 64 * i, 8);
        simdgroup_load(b, args.x + 64 * i, 8, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(acc, a, b, acc);
    }
    simdgroup_store(acc, args.y, 8);
}
`
	ptx := assembly(t, c, text)
	// Two instructions for each of the three products, or for the one of a loop.
	if n := strings.Count(ptx, "mma.sync"); n != 6 && n != 2 {
		t.Errorf("%d matrix instructions, want 2 for each product", n)
	}
}

// assembly is the PTX of a text.
func assembly(t *testing.T, c *nvrtc.Compiler, text string) string {
	t.Helper()
	source, _, err := cudatext.Source(text)
	if err != nil {
		t.Fatal(err)
	}
	var headers []nvrtc.Header
	for _, h := range cudatext.Headers() {
		headers = append(headers, nvrtc.Header(h))
	}
	ptx, err := c.Assembly("kernel.metal", source, headers, append(cudatext.Options(90)[1:], "--gpu-architecture=compute_90"))
	if err != nil {
		t.Fatal(err)
	}
	return ptx
}

// TestHalves: the kernel that looks at halves converts each by the instruction that the
// others use, in a form that keeps subnormals.
func TestHalves(t *testing.T) {
	k, _, err := halves.Kernel(target.CUDA)
	if err != nil {
		t.Fatal(err)
	}
	text, err := msl.Print(k)
	if err != nil {
		t.Fatal(err)
	}
	ptx := assembly(t, compiler(t), text)
	if n := strings.Count(ptx, "cvt.f32.f16"); n != 2 || strings.Contains(ptx, "ftz") {
		t.Errorf("%d conversions, expected 2 that flush nothing:\n%s", n, ptx)
	}
}

// TestEmpty: the kernel by which launches alone are timed has nothing to do.
func TestEmpty(t *testing.T) {
	_, text, err := emptyKernel()
	if err != nil {
		t.Fatal(err)
	}
	ptx := assembly(t, compiler(t), text)
	if !strings.Contains(ptx, ".entry launch_empty") || strings.Contains(ptx, "bar.sync") || strings.Count(ptx, "st.") != 1 {
		t.Errorf("expected one store, of the kernel's number:\n%s", ptx)
	}
}
