package text_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/ir/text"
)

// cases reads the archive of modules: testdata/modules.txtar. A file name.ir is
// in canonical form; name.in.ir is another spelling of the same module.
func cases(t testing.TB) (canonical map[string]string, others map[string]string) {
	t.Helper()
	a, err := txtar.ParseFile(filepath.FromSlash("testdata/modules.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	canonical, others = map[string]string{}, map[string]string{}
	for _, f := range a.Files {
		if name, ok := strings.CutSuffix(f.Name, ".in.ir"); ok {
			others[name] = string(f.Data)
		} else {
			canonical[strings.TrimSuffix(f.Name, ".ir")] = string(f.Data)
		}
	}
	return canonical, others
}

func parse(t testing.TB, name, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse(name, src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRoundTrip: a canonical text prints as it was read.
func TestRoundTrip(t *testing.T) {
	canonical, others := cases(t)
	for name, src := range canonical {
		t.Run(name, func(t *testing.T) {
			m := parse(t, name, src)
			if got := text.String(m); got != src {
				t.Errorf("printed\n%s\nread\n%s", got, src)
			}
			if err := ir.Verify(m); err != nil {
				t.Error(err)
			}
		})
	}
	for name, src := range others {
		t.Run(name+" spelled otherwise", func(t *testing.T) {
			if got, want := text.String(parse(t, name, src)), canonical[name]; got != want {
				t.Errorf("printed\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestEveryOperationAndFieldIsWritten: the archive names each operation and
// sets each attribute field.
func TestEveryOperationAndFieldIsWritten(t *testing.T) {
	canonical, _ := cases(t)
	seen := map[string]bool{}
	for name, src := range canonical {
		for _, n := range parse(t, name, src).Nodes {
			seen[n.Op.Name] = true
			for _, f := range attr.Fields(n.Attr) {
				seen[n.Op.Name+"."+f.Name] = true
			}
		}
	}
	for _, name := range ops.Names() {
		if !seen[name] {
			t.Errorf("no module in the archive uses %s", name)
		}
		for _, f := range fields(ops.Named(name)) {
			if !seen[name+"."+f] {
				t.Errorf("no module in the archive sets %s of %s", f, name)
			}
		}
	}
}

// TestParsedEqualsBuilt compares a parsed module with the builder's, part by part.
func TestParsedEqualsBuilt(t *testing.T) {
	b := ir.NewBuilder("m", ir.Symbol{Name: "T", Def: ir.Rows}, ir.Symbol{Name: "E", Def: ir.Closing, Arg: 4})
	token := b.Input("token", ir.Tensor(ir.I32, ir.Sym("T")))
	b.Param(ir.Param{Name: "w", Type: ir.Tensor(ir.F32, ir.Dims(4, 2)...), Encoding: "bf16"})
	b.State(ir.State{Name: "s", Row: ir.Tensor(ir.F32, ir.Dims(2)...), Keep: ir.Sym("E").Add(ir.Const(1)), Stored: "bf16"})
	x := b.Add(ops.TakeRows, nil, b.AddNaming(ops.Dequantize, nil, "w"), token)
	b.Name(x, "x")
	b.Region("halve", "r", func() { x = b.Add(ops.Scale, ops.ByAttr{By: 0.5}, x) })
	b.Return(x)
	built, err := b.Module()
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, "built", text.String(built))
	if fmt.Sprint(got.Name, got.Symbols) != fmt.Sprint(built.Name, built.Symbols) {
		t.Errorf("%s %v, want %s %v", got.Name, got.Symbols, built.Name, built.Symbols)
	}
	if p, q := got.Params[0], built.Params[0]; p.Name != q.Name || !p.Type.Equal(q.Type) || p.Encoding != q.Encoding {
		t.Errorf("parameter %v, want %v", *p, *q)
	}
	if p, q := got.States[0], built.States[0]; p.Name != q.Name || !p.Row.Equal(q.Row) || !p.Keep.Equal(q.Keep) || p.Stored != q.Stored {
		t.Errorf("state %v, want %v", *p, *q)
	}
	if r, w := got.Regions[0], built.Regions[0]; r.Kind != w.Kind || r.Name != w.Name || r.From != w.From || r.To != w.To || r.Yields[0].Ref() != w.Yields[0].Ref() {
		t.Errorf("region %v, want %v", *r, *w)
	}
	for i, n := range got.Nodes {
		w := built.Nodes[i]
		if n.Op != w.Op || n.Symbol != w.Symbol || !attr.Equal(n.Attr, w.Attr) || n.Result.Ref() != w.Result.Ref() || !n.Result.Type.Equal(w.Result.Type) {
			t.Errorf("node %d: %s of %s, want %s of %s", i, n.Op.Name, n.Result.Type, w.Op.Name, w.Result.Type)
		}
		for k, a := range n.Args {
			if a.Ref() != w.Args[k].Ref() {
				t.Errorf("node %d: operand %d is %s, want %s", i, k, a.Ref(), w.Args[k].Ref())
			}
		}
	}
	if got.Results[0].Ref() != built.Results[0].Ref() {
		t.Errorf("returns %s", got.Results[0].Ref())
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestPrintReportsTheWriter(t *testing.T) {
	canonical, _ := cases(t)
	for name, src := range canonical {
		if err := text.Print(failingWriter{}, parse(t, name, src)); err == nil {
			t.Errorf("%s: no error from a closed file", name)
		}
		break
	}
}
