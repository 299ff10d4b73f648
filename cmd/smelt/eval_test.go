package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/runtime/sampling"
)

// evalArgs is a command line that evaluates on the reference device, unless it names
// another: what is not about devices need not compile kernels.
func evalArgs(args ...string) []string {
	if !slices.Contains(args, "--device") {
		args = append(args, "--device", "reference")
	}
	return append([]string{"eval"}, args...)
}

func evalJSON(t *testing.T, args ...string) (r evalReport) {
	t.Helper()
	out := smelt(t, "", evalArgs(append([]string{"--json"}, args...)...)...).succeeds(t)
	decodeStrictly(t, out, &r)
	return r
}

// array is a tensor of a file: floats or ints.
type array struct {
	shape  []int64
	floats []float32
	ints   []int32
}

// arrays reads all F32 and I32 tensors of a file; there must be no others.
func arrays(t *testing.T, path string) map[string]array {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]array{}
	for _, x := range f.Tensors() {
		a := array{shape: slices.Clone(x.Shape)}
		for b := x.Data(); len(b) > 0; b = b[4:] {
			switch word := binary.LittleEndian.Uint32(b); x.DType {
			case safetensors.F32:
				a.floats = append(a.floats, math.Float32frombits(word))
			case safetensors.I32:
				a.ints = append(a.ints, int32(word))
			default:
				t.Fatalf("%s: %s is %s", path, x.Name, x.DType)
			}
		}
		all[x.Name] = a
	}
	return all
}

// rows picks rows of the first dimension.
func (a array) rows(wanted []int32) array {
	width := len(a.floats) / int(a.shape[0])
	out := array{shape: slices.Clone(a.shape)}
	out.shape[0] = int64(len(wanted))
	for _, r := range wanted {
		out.floats = append(out.floats, a.floats[int(r)*width:(int(r)+1)*width]...)
	}
	return out
}

// compare requires the same shape, the same integers, and reals within limit
// and units of the wanted value's last place.
func (a array) compare(t *testing.T, name string, want array, limit, units float64) {
	t.Helper()
	if !slices.Equal(a.shape, want.shape) || len(a.floats) != len(want.floats) || !slices.Equal(a.ints, want.ints) {
		t.Errorf("%s: shape %v, the golden has %v; or integers differ", name, a.shape, want.shape)
		return
	}
	for i, w := range want.floats {
		size := float32(math.Abs(float64(w)))
		unit := float64(math.Nextafter32(size, math.MaxFloat32)) - float64(size)
		if d := math.Abs(float64(a.floats[i]) - float64(w)); !(d <= limit+units*unit) {
			t.Errorf("%s[%d] is %v, the golden has %v", name, i, a.floats[i], w)
			return
		}
	}
}

func commaList(ids []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")
}

// TestEvalGolden: files of logits and intermediates hold what the reference
// computed, under the same names: in float32 within 2e-4, in float64 to a unit
// in the last place of the file's float32.
func TestEvalGolden(t *testing.T) {
	for name, dir := range checkpoints(t) {
		if name == "storyteller" || testing.Short() && dir != mixedFixture {
			continue
		}
		want := arrays(t, filepath.Join(dir, "golden.safetensors"))
		for _, c := range []struct {
			prompt, precision string
			limit, units      float64
		}{
			{"p0.", "32", 2e-4, 0}, {"p1.", "32", 2e-4, 0}, {"p0.", "64", 1e-9, 1}, {"p1.", "64", 1e-9, 1},
		} {
			t.Run(name+"/"+c.prompt+c.precision, func(t *testing.T) {
				temp := t.TempDir()
				logits, trace := filepath.Join(temp, "logits"), filepath.Join(temp, "trace")
				ids := want[c.prompt+"input_ids"]
				r := evalJSON(t, dir, "--tokens", commaList(ids.ints), "--precision", c.precision, "--logits", logits, "--trace", trace)
				if r.Tokens != len(ids.ints) || r.Predicted != len(ids.ints)-1 || fmt.Sprint(r.Precision) != c.precision || !(r.Seconds > 0) {
					t.Errorf("got %+v", r)
				}
				got := arrays(t, logits)
				if len(got) != 2 {
					t.Errorf("%d tensors beside the logits", len(got)-1)
				}
				got["input_ids"].compare(t, "input_ids", ids, 0, 0)
				got["logits"].compare(t, "logits", want[c.prompt+"logits"], c.limit, c.units)
				compareTrace(t, arrays(t, trace), want, c.prompt, c.limit, c.units)
			})
		}
	}
}

