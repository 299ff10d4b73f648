package ir_test

import (
	"strings"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// pick takes the nodes of a module whose results print as refs.
func pick(t *testing.T, m *ir.Module, refs string) (out []*ir.Node) {
	t.Helper()
	for _, ref := range strings.Fields(refs) {
		before := len(out)
		for _, n := range m.Nodes {
			if n.Result.Ref() == ref {
				out = append(out, n)
			}
		}
		if len(out) == before {
			t.Fatalf("no %s", ref)
		}
	}
	return out
}

// order lists operations in their order, with regions in brackets.
func order(m *ir.Module) string {
	var out []string
	of := m.RegionOf()
	for i, n := range m.Nodes {
		r, s := of[n], n.Op.Name
		if r != nil && r.From == i {
			s = r.Name + "[" + s
		}
		if r != nil && r.To == i+1 {
			s += "]"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// In the attention module: %4 dequantize, %x, %6 dequantize, %k matmul, %8 state,
// %9 append, %10 index_range, %11 read, %12 einsum, %13 mask, %14 softmax, %mix, %16 take_rows.
func TestRegroup(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups []string // refs
		want   string
	}{
		{"none", nil,
			"dequantize take_rows dequantize matmul state append index_range read einsum mask softmax einsum take_rows"},
		{"in order", []string{"%4 %x", "%12 %13 %14 %mix"},
			"a[dequantize take_rows] dequantize matmul state append index_range read b[einsum mask softmax einsum] take_rows"},
		{"one moves up", []string{"%4 %x %10"},
			"a[dequantize take_rows index_range] dequantize matmul state append read einsum mask softmax einsum take_rows"},
		{"one waits", []string{"%6 %9 %k %8"},
			"dequantize take_rows a[dequantize matmul state append] index_range read einsum mask softmax einsum take_rows"},
		{"all the rest moves", []string{"%4 %10", "%6 %12 %13"}, ""},
		{"crossed", []string{"%6 %k", "%8 %10 %4"},
			"b[dequantize state index_range] take_rows a[dequantize matmul] append read einsum mask softmax einsum take_rows"},
		{"the whole", []string{"%4 %x %6 %k %8 %9 %10 %11 %12 %13 %14 %mix %16"},
			"a[dequantize take_rows dequantize matmul state append index_range read einsum mask softmax einsum take_rows]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := attentionModule(t)
			before := text.String(m)
			var groups []ir.Group
			for i, g := range c.groups {
				groups = append(groups, ir.Group{Kind: "test", Name: string(rune('a' + i)), Nodes: pick(t, m, g)})
			}
			got, err := ir.Regroup(m, groups)
			if c.want == "" {
				want := "module @attention: regions cannot be contiguous, each of these needs the next one first: region @b, %11, %9, %k, region @b"
				if err == nil || err.Error() != want {
					t.Errorf("error %v\nwant  %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o := order(got); o != c.want {
				t.Errorf("got  %s\nwant %s", o, c.want)
			}
			if text.String(m) != before {
				t.Error("the module changed")
			}
			if again, err := text.Parse("printed", text.String(got)); err != nil || text.String(again) != text.String(got) {
				t.Errorf("does not parse back: %v", err)
			}
			same(t, m, got)
		})
	}
}

// TestRegroupTwice: regions stay, as they are or moved, and new ones join them.
func TestRegroupTwice(t *testing.T) {
	m := attentionModule(t)
	for _, g := range []ir.Group{{Kind: "attend", Name: "late"}, {Kind: "look", Name: "early"}} {
		refs := map[string]string{"late": "%12 %13 %14 %mix", "early": "%4 %10"}[g.Name]
		g.Nodes = pick(t, m, refs)
		next, err := ir.Regroup(m, []ir.Group{g})
		if err != nil {
			t.Fatal(err)
		}
		m = next
	}
	want := "early[dequantize index_range] take_rows dequantize matmul state append read late[einsum mask softmax einsum] take_rows"
	if got := order(m); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r := m.Regions; r[0].Kind != "look" || r[1].Kind != "attend" || refs(r[0].Yields) != "%4 %5" || refs(r[1].Yields) != "%mix" {
		t.Errorf("regions are %v and %v", *r[0], *r[1])
	}
	same(t, attentionModule(t), m)
}

// twoVersions reads a state before and after it is appended to.
const twoVersions = `module @versions
symbol T = rows
symbol W = wanted
input %token : tensor<T x i32>
input %position : tensor<T x i32>
input %slot : tensor<T x i32>
input %wanted : tensor<W x i32>
param @w : tensor<16 x 4 x f32>
state @s : tensor<4 x f32> keep 4
%w = dequantize @w : tensor<16 x 4 x f32>
%x = take_rows(%w, %token) : tensor<T x 4 x f32>
%s0 = state @s : state<4 x f32>
%list = index_range(%position) {first = i-3, count = 4, limit = i} : tensor<T x 4 x i32>
%old = read(%s0, %slot, %list) : tensor<T x 4 x 4 x f32>
%s1 = append(%s0, %slot, %position, %x) : state<4 x f32>
%new = read(%s1, %slot, %list) : tensor<T x 4 x 4 x f32>
%both = add(%old, %new) : tensor<T x 4 x 4 x f32>
%sum = reduce_sum(%both) {axis = 1} : tensor<T x 4 x f32>
%out = take_rows(%sum, %wanted) : tensor<W x 4 x f32>
return %out
`

// TestRegroupVersions: a read stays before the append that consumes its version.
func TestRegroupVersions(t *testing.T) {
	for _, c := range []struct{ name, nodes, want string }{
		{"append pulled up", "%x %s1", "dequantize state index_range read g[take_rows append] read add reduce_sum take_rows"},
		{"read pushed down", "%old %both", ""},
		{"both reads", "%old %s1 %new", "dequantize take_rows state index_range g[read append read] add reduce_sum take_rows"},
		{"open and append", "%s0 %s1", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := text.Parse("versions.ir", twoVersions)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ir.Regroup(m, []ir.Group{{Kind: "test", Name: "g", Nodes: pick(t, m, c.nodes)}})
			wantErr := map[string]string{
				"":     "module @versions: regions cannot be contiguous, each of these needs the next one first: region @g, %new, %s1, region @g",
				"none": "module @versions: regions cannot be contiguous, each of these needs the next one first: region @g, %old, region @g",
			}[c.want]
			if wantErr != "" {
				if err == nil || err.Error() != wantErr {
					t.Errorf("error %v\nwant  %s", err, wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o := order(got); o != c.want {
				t.Errorf("got  %s\nwant %s", o, c.want)
			}
			same(t, m, got)
		})
	}
}

func TestRegroupErrors(t *testing.T) {
	m := regions(t)
	other := attentionModule(t)
	for _, c := range []struct {
		name   string
		groups []ir.Group
		want   string
	}{
		{"empty", []ir.Group{{Kind: "k", Name: "g"}}, "module @m: region @g: no operations are given"},
		{"another module", []ir.Group{{Kind: "k", Name: "g", Nodes: other.Nodes[:1]}}, "module @m: region @g: an operation is not of this module"},
		{"in a region", []ir.Group{{Kind: "k", Name: "g", Nodes: pick(t, m, "%4 %9")}}, "module @m: region @g: %9 is in region @in already"},
		{"in two groups", []ir.Group{{Kind: "k", Name: "g", Nodes: pick(t, m, "%4")}, {Kind: "k", Name: "h", Nodes: pick(t, m, "%4")}},
			"module @m: region @h: %4 is in region @g already"},
		{"twice in one", []ir.Group{{Kind: "k", Name: "g", Nodes: pick(t, m, "%4 %4")}}, "module @m: region @g: %4 is in region @g already"},
		{"name", []ir.Group{{Kind: "k", Name: "", Nodes: pick(t, m, "%4")}}, "module @m: region @: not a name, or declared twice"},
		{"name of another", []ir.Group{{Kind: "k", Name: "in", Nodes: pick(t, m, "%4")}}, "module @m: region @in: not a name, or declared twice"},
		{"kind", []ir.Group{{Kind: "k!", Name: "g", Nodes: pick(t, m, "%4")}}, `module @m: region @g: kind "k!" is not a name`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ir.Regroup(m, c.groups); err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}
