package cacheformat_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/passes/cacheformat"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/models"
)

// quantisedFixtures lists the checkpoints whose golden file has logits with
// simulated cache formats: the repository's, and those of SMELT_SHARED.
func quantisedFixtures(t *testing.T) []string {
	t.Helper()
	dirs := []string{filepath.FromSlash("../../models/deepseekv4/testdata/fixtures/b-official-fp8fp4")}
	if shared := os.Getenv("SMELT_SHARED"); shared != "" {
		return append(dirs, filepath.Join(shared, "fixtures", "a-official-fp8fp4"))
	}
	t.Log("SMELT_SHARED is unset: fixtures outside the repository did not run")
	return dirs
}

// goldenTensor gives the words of a tensor with elements of four bytes.
func goldenTensor(t *testing.T, f *safetensors.File, name string) (words []uint32) {
	t.Helper()
	for _, x := range f.Tensors() {
		if x.Name == name {
			for at := 0; at < int(x.Bytes); at += 4 {
				words = append(words, binary.LittleEndian.Uint32(x.Data()[at:]))
			}
			return words
		}
	}
	t.Fatalf("%s has no tensor %s", f.Path(), name)
	return nil
}

// logits evaluates a prompt in one step.
func logits[F tensor.Float](t *testing.T, m *ir.Module, w eval.Weights, tokens []uint32) []F {
	t.Helper()
	ma, err := eval.New[F](m, w)
	if err != nil {
		t.Fatal(err)
	}
	var rows []ir.Row
	var wanted []int
	for i, token := range tokens {
		rows, wanted = append(rows, ir.Row{Token: int32(token), Position: int32(i)}), append(wanted, i)
	}
	out, err := ma.Step(rows, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].F
}

// difference is the largest one, and the largest beyond half a unit in the last
// place of the float32 that the golden file has.
func difference[F tensor.Float](t *testing.T, got []F, want []uint32) (plain, beyond float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d logits, the golden has %d", len(got), len(want))
	}
	for i, bits := range want {
		w := math.Float32frombits(bits)
		d := math.Abs(float64(got[i]) - float64(w))
		if !(d <= math.MaxFloat64) {
			return math.Inf(1), math.Inf(1)
		}
		a := float32(math.Abs(float64(w)))
		plain, beyond = max(plain, d), max(beyond, d-(float64(math.Nextafter32(a, math.MaxFloat32))-float64(a))/2)
	}
	return plain, beyond
}

