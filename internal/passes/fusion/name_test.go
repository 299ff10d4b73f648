package fusion

import "testing"

func TestRegionName(t *testing.T) {
	for _, c := range []struct {
		role  string
		names []string
		want  string
	}{
		{"qkv_a", []string{"layers.3.attn.wq_a.weight", "layers.3.attn.compressor.ape"}, "layers.3.attn.qkv_a"},
		{"attend", []string{"layers.3.attn.window", "", "layers.3.attn.sink"}, "layers.3.attn.attend"},
		{"hyper", []string{"layers.10.a", "layers.1.b"}, "layers.hyper"},
		{"", []string{"head.weight"}, "head"},
		{"hyper", []string{"hc_head_fn", "hc_head_scale", "hc_head_base"}, "hc_head.hyper"},
		{"cache", []string{"window", "norm.weight"}, "cache"},
		{"cache", []string{"window"}, "window.cache"},
		{"in", nil, "in"},
	} {
		if got := regionName(c.role, nil, c.names...); got != c.want {
			t.Errorf("%s of %q: got %q, want %q", c.role, c.names, got, c.want)
		}
	}
}

func TestPlainLetters(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"thd,tkd->thk", "abc,adc->abd"},
		{"xjk,xjd->xkd", "tjk,tjd->tkd"},
	} {
		if plainLetters(c.a) != plainLetters(c.b) {
			t.Errorf("%s and %s are the same", c.a, c.b)
		}
	}
	if plainLetters(writeSpec) == plainLetters("tkj,tjd->tkd") {
		t.Error("comb not transposed is another einsum")
	}
}
