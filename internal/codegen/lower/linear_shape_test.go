package lower

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/passes/fusion"
)

// TestLinearShape: launches of products of V4-Flash's sizes have several threadgroups and
// SIMD groups for each core, as far as there are columns to share.
func TestLinearShape(t *testing.T) {
	fp8, bf16 := "fp8_e4m3_b128", "bf16"
	for _, c := range []struct {
		name     string
		products []fusion.Product
		stored   string
		k        int
		metal    decodeShape
		cuda     decodeShape
	}{
		{"attn_in", []fusion.Product{{N: 1024}, {N: 512}}, fp8, 4096, decodeShape{1, 4}, decodeShape{1, 4}},
		{"attn_in with a compressor", []fusion.Product{{N: 1024}, {N: 512}, {N: 1024}}, fp8, 4096, decodeShape{1, 4}, decodeShape{1, 4}},
		{"attn_q", []fusion.Product{{N: 32768}}, fp8, 1024, decodeShape{8, 1}, decodeShape{4, 1}},
		{"attn_out_a", []fusion.Product{{N: 1024, Groups: 8}}, fp8, 4096, decodeShape{2, 1}, decodeShape{1, 2}},
		{"router", []fusion.Product{{N: 256}, {N: 2048, Gate: "w"}}, fp8, 4096, decodeShape{1, 4}, decodeShape{1, 4}},
		{"head", []fusion.Product{{N: 129280}}, bf16, 4096, decodeShape{8, 1}, decodeShape{8, 1}},
		{"few outputs, few columns", []fusion.Product{{N: 9}}, fp8, 512, decodeShape{2, 1}, decodeShape{2, 1}},
	} {
		e, err := encoding.Parse(c.stored)
		if err != nil {
			t.Fatal(err)
		}
		l := &fusion.Linear{K: c.k}
		for _, p := range c.products {
			p.Weight, p.Groups = "w", max(p.Groups, 1)
			l.Products = append(l.Products, p)
		}
		in := &Input{Phase: program.Decode, Params: storage.Parameters{"w": {Name: "w", Rows: 1 << 17, Cols: c.k, Lead: 1, Encoding: e, Pieces: make([]storage.Piece, 1)}}}
		for _, on := range []struct {
			target target.Target
			want   decodeShape
		}{{target.GPU, c.metal}, {target.CUDA, c.cuda}} {
			in.Target = on.target
			got, err := in.linearShape(l)
			if err != nil || got != on.want {
				t.Errorf("%s on %s: %+v, %v, want %+v", c.name, on.target.Name, got, err, on.want)
			}
			on.target.MaxThreads = 64
			in.Target = on.target
			if small, err := in.linearShape(l); err != nil || small.schedule(in).Threads != 64 {
				t.Errorf("%s on %s with threadgroups of 64 threads: %+v, %v", c.name, on.target.Name, small, err)
			}
		}
	}
}

// TestSharedColumns multiplies by matrices whose columns SIMD groups share, all of them
// or with another runs left over, with and without a norm: sums are right, and a row's
// are the same bits alone and in company.
func TestSharedColumns(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 16))
	for i, c := range []struct {
		encoding  string
		n, k      int
		skew      int
		wantShare int
	}{
		{"fp8_e4m3_b128", 9, 4096, 8, 4}, {"fp8_e4m3_b128", 5, 2560, 3, 2}, {"bf16", 34, 1024, 0, 2}, {"fp4_e2m1_g32", 1, 4096, 8, 2},
		{"affine4_g64_bf16", 7, 8192, 4, 4}, {"affine3_g32_f32", 6, 8192, 8, 4}, {"q8_0", 3, 8192, 2, 8}, {"f32", 5, 1088, 8, 4},
	} {
		e, err := encoding.Parse(c.encoding)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("%d_%s", i, c.encoding), func(t *testing.T) {
			p := newProductOf(t, rng, e, c.n, c.k, c.skew, 1, i%2 == 1)
			p.in.Target = target.GPU
			for _, rows := range []int{1, 2, 5} {
				p.check(t, program.Decode, rows)
			}
			l := &fusion.Linear{K: c.k, Products: []fusion.Product{{Weight: "w", N: c.n, Groups: 1}}}
			if s, err := p.in.linearShape(l); err != nil || s.shares != c.wantShare {
				t.Errorf("%d SIMD groups share columns, %v, want %d", s.shares, err, c.wantShare)
			}
		})
	}
}
