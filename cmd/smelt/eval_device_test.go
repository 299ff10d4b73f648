package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	msl "smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/internal/sample"
)

// heldOut are tokens that the storyteller never saw, or some of any model.
func heldOut(t *testing.T, checkpoint string, n int) []int32 {
	t.Helper()
	if checkpoint != storyteller {
		return arrays(t, filepath.Join(checkpoint, "golden.safetensors"))["p1.input_ids"].ints[:n]
	}
	ids := []int32{0}
	for len(ids) < n {
		ids = append(ids, 260+rand.Int32N(2000))
	}
	return ids
}

// TestEvalDevices: all logits of devices are the reference's, with and without a bundle
// that must be planned anew, cut at any place; so are loss and perplexity, and the
// divergence is next to nothing.
func TestEvalDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles kernels")
	}
	needCPU(t)
	models := map[string]string{}
	names := []string{"storyteller"}
	for name, dir := range checkpoints(t) {
		models[name] = dir
		if name != "storyteller" {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	for _, name := range append(names[:1], sample.Of(t, names[1:], 1)...) {
		t.Run(name, func(t *testing.T) { evalDevices(t, models[name], "cpu", 37) })
	}
}

// TestEvalStandin is the same of the kernels' Metal text.
func TestEvalStandin(t *testing.T) {
	if !sample.Full() {
		t.Skip("not make full: clang takes minutes; internal/runtime/standin compares its logits with the evaluator's")
	}
	if _, err := msl.Find(); err != nil {
		t.Skip(err)
	}
	evalDevices(t, plainFixture, "standin", 11)
}

func evalDevices(t *testing.T, checkpoint, device string, n int) {
	dir := t.TempDir()
	bundle, file, base := filepath.Join(dir, "bundle"), filepath.Join(dir, "logits"), filepath.Join(dir, "base")
	compileJSON(t, checkpoint, "-o", bundle, "--context", "64", "--chunk", "16", "--wanted", "3", "--cache", "f32")
	args := []string{"--tokens", commaList(heldOut(t, checkpoint, n))}
	reference := evalJSON(t, append(args, bundle, "--logits", base)...)
	want := arrays(t, base)["logits"]
	chunks := []int{16, 7, 1}
	if device == "standin" {
		chunks = chunks[1:2] // which has both a full step and a part of one
	}
	for _, chunk := range chunks {
		r := smelt(t, "", append([]string{"eval", bundle, "--device", device, "--json", "--kl", base, "--logits", file, "--force", "--chunk", fmt.Sprint(chunk)}, args...)...)
		var got evalReport
		decodeStrictly(t, r.succeedsNoting(t), &got)
		arrays(t, file)["logits"].compare(t, fmt.Sprintf("%s, chunks of %d: logits", device, chunk), want, lockstep.Logits, 0)
		if got.Device != device || math.Abs(*got.Loss-*reference.Loss) > lockstep.Logits || *got.KL.Loss != *reference.Loss || *got.KL.Max > lockstep.Logits*lockstep.Logits || got.KL.SameTop < 1 {
			t.Errorf("chunks of %d: %+v, %+v; the reference has a loss of %v", chunk, got, got.KL, *reference.Loss)
		}
		// Without logits the device scores tokens itself.
		var scored evalReport
		decodeStrictly(t, smelt(t, "", append([]string{"eval", bundle, "--device", device, "--json", "--chunk", fmt.Sprint(chunk)}, args...)...).succeedsNoting(t), &scored)
		if off := math.Abs(*scored.Loss - *got.Loss); !(off <= 8e-6+*got.Loss*0x1p-23) || scored.Predicted != got.Predicted || scored.Tokens != got.Tokens {
			t.Errorf("chunks of %d: scored on the device %+v, on the host %+v", chunk, scored, got)
		}
		if note := fmt.Sprintf("planned anew in memory for %d, with the same kernels", chunk); strings.Contains(r.errors, note) != (chunk > 3) {
			t.Errorf("chunks of %d: said %q", chunk, r.errors)
		}
	}
	if left := firstMatch(t, bundle, "bundle.json"); left == "" {
		t.Error("the bundle is gone")
	}
}

// succeedsNoting is succeeds for commands that say something on standard error.
func (r result) succeedsNoting(t *testing.T) string {
	t.Helper()
	if r.status != 0 || strings.Contains(r.errors, "smelt:") {
		t.Fatalf("smelt %q: status %d, standard error:\n%s", r.args, r.status, r.errors)
	}
	return r.out
}

// TestEvalStride: in windows, every position has the very logits of a run over its
// window alone, and the loss is that of the tokens each scored once.
func TestEvalStride(t *testing.T) {
	for range fewer(4) {
		length := 4 + rand.IntN(9)
		stride, chunk := 1+rand.IntN(length-1), 1+rand.IntN(length)
		ids := heldOut(t, mixedFixture, length+1+rand.IntN(16))
		dir := t.TempDir()
		file, part := filepath.Join(dir, "logits"), filepath.Join(dir, "part")
		got := evalJSON(t, mixedFixture, "--tokens", commaList(ids), "--context", fmt.Sprint(length), "--stride", fmt.Sprint(stride), "--chunk", fmt.Sprint(chunk), "--logits", file)
		all := arrays(t, file)["logits"]
		vocab, loss, position, windows, read := int(all.shape[1]), 0.0, 0, 0, 0
		for begin := 0; position < len(ids); begin += stride {
			end := min(begin+length, len(ids))
			evalJSON(t, mixedFixture, "--tokens", commaList(ids[begin:end]), "--logits", part)
			window := arrays(t, part)["logits"]
			windows++
			read += end - begin
			if end < len(ids) {
				read--
				end-- // its last row is the next window's to give
			}
			for ; position < end; position++ {
				row := window.floats[(position-begin)*vocab:][:vocab]
				if !slices.Equal(all.floats[position*vocab:][:vocab], row) {
					t.Fatalf("windows of %d by %d, chunks of %d: the logits in place %d are not those of the window from %d on", length, stride, chunk, position, begin)
				}
				if position+1 < len(ids) {
					sum := 0.0
					for _, x := range row {
						sum += math.Exp(float64(x))
					}
					loss -= float64(row[ids[position+1]]) - math.Log(sum)
				}
			}
		}
		loss /= float64(len(ids) - 1)
		if math.Abs(*got.Loss-loss) > 1e-9 || got.Windows != windows || got.Read != read || got.Context != length || got.Stride != stride || got.Predicted != len(ids)-1 {
			t.Errorf("windows of %d by %d: %+v; expected a loss of %v in %d windows, %d tokens read", length, stride, got, loss, windows, read)
		}
	}
}

// TestEvalKL: of the same logits nothing, of others what the definition says; in JSON
// and in words.
func TestEvalKL(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	args := []string{mixedFixture, "--tokens", commaList(heldOut(t, mixedFixture, 9))}
	plain := evalJSON(t, append(args, "--logits", base)...)
	if got := evalJSON(t, append(args, "--kl", base, "--chunk", "4")...); got.KL == nil || got.KL.Rows != 9 || *got.KL.Max != 0 || *got.KL.Mean != 0 || got.KL.SameTop != 1 || *got.KL.Loss != *plain.Loss || got.KL.File != base {
		t.Errorf("of the same logits: %+v", got.KL)
	}
	// All probabilities equal: the divergence is the entropy that is missing.
	all := arrays(t, base)
	ids, logits := all["input_ids"], all["logits"]
	flat := filepath.Join(dir, "flat")
	must(t, safetensors.Write(flat, []safetensors.Out{
		{Name: "input_ids", DType: safetensors.I32, Shape: ids.shape, Data: int32Bytes(ids.ints)},
		{Name: "logits", DType: safetensors.F32, Shape: logits.shape, Data: make([]byte, 4*len(logits.floats))},
	}, nil))
	vocab := int(logits.shape[1])
	var want []float64
	for at := 0; at < len(logits.floats); at += vocab {
		sum, mean := 0.0, 0.0
		for _, x := range logits.floats[at:][:vocab] {
			sum += math.Exp(float64(x))
			mean += float64(x) / float64(vocab)
		}
		want = append(want, math.Log(sum)-mean-math.Log(float64(vocab)))
	}
	slices.Sort(want)
	got := evalJSON(t, append(args, "--kl", flat)...)
	for name, pair := range map[string][2]float64{"median": {*got.KL.Median, want[4]}, "p99": {*got.KL.P99, want[8]}, "max": {*got.KL.Max, want[8]}, "loss": {*got.KL.Loss, math.Log(float64(vocab))}} {
		if math.Abs(pair[0]-pair[1]) > 1e-9 {
			t.Errorf("%s is %v, expected %v", name, pair[0], pair[1])
		}
	}
	out := smelt(t, "", evalArgs(append(args, "--kl", flat)...)...).succeedsNoting(t)
	for _, line := range []string{
		fmt.Sprintf("%s: loss %.6f nats per token, perplexity %.4f\n", flat, math.Log(float64(vocab)), float64(vocab)),
		fmt.Sprintf("max %.3g\n", want[8]), fmt.Sprintf("same most probable token: %.2f %% of 9 positions\n", 100*got.KL.SameTop),
	} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
}

// TestEvalOdd: texts, windows and files of logits that do not go.
func TestEvalOdd(t *testing.T) {
	temp := t.TempDir()
	in := func(name string) string { return filepath.Join(temp, name) }
	evalJSON(t, plainFixture, "--tokens", "1,2,3", "--logits", in("logits"), "--trace", in("trace"))
	evalJSON(t, storyteller, "--tokens", "1,2,3", "--logits", in("other"))
	whole := content(t, in("logits"))
	writeFile(t, in("cut"), whole[:len(whole)-5])
	writeFile(t, in("text"), "Once upon a time there was a text.")
	writeFile(t, in("pointer"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
	tiny := filepath.Join(t.TempDir(), "bundle")
	compileJSON(t, plainFixture, "-o", tiny, "--context", "16", "--chunk", "8")
	text := []string{"--tokens", "1,2,3"}
	long := []string{"--tokens", strings.Repeat("1,", 20) + "1"}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"stride of nothing", append(long, "--stride", "0"), []string{`--stride: found "0", expected a whole number, 1 to`}},
		{"stride backwards", append(long, "--stride", "-4"), []string{`--stride: found "-4"`}},
		{"stride of a window", append(long, "--stride", "16", "--context", "16"), []string{"--stride 16: expected less than the 16 tokens of a window"}},
		{"stride beyond a window", append(text, "--stride", "600"), []string{"--stride 600: expected less than the 512 tokens of a window"}},
		{"no stride", append(long, "--context", "16"), []string{"--tokens: 21 tokens, a window has at most 16; give fewer, or --stride 8"}},
		{"windows of one", append(long, "--context", "1"), []string{"--tokens: 21 tokens, --context allows 1"}},
		{"windows of one by one", append(long, "--context", "1", "--stride", "1"), []string{"--stride 1: expected less than the 1 tokens"}},
		{"window beyond the model", append(text, "--context", "513"), []string{"--context 513", "at most 512"}},
		{"trace in windows", append(long, "--context", "16", "--stride", "8", "--trace", in("x")), []string{"--trace: the text takes 2 windows", "at most 16 tokens"}},
		{"trace on a device with kernels", append(text, "--trace", in("x"), "--device", "cpu"), []string{"--trace contradicts --device cpu: only the reference device"}},
		{"float64 on a device with kernels", append(text, "--precision", "64", "--device", "standin"), []string{"--precision 64 contradicts --device standin"}},
		{"no such target", append(text, "--device", "cuda", "--target", "gpu"), []string{"--target gpu: no such target; expected cpu, metal, cuda"}},
		{"another target", append(text, "--device", "cpu", "--target", "cuda"), []string{"--target cuda: the device cpu runs the kernels of cpu"}},
		{"target of no device", append(text, "--target", "cuda"), []string{"--target cuda: the device reference runs no kernels"}},
		{"no such device", append(text, "--device", "gpu"), []string{"--device gpu: expected " + devices.All().Choices()}},

		{"logits of another text", append([]string{"--tokens", "1,2,4"}, "--kl", in("logits")), []string{"--kl: " + in("logits") + ": logits of another text: its token in place 3 is 3, here it is 4"}},
		{"logits of a longer text", append([]string{"--tokens", "1,2"}, "--kl", in("logits")), []string{"logits of 3 tokens, the text has 2"}},
		{"logits of a shorter text", append([]string{"--tokens", "1,2,3,4"}, "--kl", in("logits")), []string{"logits of 3 tokens, the text has 4"}},
		{"logits of another vocabulary", append(text, "--kl", in("other")), []string{"logits for a vocabulary of 4096, the model has 256"}},
		{"logits cut short", append(text, "--kl", in("cut")), []string{"--kl: ", in("cut")}},
		{"no logits", append(text, "--kl", in("trace")), []string{"--kl: " + in("trace") + ": found no tensor logits"}},
		{"a text for logits", append(text, "--kl", in("text")), []string{"--kl: ", `is a text ("Once upon a time`}},
		{"a pointer for logits", append(text, "--kl", in("pointer")), []string{"--kl: ", "Git LFS pointer"}},
		{"a folder for logits", append(text, "--kl", temp), []string{"--kl: ", temp}},
		{"nothing for logits", append(text, "--kl", in("absent")), []string{"--kl: ", "no such file"}},
		{"no name for logits", append(text, "--kl", ""), []string{"--kl needs the name of a file, is empty"}},
		{"logits over what is read", append(text, "--kl", in("logits"), "--logits", in("logits"), "--force"), []string{"--logits: ", "the file of --kl"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			smelt(t, "", evalArgs(append([]string{plainFixture}, c.args...)...)...).fails(t, c.want...)
			if _, err := os.Stat(in("x")); err == nil {
				t.Error("a file is left")
			}
		})
	}
	t.Run("a bundle's context", func(t *testing.T) {
		smelt(t, "", evalArgs(append([]string{tiny}, long...)...)...).fails(t, "--tokens: 21 tokens, a window has at most 16", "--stride 8")
		smelt(t, "", evalArgs(append([]string{tiny, "--context", "17"}, long...)...)...).fails(t, "--context 17", "at most 16")
		smelt(t, "", evalArgs(append([]string{tiny, "--chunk", "9"}, long...)...)...).fails(t, "--chunk 9", "at most 8")
		if got := evalJSON(t, append([]string{tiny, "--stride", "15"}, long...)...); got.Windows != 2 || got.Predicted != 20 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("one token", func(t *testing.T) {
		evalJSON(t, plainFixture, "--tokens", "9", "--logits", in("one"))
		got := evalJSON(t, plainFixture, "--tokens", "9", "--kl", in("one"), "--stride", "3")
		if got.Loss != nil || got.KL.Loss != nil || got.KL.Rows != 1 || *got.KL.Max != 0 {
			data, _ := json.Marshal(got)
			t.Errorf("%s", data)
		}
		out := smelt(t, "", evalArgs(plainFixture, "--tokens", "9", "--kl", in("one"))...).succeedsNoting(t)
		if want := "1 token; a loss needs two\ndivergence from it, in nats: mean 0, median 0, 99 % 0, max 0\nsame most probable token: 100.00 % of 1 position\n"; out != want {
			t.Errorf("found %q, expected %q", out, want)
		}
	})
}
