package checkpoint

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// TestSkew: where a view starts follows from its tensor's offset and its first row.
func TestSkew(t *testing.T) {
	tensor := func(offset int64, bytes int64, shape ...int64) *Tensor {
		return &Tensor{Offset: offset, Bytes: bytes, Shape: shape}
	}
	tests := []struct {
		name string
		view View
		want int
	}{
		{"aligned", View{Weight: tensor(4096, 64, 4, 16)}, 0},
		{"odd start", View{Weight: tensor(4099, 64, 4, 16)}, 3},
		{"row of 16 bytes", View{Weight: tensor(4099, 64, 4, 16), StoredFirst: 3}, 3},
		{"row of 6 bytes", View{Weight: tensor(1, 24, 4, 3), StoredFirst: 3}, 3},
		{"stacked", View{Weight: tensor(5, 2*3*10, 2, 3, 5), StoredFirst: 4}, 13},
		{"vector", View{Weight: tensor(31, 8, 4)}, 15},
		{"scalar", View{Weight: tensor(18, 4)}, 2},
		{"far out", View{Weight: tensor(1<<40+7, 1<<33, 1<<20, 4096), StoredFirst: 1<<20 - 1}, 7},
	}
	for _, test := range tests {
		if got := test.view.Skew(); got != test.want {
			t.Errorf("%s: skew %d, want %d", test.name, got, test.want)
		}
	}
}

// TestLocate finds rows over views of different heights.
func TestLocate(t *testing.T) {
	s := &source{rows: 10, views: []View{{First: 0, Rows: 1, StoredFirst: 40}, {First: 1, Rows: 6, StoredFirst: 7}, {First: 7, Rows: 3, StoredFirst: 0}}}
	var got []int
	for r := range s.rows {
		_, row := s.locate(r)
		got = append(got, row)
	}
	if want := []int{40, 7, 8, 9, 10, 11, 12, 0, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("rows are found at %v, want %v", got, want)
	}
}

// TestInts reads integer parameters, whole and in pieces, and says what a
// checkpoint may get wrong about their values.
func TestInts(t *testing.T) {
	i64 := func(values ...int64) (data []byte) {
		for _, v := range values {
			data = binary.LittleEndian.AppendUint64(data, uint64(v))
		}
		return data
	}
	c := openTensors(t, raw("s.t", safetensors.I64, i64(1, 2, 3, -4, 1<<31, 0), 3, 2), bf16("s.w", 2, 2),
		raw("s.p.0.weight", safetensors.U8, []byte{1, 2, 3, 4}, 2, 2), raw("s.p.1.weight", safetensors.I16, []byte{5, 0, 6, 0, 7, 0, 255, 255}, 2, 2))
	b := mustBind(t, c, rules(at("t", "s.t"), at("w", "s.w"), at("p", "s.p.{n}")), table("t", 3, 2), param("w", 2, 2), table("p", 2, 2, 2))
	if e := b.Param("t").Encoding(); e != "I64" {
		t.Errorf("encoding %q, want the storage type", e)
	}
	ints := func(name string, r, n int) ([]int32, error) {
		dst := make([]int32, n)
		return dst, b.Param(name).Source().Ints(dst, r)
	}
	for _, want := range []struct {
		name   string
		row    int
		values []int32
	}{{"t", 0, []int32{1, 2}}, {"t", 1, []int32{3, -4}}, {"p", 1, []int32{3, 4}}, {"p", 2, []int32{5, 6}}, {"p", 3, []int32{7, -1}}} {
		if got, err := ints(want.name, want.row, 2); err != nil || !slices.Equal(got, want.values) {
			t.Errorf("%s row %d: %v, %v; want %v", want.name, want.row, got, err, want.values)
		}
	}
	for _, bad := range []struct {
		name   string
		row, n int
		want   string
	}{
		{"t", 2, 2, "parameter @t, row 2: tensor s.t: expected values of at most 32 bits (signed), found 2147483648 at index 0"},
		{"t", 0, 3, "parameter @t, row 0: tensor s.t: expected 3 values of I64 (8 bytes each), found 16 bytes"},
		{"w", 0, 2, "parameter @w holds real numbers"},
	} {
		if _, err := ints(bad.name, bad.row, bad.n); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s row %d into %d: %v, want %q", bad.name, bad.row, bad.n, err, bad.want)
		}
	}
}

// TestParamEncoding names one format for all views, or says that they differ.
func TestParamEncoding(t *testing.T) {
	mx, affine := View{Encoding: encoding.MX{Bits: 4}}, View{Encoding: encoding.Affine{Bits: 4, Group: 64, Scale: encoding.F16}}
	for _, v := range []*View{&mx, &affine} {
		v.Weight = &Tensor{DType: safetensors.U32}
	}
	for want, views := range map[string][]View{"mxfp4": {mx, mx}, "mixed": {mx, mx, affine}, "affine4_g64_f16": {affine}, "": nil} {
		if p := (&Param{Views: views}); p.Encoding() != want {
			t.Errorf("%q, want %q", p.Encoding(), want)
		}
	}
}

// TestParamFormat gives the encoding or the type of integers of all views, or says which differ.
func TestParamFormat(t *testing.T) {
	mx, plain := View{Encoding: encoding.MX{Bits: 4}, Weight: &Tensor{Name: "a", DType: safetensors.U32}}, View{Encoding: encoding.Plain{DType: encoding.BF16}, Weight: &Tensor{Name: "b", DType: safetensors.BF16}}
	ints, longs := View{Weight: &Tensor{Name: "c", DType: safetensors.I32}}, View{Weight: &Tensor{Name: "d", DType: safetensors.I64}}
	if e, i, err := (&Param{Views: []View{mx, mx}}).Format(); e != mx.Encoding || i != "" || err != nil {
		t.Errorf("%v, %q, %v", e, i, err)
	}
	if e, i, err := (&Param{Views: []View{ints, ints}, Integer: true}).Format(); e != nil || i != encoding.I32 || err != nil {
		t.Errorf("%v, %q, %v", e, i, err)
	}
	for want, p := range map[string]*Param{
		"p is stored as mxfp4 (a) and as bf16 (b), expected one format": {Name: "p", Views: []View{mx, mx, plain}},
		"p is stored as I32 (c) and as I64 (d), expected one format":    {Name: "p", Views: []View{ints, longs}, Integer: true},
	} {
		if _, _, err := p.Format(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestShare: parts of a tensor's bytes add up to all of them, without overflow.
func TestShare(t *testing.T) {
	for _, c := range []struct{ n, part, whole, want int64 }{
		{100, 0, 3, 0}, {100, 1, 3, 33}, {100, 2, 3, 66}, {100, 3, 3, 100},
		{1 << 62, 1<<40 - 1, 1 << 40, 1<<62 - 1<<22},
	} {
		if got := share(c.n, c.part, c.whole); got != c.want {
			t.Errorf("share(%d, %d, %d) = %d, want %d", c.n, c.part, c.whole, got, c.want)
		}
	}
}