// TestChooseGolden compares logits with the reference's, which simulates
// FP8 rows and FP4 index keys. In float32 a value may lie on the other side of
// a rounding step than in the reference's float64.
func TestChooseGolden(t *testing.T) {
	for _, dir := range quantisedFixtures(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m, err := models.Open(dir, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			g, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			rounded, choices, err := cacheformat.Choose(m.Graph, cacheformat.Formats{Rows: "fp8", Keys: "fp4", RopeExact: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(choices) != len(m.Graph.States) {
				t.Errorf("%d choices for %d states", len(choices), len(m.Graph.States))
			}
			tokens, want := goldenTensor(t, g, "p1.input_ids"), goldenTensor(t, g, "p1.logits_kvquant")
			d32, _ := difference(t, logits[float32](t, rounded, m.Weights, tokens), want)
			_, d64 := difference(t, logits[float64](t, rounded, m.Weights, tokens), want)
			plain, _ := difference(t, logits[float64](t, m.Graph, m.Weights, tokens), want)
			t.Logf("logits differ by %.1e in float32, %.1e beyond rounding in float64; without the pass by %.1e", d32, d64, plain)
			if !(d32 <= 2e-4) || !(d64 <= 1e-9) {
				t.Errorf("float32 %.3g (limit 2e-4), float64 %.3g beyond rounding (limit 1e-9)", d32, d64)
			}
		})
	}
}

// TestCacheRowsSurvive: what a fixture's graph appends comes back from its stored format.
func TestCacheRowsSurvive(t *testing.T) {
	model, err := models.Open(quantisedFixtures(t)[0], models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	for _, f := range []cacheformat.Formats{{Rows: "fp8", Keys: "fp4"}, {Rows: "bf16", Keys: "bf16"}} {
		m, _, err := cacheformat.Choose(model.Graph, f)
		if err != nil {
			t.Fatal(err)
		}
		layouts := map[string]encoding.RowLayout{} // by the name that the appended value gets
		for _, n := range m.Nodes {
			if n.Op != ops.Append {
				continue
			}
			s := m.State(n.Args[0].Def.Symbol)
			format, err := encoding.ParseRow(s.Stored)
			if err != nil {
				t.Fatal(err)
			}
			width, _ := s.Row.Shape[0].Value()
			n.Args[3].Name = "appended." + s.Name
			if layouts[n.Args[3].Name], err = format.Layout(int(width)); err != nil {
				t.Fatal(err)
			}
		}
		survive[float32](t, m, model.Weights, layouts)
		survive[float64](t, m, model.Weights, layouts)
	}
}

func survive[F tensor.Float](t *testing.T, m *ir.Module, w eval.Weights, layouts map[string]encoding.RowLayout) {
	t.Helper()
	ma, err := eval.New[F](m, w)
	if err != nil {
		t.Fatal(err)
	}
	compared := map[string]bool{}
	ma.Observe = func(name string, v tensor.Value[F]) {
		l, ok := layouts[name]
		if _, is64 := any(F(0)).(float64); !ok || is64 && l.Format.Name() == "f32" {
			return // a compressor's float64 values are more than f32 holds
		}
		bytes, back := make([]byte, l.Bytes), make([]F, l.Width)
		for row := range slices.Chunk(v.F, l.Width) {
			encoding.EncodeRow(l, bytes, row)
			encoding.DecodeRow(l, back, bytes)
			if !slices.Equal(row, back) {
				t.Errorf("%s: %v comes back from %s as %v", name, row, l.Format.Name(), back)
				return
			}
			compared[l.Format.Name()] = true
		}
	}
	var rows []ir.Row
	for i := range 9 {
		rows = append(rows, ir.Row{Token: int32(7*i + 1), Position: int32(i)})
	}
	if _, err := ma.Step(rows, nil); err != nil {
		t.Fatal(err)
	}
	for _, l := range layouts {
		if name := l.Format.Name(); name != "f32" && !compared[name] {
			t.Errorf("no row was stored as %s", name)
		}
	}
}

// small has a window that attention looks at, keys that choose, and a state of another kind.
const small = `module @small
symbol T = rows
symbol P = reach
input %token : tensor<T x i32>
input %position : tensor<T x i32>
input %slot : tensor<T x i32>
param @embed : tensor<16 x 96 x f32>
param @sink : tensor<2 x f32>
state @window : tensor<96 x f32> keep P
state @keys : tensor<32 x f32> keep P
state @plain : tensor<96 x f32> keep P
%3 = dequantize @embed : tensor<16 x 96 x f32>
%x = take_rows(%3, %token) : tensor<T x 96 x f32>
%seen = index_range(%position) {count = P, limit = i+1} : tensor<T x P x i32>
%6 = slice(%x) {axis = 1, count = 32} : tensor<T x 32 x f32>
%7 = rope(%6, %position) {dims = 8, theta = 100.0} : tensor<T x 32 x f32>
%8 = state @keys : state<32 x f32>
%9 = append(%8, %slot, %position, %7) : state<32 x f32>
%10 = read(%9, %slot, %seen) : tensor<T x P x 32 x f32>
%11 = reshape(%7) {shape = [T, 1, 32]} : tensor<T x 1 x 32 x f32>
%12 = einsum(%10, %11) {spec = "tkd,thd->thk"} : tensor<T x 1 x P x f32>
%13 = relu(%12) : tensor<T x 1 x P x f32>
%14 = reduce_sum(%13) {axis = 1} : tensor<T x P x f32>
%chosen = topk(%14, %seen) {k = 2} : tensor<T x 2 x i32>
%16 = rope(%x, %position) {dims = 16, theta = 100.0} : tensor<T x 96 x f32>
%17 = state @window : state<96 x f32>
%18 = append(%17, %slot, %position, %16) : state<96 x f32>
%19 = read(%18, %slot, %chosen) : tensor<T x 2 x 96 x f32>
%20 = reshape(%x) {shape = [T, 1, 96]} : tensor<T x 1 x 96 x f32>
%21 = broadcast(%20) {shape = [T, 2, 96]} : tensor<T x 2 x 96 x f32>
%22 = einsum(%21, %19) {spec = "thd,tkd->thk"} : tensor<T x 2 x 2 x f32>
%23 = mask(%22, %chosen) {fill = -inf} : tensor<T x 2 x 2 x f32>
%24 = dequantize @sink : tensor<2 x f32>
%25 = sink_softmax(%23, %24) : tensor<T x 2 x 2 x f32>
%26 = state @plain : state<96 x f32>
%27 = append(%26, %slot, %position, %x) : state<96 x f32>
return %25
`

func parse(t *testing.T, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("test.ir", src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// inserted lists the lines of roundings in a printed module, each with the line behind the last of a run.
func inserted(m *ir.Module) string {
	var out []string
	run := false
	for _, line := range strings.Split(text.String(m), "\n") {
		isRounding := strings.Contains(line, " = round_to(") || strings.Contains(line, " = hadamard(")
		if isRounding || run || strings.HasPrefix(line, "state ") {
			out = append(out, line)
		}
		run = isRounding
	}
	return strings.Join(out, "\n")
}

func TestChoose(t *testing.T) {
	const (
		window = "attended rows: their product goes into a softmax with sink"
		keys   = "index keys: their product goes through a relu into topk"
		plain  = "@plain: f32 (its rows are not rotated vectors)"
	)
	for _, c := range []struct {
		name    string
		formats cacheformat.Formats
		choices []string
		want    string
	}{
		{"as trained", cacheformat.Formats{Rows: "fp8", Keys: "fp4"},
			[]string{"@window: fp8_b64_r16 (" + window + ")", "@keys: fp4_b32 (" + keys + ")", plain},
			`state @window : tensor<96 x f32> keep P stored fp8_b64_r16
state @keys : tensor<32 x f32> keep P stored fp4_b32
state @plain : tensor<96 x f32> keep P stored f32
%9 = hadamard(%7) : tensor<T x 32 x f32>
%keys.row = round_to(%9) {format = "e2m1", block = 32, count = 32} : tensor<T x 32 x f32>
%11 = append(%8, %slot, %position, %keys.row) : state<32 x f32>
%14 = hadamard(%13) : tensor<T x 1 x 32 x f32>
%keys.query = round_to(%14) {format = "e2m1", block = 32, count = 32} : tensor<T x 1 x 32 x f32>
%16 = einsum(%12, %keys.query) {spec = "tkd,thd->thk"} : tensor<T x 1 x P x f32>
%22 = round_to(%20) {format = "e4m3", block = 64, count = 80} : tensor<T x 96 x f32>
%window.row = round_to(%22) {format = "bf16", from = 80, count = 16} : tensor<T x 96 x f32>
%24 = append(%21, %slot, %position, %window.row) : state<96 x f32>`},
		{"the reference's simulation", cacheformat.Formats{Rows: "fp8", Keys: "bf16", RopeExact: true},
			[]string{"@window: f32 (" + window + "; rounded to fp8 but for the rotated elements)", "@keys: bf16 (" + keys + ")", plain},
			`state @window : tensor<96 x f32> keep P stored f32
state @keys : tensor<32 x f32> keep P stored bf16
state @plain : tensor<96 x f32> keep P stored f32
%keys.row = round_to(%7) {format = "bf16", count = 32} : tensor<T x 32 x f32>
%10 = append(%8, %slot, %position, %keys.row) : state<32 x f32>
%window.row = round_to(%17) {format = "e4m3", block = 64, count = 80} : tensor<T x 96 x f32>
%20 = append(%18, %slot, %position, %window.row) : state<96 x f32>`},
		{"bf16 rows", cacheformat.Formats{Rows: "bf16", Keys: "f32", RopeExact: true},
			[]string{"@window: bf16 (" + window + ")", "@keys: f32 (" + keys + ")", plain},
			`state @window : tensor<96 x f32> keep P stored bf16
state @keys : tensor<32 x f32> keep P stored f32
state @plain : tensor<96 x f32> keep P stored f32
%window.row = round_to(%16) {format = "bf16", count = 96} : tensor<T x 96 x f32>
%19 = append(%17, %slot, %position, %window.row) : state<96 x f32>`},
		{"nothing rounded", cacheformat.Formats{Rows: "f32", Keys: "f32"},
			[]string{"@window: f32 (" + window + ")", "@keys: f32 (" + keys + ")", plain},
			`state @window : tensor<96 x f32> keep P stored f32
state @keys : tensor<32 x f32> keep P stored f32
state @plain : tensor<96 x f32> keep P stored f32`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := parse(t, small)
			got, choices, err := cacheformat.Choose(m, c.formats)
			if err != nil {
				t.Fatal(err)
			}
			if s := inserted(got); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
			for i, want := range c.choices {
				if choices[i].String() != want {
					t.Errorf("choice %s, want %s", choices[i], want)
				}
			}
			if text.String(m) != small {
				t.Error("the module that was given changed")
			}
		})
	}
}

// TestChooseLeaves has states whose use is not that of rows or keys; they stay f32.
func TestChooseLeaves(t *testing.T) {
	const unread = "rotated, but neither attention nor an index reads it"
	scores := small[strings.Index(small, "%12 = "):strings.Index(small, "%16 = ")]
	for _, c := range []struct{ name, old, with, state, why string }{
		{"not rotated", "append(%17, %slot, %position, %16)", "append(%17, %slot, %position, %x)", "window", "its rows are not rotated vectors"},
		{"no softmax with sink", "%25 = sink_softmax(%23, %24)", "%25 = softmax(%23) {axis = 2}", "window", unread},
		{"no relu", "%13 = relu(%12)", "%13 = sqrt(%12)", "keys", unread},
		{"product is used otherwise too", "%14 = reduce_sum(%13)", "%more = add(%13, %12) : tensor<T x 1 x P x f32>\n%14 = reduce_sum(%more)", "keys", unread},
		{"product is a result", "return %25", "return %25, %12", "keys", unread},
		{"keys are used otherwise too", "return %25", "%more = sqrt(%10) : tensor<T x P x 32 x f32>\nreturn %25", "keys", unread},
		{"keys are a result", "return %25", "return %25, %10", "keys", unread},
		{"sum over another axis", scores, `%b = broadcast(%11) {shape = [T, P, 32]} : tensor<T x P x 32 x f32>
%w = reduce_sum(%b) {axis = 2} : tensor<T x P x f32>
%12 = einsum(%10, %w) {spec = "tkd,tk->td"} : tensor<T x 32 x f32>
%13 = relu(%12) : tensor<T x 32 x f32>
%14 = scale(%13) {by = 2.0} : tensor<T x 32 x f32>
%chosen = topk(%14) {k = 2} : tensor<T x 2 x i32>
`, "keys", unread},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(small, c.old) {
				t.Fatal("nothing is replaced")
			}
			m := parse(t, strings.Replace(small, c.old, c.with, 1))
			got, choices, err := cacheformat.Choose(m, cacheformat.Formats{Rows: "fp8", Keys: "fp4"})
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range got.States {
				if s.Name == c.state && (s.Stored != "f32" || choices[i].Why != c.why) {
					t.Errorf("@%s is stored as %s: %s", s.Name, s.Stored, choices[i].Why)
				}
			}
		})
	}
}

func TestChooseErrors(t *testing.T) {
	good := cacheformat.Formats{Rows: "fp8", Keys: "fp4"}
	for _, c := range []struct {
		name    string
		formats cacheformat.Formats
		replace []string
		want    string
	}{
		{"rows", cacheformat.Formats{Rows: "fp4", Keys: "fp4"}, nil, `cache formats: expected rows as f32, bf16 or fp8, found "fp4"`},
		{"keys", cacheformat.Formats{Rows: "fp8"}, nil, `cache formats: expected index keys as f32, bf16 or fp4, found ""`},
		{"twice", good, []string{"state @keys : tensor<32 x f32> keep P", "state @keys : tensor<32 x f32> keep P stored bf16"},
			"state @keys is stored as bf16 already; cache formats are chosen once"},
		{"width of keys", good, []string{"<32 x", "<24 x", "x 32 x", "x 24 x", "32}", "24}", "32]", "24]"}, "state @keys: expected index keys of a power of two of elements for fp4 (hadamard), found 24; keep them as bf16"},
		{"all rotated", good, []string{"dims = 16", "dims = 96"}, "state @window: fp8_b64_r96: expected a row of more than 96 elements, found 96"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := small
			for i := 0; i < len(c.replace); i += 2 {
				src = strings.ReplaceAll(src, c.replace[i], c.replace[i+1])
			}
			if _, _, err := cacheformat.Choose(parse(t, src), c.formats); err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}