// compareTrace requires the golden's tensors of a prompt and no others.
func compareTrace(t *testing.T, got, want map[string]array, prompt string, limit, units float64) {
	t.Helper()
	for name := range got {
		if _, ok := want[prompt+name]; !ok {
			t.Errorf("the golden has no %s", name)
		}
	}
	compared := 0
	for full, w := range want {
		name, ok := strings.CutPrefix(full, prompt)
		if !ok || strings.HasSuffix(name, "positions") || strings.Contains(name, "logits") {
			continue
		}
		g, ok := got[name]
		if !ok {
			t.Errorf("the trace has no %s", name)
			continue
		}
		if layer, what, _ := strings.Cut(name, "."); what == "after_attn" || what == "after_ffn" {
			g = g.rows(want[prompt+layer+".positions"].ints)
		}
		g.compare(t, name, w, limit, units)
		compared++
	}
	if compared != len(got) {
		t.Errorf("compared %d of %d tensors", compared, len(got))
	}
}

// TestEvalChunks: however a text is cut, files and figures have the same bytes.
func TestEvalChunks(t *testing.T) {
	golden := arrays(t, filepath.Join(mixedFixture, "golden.safetensors"))
	for _, c := range []struct {
		prompt string
		chunks []int
	}{{"p1.", []int{37, 1, 3, 4, 7, 36, 128}}, {"p2.", []int{300, 64, 129}}} {
		if testing.Short() && c.prompt == "p2." {
			continue
		}
		c.chunks = c.chunks[:max(3, fewer(len(c.chunks)))]
		ids := commaList(golden[c.prompt+"input_ids"].ints)
		var first []string
		for _, chunk := range c.chunks {
			temp := t.TempDir()
			logits, trace := filepath.Join(temp, "logits"), filepath.Join(temp, "trace")
			r := smelt(t, "", evalArgs(mixedFixture, "--tokens", ids, "--chunk", fmt.Sprint(chunk), "--logits", logits, "--trace", trace)...)
			if r.status != 0 {
				t.Fatalf("status %d: %s", r.status, r.errors)
			}
			got := []string{r.out, content(t, logits), content(t, trace)}
			if first == nil {
				first = got
			}
			for i, what := range []string{"figures", "logits", "trace"} {
				if got[i] != first[i] {
					t.Errorf("%s in chunks of %d: %s differ from those of one step", c.prompt, chunk, what)
				}
			}
		}
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestEvalLoss works the loss out again from the file of logits.
func TestEvalLoss(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logits")
	args := []string{storyteller, "--tokens", "0,779,576,261,502,14,487,306"}
	r := evalJSON(t, append(args, "--logits", path)...)
	got := arrays(t, path)
	ids, logits := got["input_ids"].ints, got["logits"]
	vocab := int(logits.shape[1])
	sum := 0.0
	for i, next := range ids[1:] {
		row := logits.floats[i*vocab : (i+1)*vocab]
		total := 0.0
		for _, x := range row {
			total += math.Exp(float64(x))
		}
		sum -= math.Log(math.Exp(float64(row[next])) / total)
	}
	loss := sum / float64(len(ids)-1)
	if r.Loss == nil || math.Abs(*r.Loss-loss) > 1e-12 || r.Perplexity == nil || math.Abs(*r.Perplexity-math.Exp(loss)) > 1e-10 || r.Tokens != 8 || r.Predicted != 7 {
		t.Errorf("got %+v, want a loss of %v", r, loss)
	}
	plain := smelt(t, "", evalArgs(args...)...)
	if want := fmt.Sprintf("loss %.6f nats per token, perplexity %.4f, over 7 predicted tokens\n", loss, math.Exp(loss)); plain.status != 0 || plain.out != want {
		t.Errorf("got %q, want %q", plain.out, want)
	}
	if !strings.HasPrefix(plain.errors, "8 tokens in ") || !strings.HasSuffix(plain.errors, " in float32 on device reference\n") {
		t.Errorf("standard error %q", plain.errors)
	}
}

func TestNegativeLogProbability(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name   string
		logits []float64
		token  int32
		want   float64
	}{
		{"even", []float64{0, 0}, 0, math.Ln2},
		{"shifted far up", []float64{1000, 1000, 1000, 1000}, 3, 2 * math.Ln2},
		{"shifted far down", []float64{-1000, -1000}, 1, math.Ln2},
		{"certain", []float64{800, -800}, 0, 0},
		{"hopeless", []float64{800, -800}, 1, 1600},
		{"impossible", []float64{0, -inf}, 1, inf},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := -sampling.LogProb(c.logits, c.token); !(math.Abs(got-c.want) <= 4e-16*c.want || got == c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if finite(inf) != nil || finite(-inf) != nil || finite(math.NaN()) != nil || *finite(1.5) != 1.5 {
		t.Error("finite is not what JSON can say")
	}
}

// TestEvalSources: each way to give the same tokens gives the same figures.
func TestEvalSources(t *testing.T) {
	temp := t.TempDir()
	file := func(name, text string) string { return writeFile(t, filepath.Join(temp, name), text) }
	want := evalJSON(t, storyteller, "--tokens", "0,779,576,261,502")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"spaces", []string{"--tokens", "0 779 576 261 502"}},
		{"JSON in the flag", []string{"--tokens", "[0, 779, 576, 261, 502]"}},
		{"commas", []string{"--tokens-file", file("commas", "0,779,576,261,502")}},
		{"lines", []string{"--tokens-file", file("lines", "0\n779\n576\n261\n502\n")}},
		{"JSON", []string{"--tokens-file", file("json", "[\n 0, 779, 576,\n 261, 502\n]\n")}},
		{"text", []string{"--text-file", file("text", "Once upon a time")}},
		{"text that has the first token", []string{"--text-file", file("bos", "<｜begin▁of▁sentence｜>Once upon a time")}},
		{"text without the first token put", []string{"--no-bos", "--text-file", filepath.Join(temp, "bos")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := evalJSON(t, append([]string{storyteller}, c.args...)...); got.Tokens != 5 || *got.Loss != *want.Loss {
				t.Errorf("%d tokens, loss %v; want 5, %v", got.Tokens, *got.Loss, *want.Loss)
			}
		})
	}
	if got := evalJSON(t, storyteller, "--no-bos", "--text-file", filepath.Join(temp, "text")); got.Tokens != 4 {
		t.Errorf("with --no-bos there are %d tokens, expected 4", got.Tokens)
	}
}

func TestEvalOneToken(t *testing.T) {
	for name, dir := range checkpoints(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "trace")
			if r := evalJSON(t, dir, "--tokens", "3", "--trace", path); r.Tokens != 1 || r.Predicted != 0 || r.Loss != nil || r.Perplexity != nil {
				t.Errorf("got %+v", r)
			}
			indexed := 0
			for name, a := range arrays(t, path) {
				if a.shape[0] != 1 {
					t.Errorf("%s has the shape %v", name, a.shape)
				}
				if strings.HasSuffix(name, "index_topk") {
					indexed++
					if !slices.Equal(a.ints, []int32{-1}) {
						t.Errorf("%s is %v, but there is no entry yet", name, a.ints)
					}
				}
			}
			if indexed == 0 {
				t.Error("no list of the indexer")
			}
			if r := smelt(t, "", evalArgs(dir, "--tokens", "3")...); r.status != 0 || r.out != "1 token; a loss needs two\n" {
				t.Errorf("status %d, %q", r.status, r.out)
			}
		})
	}
}

