package passes

import (
	"errors"
	"io"
	"strings"
	"testing"

	"smelt.example/smelt/internal/passes/dump"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

const small = `module @small
symbol T = rows
input %token : tensor<T x i32>
param @embed : tensor<16 x 8 x f32>
%1 = dequantize @embed : tensor<16 x 8 x f32>
%2 = take_rows(%1, %token) : tensor<T x 8 x f32>
return %2
`

func same(_ *passRun, m *ir.Module) (*ir.Module, error) { return m, nil }

// TestRunErrors: what goes wrong in a pass is an error that names it.
func TestRunErrors(t *testing.T) {
	spoil := func(_ *passRun, m *ir.Module) (*ir.Module, error) {
		bad := *m
		bad.Results = nil
		return &bad, nil
	}
	for _, c := range []struct {
		name string
		run  func(*passRun, *ir.Module) (*ir.Module, error)
		want []string
	}{
		{"an error", func(*passRun, *ir.Module) (*ir.Module, error) { return nil, errors.New("no luck") }, []string{"pass second: no luck"}},
		{"a panic", func(*passRun, *ir.Module) (*ir.Module, error) { panic("oh") }, []string{"pass second, module @small", "oh", "pipeline_test.go"}},
		{"a broken module", spoil, []string{"pass second: module @small: returns nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := run(parse(t, small), Options{}, []pass{{"first", "does nothing", same}, {"second", "fails", c.run}})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if len(r.Stages) != 2 || r.Stages[1].Name != "first" || r.Module != r.Stages[1].Module {
				t.Errorf("the stages before are not kept: %v", r.Stages)
			}
		})
	}
}

// TestLeftovers: what no fusion covers is named.
func TestLeftovers(t *testing.T) {
	_, err := Run(parse(t, small), Options{})
	const want = "pass check-fused: module @small: no fusion covers %1 = dequantize, %2 = take_rows; kernels exist for fusions only."
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestOrdered(t *testing.T) {
	a, b := pass{"a", "first", same}, pass{"b", "second", same}
	for _, c := range []struct {
		name   string
		passes []pass
		orders []order
		want   string
	}{
		{"right", []pass{a, b}, []order{{"a", "b", "so be it"}}, ""},
		{"wrong order", []pass{b, a}, []order{{"a", "b", "so be it"}}, "passes: a must run before b: so be it"},
		{"unknown", []pass{a}, []order{{"a", "b", "so be it"}}, `passes: the order "a" before "b" names unknown passes or lacks a reason`},
		{"no reason", []pass{a, b}, []order{{"a", "b", ""}}, `passes: the order "a" before "b" names unknown passes or lacks a reason`},
		{"twice", []pass{a, a}, nil, "passes: two passes are named a"},
		{"no doc", []pass{{"a", "", same}}, nil, `passes: pass 0 ("a") lacks its name, doc or function`},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if got, _ := recover().(string); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}()
			ordered(c.passes, c.orders)
		})
	}
}

// TestKindsOrdered: the orders that kinds of regions ask for are the pipeline's.
func TestKindsOrdered(t *testing.T) {
	defer func() {
		const want = "passes: fuse-cache must run before fuse-linear: " +
			"the append of a finished vector is the cache's, that of a bare product is the product's"
		if got := recover(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}()
	ordered(passesOver([]fusion.Kind{fusion.KindHyper, fusion.KindAttention, fusion.KindLinear, fusion.KindCache}))
}

// TestDump: one file for each stage, which prints the stage.
func TestDump(t *testing.T) {
	files := map[string]string{}
	r, err := run(parse(t, small), Options{Dump: dump.To(func(name string, content func(io.Writer) error) error {
		var b strings.Builder
		err := content(&b)
		files[name] = b.String()
		return err
	})}, []pass{{"first", "does nothing", same}})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"00_input.ir", "01_first.ir"} {
		if got, there := files[name]; !there || got != r.Stages[i].Text() {
			t.Errorf("%s: %q", name, got)
		}
	}
	refused := errors.New("refused")
	if _, err := run(parse(t, small), Options{Dump: dump.To(func(string, func(io.Writer) error) error { return refused })}, nil); !errors.Is(err, refused) || !strings.Contains(err.Error(), "dump of the stage input") {
		t.Errorf("a file that is refused: got %v", err)
	}
}

func TestCanonicalise(t *testing.T) {
	const src = `module @moves
symbol T = rows
input %token : tensor<T x i32>
param @embed : tensor<16 x 8 x f32>
param @unused : tensor<8 x f32>
%1 = dequantize @embed : tensor<16 x 8 x f32>
%2 = take_rows(%1, %token) : tensor<T x 8 x f32>
%3 = reshape(%2) {shape = [T, 8]} : tensor<T x 8 x f32>
%4 = dequantize @unused : tensor<8 x f32>
%5 = mul(%3, %4) : tensor<T x 8 x f32>
%6 = slice(%3) {axis = -1, count = 8} : tensor<T x 8 x f32>
%7 = reshape(%6) {shape = [T, 2, 4]} : tensor<T x 2 x 4 x f32>
%8 = reshape(%7) {shape = [T, 4, 2]} : tensor<T x 4 x 2 x f32>
%named = reshape(%8) {shape = [T, 4, 2]} : tensor<T x 4 x 2 x f32>
return %named
`
	const want = `module @moves
symbol T = rows
input %token : tensor<T x i32>
param @embed : tensor<16 x 8 x f32>
param @unused : tensor<8 x f32>
%1 = dequantize @embed : tensor<16 x 8 x f32>
%2 = take_rows(%1, %token) : tensor<T x 8 x f32>
%named = reshape(%2) {shape = [T, 4, 2]} : tensor<T x 4 x 2 x f32>
return %named
`
	r, err := run(parse(t, src), Options{}, []pass{passNamed(t, "canonicalise")})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Stages[1].Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	const report = "9 to 3 operations, 0 regions: dead code 4, reshape of a reshape 2, reshape to the same shape 1, slice of all 1"
	if got := r.Stages[1].Report.String(); got != report {
		t.Errorf("got %s\nwant %s", got, report)
	}
}
