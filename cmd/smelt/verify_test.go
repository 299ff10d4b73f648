package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	msl "smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/lockstep"
)

// newMirrored prepares a verifier of a bundle against a mirror of it.
func newMirrored(t *testing.T, c *compiled) (*verifier, *devicetest.Mirror) {
	t.Helper()
	m, err := devicetest.NewMirror(c.Bundle, c.model.Weights)
	if err != nil {
		t.Fatal(err)
	}
	both := lockstep.New(lockstep.Choices)
	m.Observe = both.See
	if err := both.Attach(m, c.model.Weights); err != nil {
		t.Fatal(err)
	}
	return newVerifier(both, verifyOptions{tokens: 2, seed: 1}), m
}

func openForTest(t *testing.T, flags ...string) *compiled {
	t.Helper()
	c, err := openBundle(stdio{out: &bytes.Buffer{}, err: &bytes.Buffer{}}, compileTo(t, mixedFixture, flags...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.model.Close() })
	return c
}

// TestVerifier has a way to be wrong a row; each is noticed.
func TestVerifier(t *testing.T) {
	c := openForTest(t, "--context", "40", "--chunk", "8", "--slots", "3", "--wanted", "3", "--cache", "f32")
	logit := func(step int, change func(x float32) float32) func(int, string, []byte) {
		return func(at int, name string, data []byte) {
			if last := data[max(len(data)-4, 0):]; at == step && name == "%logits" {
				binary.LittleEndian.PutUint32(last, math.Float32bits(change(math.Float32frombits(binary.LittleEndian.Uint32(last)))))
			}
		}
	}
	add := func(d float32) func(float32) float32 { return func(x float32) float32 { return x + d } }
	for _, x := range []struct {
		name   string
		fault  func(step int, name string, data []byte)
		ok     bool
		differ int
	}{
		{"equal", nil, true, 0},
		{"within the bound", logit(1, add(4e-4)), true, 0},
		{"beyond the bound in prefill", logit(1, add(1e-3)), false, 0},
		{"beyond the bound in the last step", logit(4, add(-1e-3)), false, 0},
		{"no number", logit(2, func(float32) float32 { return float32(math.NaN()) }), false, 0},
		{"another expert", func(step int, name string, data []byte) {
			if step == 2 && name == "%layer1.experts" {
				data[0]++
			}
		}, false, 1},
		{"another entry", func(step int, name string, data []byte) {
			if step == 2 && name == "%layer2.index_topk" {
				data[0] = 99
			}
		}, false, 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			v, m := newMirrored(t, c)
			m.Fault = x.fault
			got, err := v.run(t.Context(), texts{"prompt of 9", map[int32]int{1: 9}})
			if err != nil {
				t.Fatal(err)
			}
			// Prefill in two steps with logits of 3 rows and of 1, then two tokens.
			if got.OK != x.ok || got.Prompt != 9 || got.Decoded != 2 || got.Logits != 6*c.model.VocabSize || got.Choices == 0 || got.Differ != x.differ || (got.Difference < 0) != (x.name == "no number") || (got.Trouble != "") != (x.differ > 0) {
				t.Errorf("got %+v", got)
			}
			if again, err := v.run(t.Context(), texts{"prompt of 3", map[int32]int{1: 3}}); err != nil || !again.OK {
				t.Errorf("the next prompt: %+v (%v)", again, err)
			}
		})
	}
	v, m := newMirrored(t, c)
	m.Fail = 2
	if _, err := v.run(t.Context(), texts{"x", map[int32]int{0: 9}}); err == nil || !strings.Contains(err.Error(), "x, prefill step from token 8: the device is on fire") {
		t.Errorf("a device that fails: %v", err)
	}
}