func TestEvalRefuses(t *testing.T) {
	temp := t.TempDir()
	file := func(name, text string) string { return writeFile(t, filepath.Join(temp, name), text) }
	out := t.TempDir()
	in := func(name string) string { return filepath.Join(out, name) }
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no checkpoint", nil, []string{"expected one CHECKPOINT or BUNDLE", "smelt eval --help"}},
		{"nothing there", []string{"nowhere", "--tokens", "1"}, []string{"nowhere", "no such file"}},
		{"unknown flag", []string{plainFixture, "--prompt", "x"}, []string{"--prompt", "smelt eval --help"}},
		{"no source", []string{plainFixture}, []string{"one of --tokens, --tokens-file and --text-file, got 0"}},
		{"two sources", []string{plainFixture, "--tokens", "1", "--text-file", "x"}, []string{"got 2"}},
		{"no-bos with ids", []string{plainFixture, "--tokens", "1", "--no-bos"}, []string{"--no-bos only goes with --text-file"}},
		{"no chunk", []string{plainFixture, "--tokens", "1", "--chunk", "0"}, []string{`--chunk: found "0", expected`}},
		{"half precision", []string{plainFixture, "--tokens", "1", "--precision", "16"}, []string{`--precision: found "16", expected a whole number, 32 to 64`}},
		{"precision between", []string{plainFixture, "--tokens", "1", "--precision", "48"}, []string{"--precision must be 32 or 64, is 48"}},
		{"one file for two things", []string{plainFixture, "--tokens", "1", "--logits", in("x"), "--trace", in("x")}, []string{"--logits and --trace name the same file"}},
		{"one file spelt twice", []string{plainFixture, "--tokens", "1", "--logits", "x", "--trace", "./x"}, []string{"--logits and --trace name the same file"}},
		{"logits without a name", []string{plainFixture, "--tokens", "1", "--logits", ""}, []string{"--logits needs the name of a file"}},
		{"trace without a name", []string{plainFixture, "--tokens", "1", "--trace="}, []string{"--trace needs the name of a file"}},
		{"text file without a name", []string{plainFixture, "--text-file", ""}, []string{"--text-file needs the name of a file"}},
		{"tokens file without a name", []string{plainFixture, "--tokens-file", ""}, []string{"--tokens-file needs the name of a file"}},

		{"no tokens", []string{plainFixture, "--tokens", ""}, []string{"--tokens: no tokens; give at least one"}},
		{"no tokens in the file", []string{plainFixture, "--tokens-file", file("empty", "[]\n")}, []string{"empty: no tokens"}},
		{"no text without the first token", []string{storyteller, "--no-bos", "--text-file", file("nothing", "")}, []string{"nothing: no tokens"}},
		{"token outside the vocabulary", []string{plainFixture, "--tokens", "1,255,256", "--logits", in("x")}, []string{"--tokens: token 256 in place 3 is outside the vocabulary of 256"}},
		{"token of the file outside the vocabulary", []string{plainFixture, "--tokens-file", file("outside", "[256]")}, []string{"outside: token 256 in place 1"}},
		{"negative token", []string{plainFixture, "--tokens", "1,-1"}, []string{"--tokens", `"-1" in place 2`}},
		{"words for tokens", []string{plainFixture, "--tokens-file", file("words", "Once upon")}, []string{"words: expected token ids", `"Once" in place 1`}},
		{"more than the model's context", []string{plainFixture, "--tokens", strings.Repeat("1,", 512) + "1"}, []string{"--tokens: 513 tokens", "at most 512"}},
		{"no tokens file", []string{plainFixture, "--tokens-file", filepath.Join(temp, "absent")}, []string{"--tokens-file", "absent", "no such file"}},
		{"no text file", []string{storyteller, "--text-file", filepath.Join(temp, "absent")}, []string{"--text-file", "absent", "no such file"}},
		{"folder for a text file", []string{storyteller, "--text-file", temp}, []string{temp, "is a folder"}},
		{"no tokenizer", []string{plainFixture, "--text-file", file("text", "x")}, []string{plainFixture, "no tokenizer.json"}},
		{"invalid UTF-8", []string{storyteller, "--text-file", file("bad", "ab\xff")}, []string{"bad: ", "not valid UTF-8 at byte 2"}},

		{"logits into no folder", []string{plainFixture, "--tokens", "1", "--logits", in("a/b")}, []string{"--logits: ", "there is no such folder", "make the folder first"}},
		{"logits into a file", []string{plainFixture, "--tokens", "1", "--logits", filepath.Join(temp, "text", "b")}, []string{"--logits", "is not a folder"}},
		{"logits to a folder", []string{plainFixture, "--tokens", "1", "--logits", temp}, []string{"--logits", "is a folder"}},
		{"trace into no folder", []string{plainFixture, "--tokens", "1", "--logits", in("x"), "--trace", in("a/b")}, []string{"--trace: ", "there is no such folder", "make the folder first"}},
		{"trace to a folder", []string{plainFixture, "--tokens", "1", "--logits", in("x"), "--trace", temp}, []string{"--trace", "is a folder"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			smelt(t, "", evalArgs(c.args...)...).fails(t, c.want...)
			requireFiles(t, out)
		})
	}
}

