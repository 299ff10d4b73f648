package ir_test

import (
	"strings"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/ir/text"
)

// TestRewriteNothing: the identity keeps every byte.
func TestRewriteNothing(t *testing.T) {
	for _, m := range []*ir.Module{regions(t), attentionModule(t)} {
		m.Params[0].Encoding, m.States[0].Stored = "bf16", "fp8"
		got, err := ir.Rewrite(m, func(*ir.Rebuild, *ir.Node) *ir.Value { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if a, b := text.String(m), text.String(got); a != b {
			t.Errorf("was\n%s\nis\n%s", a, b)
		}
		got.States[0].Stored, got.Params[0].Encoding = "f32", "f32"
		if m.States[0].Stored != "fp8" || m.Params[0].Encoding != "bf16" {
			t.Error("the copy shares its declarations with the original")
		}
	}
}

// TestRewrite replaces, repeats and drops nodes in and outside of regions.
func TestRewrite(t *testing.T) {
	m, err := text.Parse("before.ir", `module @m
symbol T = rows
input %token : tensor<T x i32>
param @w : tensor<16 x 4 x f32>
region look @up {
  %1 = dequantize @w : tensor<16 x 4 x f32>
  %x = take_rows(%1, %token) : tensor<T x 4 x f32>
} yields %x
region double @gone {
  %y = add(%x, %x) : tensor<T x 4 x f32>
} yields %y
%3 = sqrt(%y) : tensor<T x 4 x f32>
%z = scale(%3) {by = 1.0} : tensor<T x 4 x f32>
return %z, %x
`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `module @m
symbol T = rows
input %token : tensor<T x i32>
param @w : tensor<16 x 4 x f32>
region look @up {
  %1 = dequantize @w : tensor<16 x 4 x f32>
  %2 = take_rows(%1, %token) : tensor<T x 4 x f32>
  %x = relu(%2) : tensor<T x 4 x f32>
} yields %x
%4 = sqrt(%x) : tensor<T x 4 x f32>
return %4, %x
`
	got, err := ir.Rewrite(m, func(b *ir.Rebuild, n *ir.Node) *ir.Value {
		switch n.Result.Name {
		case "x": // two nodes in place of one; the last one has the name
			return b.Add(ops.Relu, nil, b.Copy(n))
		case "y": // none: its operand
			return b.Value(n.Args[0])
		case "z": // none, and its operand does not take its name
			return b.Value(n.Args[0])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if text.String(got) != want {
		t.Errorf("got\n%s", text.String(got))
	}
}

func TestRewriteNames(t *testing.T) {
	m := attentionModule(t)
	got, err := ir.Rewrite(m, func(b *ir.Rebuild, n *ir.Node) *ir.Value {
		if n.Result.Name != "k" {
			return nil
		}
		k := b.Copy(n)
		b.Name(k, "k") // stays with the product; the square has none
		return b.Add(ops.Mul, nil, k, k)
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := text.String(got); !strings.Contains(s, "%k = matmul(") || !strings.Contains(s, " = mul(%k, %k)") || strings.Contains(s, "%k = mul") {
		t.Error(s)
	}
}

func TestRewriteDrops(t *testing.T) {
	m := regions(t)
	drop := func(what ...string) func(*ir.Rebuild, *ir.Node) *ir.Value {
		return func(b *ir.Rebuild, n *ir.Node) *ir.Value {
			for _, w := range what {
				if n.Result.Ref() == w {
					return b.Drop(n)
				}
			}
			return nil
		}
	}
	if _, err := ir.Rewrite(m, drop("%13")); err == nil || err.Error() != "%13 was dropped and is used" {
		t.Errorf("a result: error %v", err)
	}
	if _, err := ir.Rewrite(m, drop("%9")); err == nil || err.Error() != "%9 was dropped and is used" {
		t.Errorf("an operand: error %v", err)
	}
	late := func(b *ir.Rebuild, n *ir.Node) *ir.Value { return b.Value(n.Result) }
	if _, err := ir.Rewrite(m, late); err == nil || err.Error() != "%4 is used before it is rewritten" {
		t.Errorf("too early: error %v", err)
	}
	broken := func(b *ir.Rebuild, n *ir.Node) *ir.Value { return b.Add(ops.Matmul, nil) }
	if _, err := ir.Rewrite(m, broken); err == nil || err.Error() != "matmul(): takes 2 operands, got 0" {
		t.Errorf("wrong graph code: error %v", err)
	}
	m.Results = m.Regions[0].Yields[1:]
	got, err := ir.Rewrite(m, drop("%11", "%12", "%13")) // all of region @out
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Regions) != 1 || got.Regions[0].Name != "in" {
		t.Errorf("regions left: %s", text.String(got))
	}
}