// TestVerifierPrompts: lengths straddle the edges that the context has room for.
func TestVerifierPrompts(t *testing.T) {
	c := openForTest(t, "--context", "40", "--slots", "3", "--cache", "f32")
	v, _ := newMirrored(t, c)
	var lengths []int
	all := v.prompts()
	for _, p := range all[:len(all)-1] {
		for slot, n := range p.lengths {
			lengths = append(lengths, n)
			if int(slot) != n%3 {
				t.Errorf("%s is in slot %d", p.name, slot)
			}
		}
	}
	if want := []int{1, 2, 3, 4, 5, 7, 8, 9, 23, 24, 25}; !slices.Equal(lengths, want) {
		t.Errorf("prompts of %v, want %v", lengths, want)
	}
	together := all[len(all)-1]
	got, err := v.run(t.Context(), together)
	if err != nil || !got.OK || together.name != "3 at once" || got.Prompt != 1+6+11 || got.Logits != (1+6+11+2*3)*c.model.VocabSize {
		t.Errorf("%+v: %+v (%v)", together, got, err)
	}
}

// TestVerify runs the kernels of a small bundle by way of clang: planned anew for
// Metal, for the bundle is for processors.
func TestVerify(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: clang takes its time")
	}
	if _, err := msl.Find(); err != nil {
		t.Skip(err)
	}
	dir := compileTo(t, plainFixture, "--context", "3", "--cache", "f32", "--target", "cpu8")
	var r verifyReport
	decodeStrictly(t, smelt(t, "", "verify", dir, "--json", "--tokens", "1").succeeds(t), &r)
	if !r.OK || len(r.Checks) != 2 || r.Bound != 5e-4 || r.Kernels < 10 || r.Checks[1].Logits == 0 || !(r.Checks[1].Difference > 0) {
		t.Errorf("got %+v", r)
	}
}

// TestVerifyWithoutClang: one line says what to install.
func TestVerifyWithoutClang(t *testing.T) {
	dir := compileTo(t, plainFixture, "--context", "3")
	t.Setenv("PATH", t.TempDir())
	r := smelt(t, "", "verify", dir)
	r.fails(t, "install", "clang")
	if strings.Count(r.errors, "\n") != 1 {
		t.Errorf("more than a line: %q", r.errors)
	}
}

// TestScan plants codes in a checkpoint's files and finds them.
func TestScan(t *testing.T) {
	checkpoint := copyOf(t, mixedFixture)
	dir := compileTo(t, checkpoint, "--context", "16")
	clean := smelt(t, "", "verify", dir, "--scan").succeeds(t)
	if !strings.HasPrefix(clean, "read 116 tensors of fp8 codes and E8M0 scales, ") {
		t.Errorf("a clean checkpoint: %s", clean)
	}
	path := filepath.Join(checkpoint, "model.safetensors")
	plant(t, path, "layers.1.attn.wq_b.weight", 0x7f, 0xff)
	plant(t, path, "layers.1.attn.wq_b.scale", 0)
	plant(t, path, "layers.2.ffn.experts.3.w2.scale", 255, 0, 255)
	plant(t, path, "layers.2.ffn.experts.3.w2.weight", 0x7f) // fp4 has no NaN
	r := smelt(t, "", "verify", dir, "--scan")
	note, findings, _ := strings.Cut(r.errors, "\n")
	if r.status != 1 || !strings.HasPrefix(note, "note: "+path+" changed since ") || findings != "smelt: 4 findings with codes that kernels do not handle: logits that meet them are wrong on a device, the reference device computes them as stored\n" {
		t.Errorf("status %d, %q", r.status, r.errors)
	}
	var lines []string
	for _, l := range strings.Split(r.out, "\n") {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	for _, want := range []string{
		"layers.1.attn.wq_b.weight model.safetensors NaN of fp8 e4m3 2",
		"layers.1.attn.wq_b.scale model.safetensors E8M0 scale 0 (2^-127) 1",
		"layers.2.ffn.experts.3.w2.scale model.safetensors E8M0 scale 255 (NaN) 2",
		"layers.2.ffn.experts.3.w2.scale model.safetensors E8M0 scale 0 (2^-127) 1",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, r.out)
		}
	}
	var out bytes.Buffer
	if r := smeltWith(interruptAfter(t, 20), &out, "verify", dir, "--scan"); r.status != statusInterrupted || out.Len() != 0 {
		t.Errorf("interrupted: status %d, %q", r.status, out.String())
	}
	const table = "layers.0.ffn.gate.tid2eid"
	plant(t, path, table, 99, 0, 0, 0, 0, 0, 0, 0)
	for _, flags := range [][]string{{"--scan"}, {}} {
		if r := smelt(t, "", append([]string{"verify", dir}, flags...)...); r.status != 1 || r.out != "" || !strings.Contains(r.errors, table) || !strings.Contains(r.errors, "has 99 at [") {
			t.Errorf("%v, a table out of range: status %d, %q, %q", flags, r.status, r.out, r.errors)
		}
	}
}