// requireFiles requires a folder to hold these files and no others.
func requireFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("in the folder are %v, expected %v", names, want)
	}
}

// TestEvalUnwritable: a folder the user may not write into. Root may write
// everywhere, so root runs this as somebody else where it can.
func TestEvalUnwritable(t *testing.T) {
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{dir: 0o555, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	asOrdinaryUser(t, func() {
		if probe, err := os.Create(filepath.Join(dir, "probe")); err == nil {
			probe.Close()
			os.Remove(probe.Name())
			t.Errorf("the test runs as a user who may write everywhere")
			return
		}
		smelt(t, "", evalArgs(plainFixture, "--tokens", "1", "--logits", filepath.Join(dir, "x"))...).fails(t, "permission denied")
	})
	requireFiles(t, dir)
}

// TestEvalInterrupted: no file appears, one that was there stays as it was.
func TestEvalInterrupted(t *testing.T) {
	dir := t.TempDir()
	logits := filepath.Join(dir, "logits")
	evalJSON(t, plainFixture, "--tokens", "7", "--logits", logits)
	before := content(t, logits)
	args := evalArgs(plainFixture, "--tokens", "1,2,3,4,5", "--chunk", "2", "--logits", logits, "--trace", filepath.Join(dir, "trace"))
	var out bytes.Buffer
	r := smeltWith(interruptAfter(t, 2), &out, args...)
	if r.status != statusInterrupted || out.Len() != 0 || !strings.Contains(r.errors, "interrupted after 4 of 5 tokens; nothing was written\n") || strings.Count(r.errors, "smelt: ") != 1 {
		t.Errorf("status %d, standard output %q, standard error %q", r.status, out.String(), r.errors)
	}
	requireFiles(t, dir, "logits")
	if content(t, logits) != before {
		t.Error("the file that was there has changed")
	}
	if r := smeltWith(interruptAfter(t, 3), &out, args...); r.status != 0 {
		t.Errorf("interrupted after the end: status %d, %s", r.status, r.errors)
	}
	requireFiles(t, dir, "logits", "trace")
}

func TestEvalOutputFails(t *testing.T) {
	for _, args := range [][]string{nil, {"--json"}} {
		r := smeltWith(t.Context(), fullDisk{}, evalArgs(append([]string{plainFixture, "--tokens", "1,2"}, args...)...)...)
		if r.status != 1 || r.errors != "smelt: disk full\n" {
			t.Errorf("%v: status %d, standard error %q", args, r.status, r.errors)
		}
	}
}

// BenchmarkEval computes the logits of 300 tokens.
func BenchmarkEval(b *testing.B) {
	ids := strings.Repeat("1,", 299) + "1"
	for b.Loop() {
		var out bytes.Buffer
		if r := smeltWith(b.Context(), &out, evalArgs(mixedFixture, "--tokens", ids, "--json")...); r.status != 0 {
			b.Fatal(r.errors)
		}
	}
	b.ReportMetric(300*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}