// plant writes codes over a tensor's last bytes.
func plant(t *testing.T, path, tensor string, codes ...byte) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, x := range f.Tensors() {
		if x.Name != tensor {
			continue
		}
		w, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.WriteAt(codes, x.Offset+x.Bytes-int64(len(codes))); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%s has no tensor %s", path, tensor)
}

func TestVerifyRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no bundle", nil, []string{"expected one BUNDLE", "smelt verify --help"}},
		{"a checkpoint", []string{plainFixture}, []string{plainFixture, "not a bundle", "smelt compile"}},
		{"nothing there", []string{"nowhere"}, []string{"nowhere"}},
		{"no tokens", []string{plainFixture, "--tokens", "0"}, []string{`--tokens: found "0", expected a whole number, 1 to 16777216`}},
		{"sanitizers of a scan", []string{plainFixture, "--scan", "--sanitize"}, []string{"--sanitize contradicts --scan"}},
	} {
		t.Run(c.name, func(t *testing.T) { smelt(t, "", append([]string{"verify"}, c.args...)...).fails(t, c.want...) })
	}
}

// TestRunBundle: with caches of float32 a bundle's text is its checkpoint's,
// and the bundle's limits hold.
func TestRunBundle(t *testing.T) {
	dir := compileTo(t, storyteller, "--context", "24", "--chunk", "3", "--cache", "f32")
	args := []string{"-p", "Once upon a time", "--temp", "0", "-n", "6"}
	want, _ := runText(t, "", append([]string{storyteller}, args...)...)
	got, errors := runText(t, "", append([]string{dir}, args...)...)
	if got != want {
		t.Errorf("the bundle says %q, the checkpoint %q", got, want)
	}
	if !strings.Contains(errors, "\ndevice reference, ") {
		t.Errorf("standard error:\n%s", errors)
	}
	var full bytes.Buffer
	if r := smeltWith(t.Context(), &full, runArgs(dir, "-p", "Once", "--temp", "0", "--json")...); r.status != 0 || !strings.Contains(full.String(), `"stop_reason":"context is full"`) {
		t.Errorf("status %d, %s", r.status, full.String())
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"beyond the context", []string{dir, "-p", "x", "--context", "25"}, []string{"--context 25", "compiled for at most 24; compile it with --context 25"}},
		{"beyond the chunk", []string{dir, "-p", "x", "--chunk", "4"}, []string{"--chunk 4", "compiled for at most 3; compile it with --chunk 4"}},
		{"another target", []string{dir, "--target", "cpu8"}, []string{"--target cpu8: the device reference runs no kernels"}},
		{"unknown device", []string{dir, "--device", "gpu"}, []string{"--device gpu: expected " + devices.All().Choices()}},
	} {
		t.Run(c.name, func(t *testing.T) { smelt(t, "", runArgs(c.args...)...).fails(t, c.want...) })
	}
	long := smelt(t, "", runArgs(dir, "-p", strings.Repeat("Once upon a time ", 10))...)
	if long.status != 1 || long.out != "" || !strings.Contains(long.errors, "exceed the context of 24") || !strings.Contains(long.errors, "compile it with --context 51 or more") {
		t.Errorf("a prompt too long: status %d, %q", long.status, long.errors)
	}
}
