package lower

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
)

// TestMetalText runs products as the text of their kernels, which the stand-in for
// Metal has built with sanitizers: in blocks rows begin at every multiple of two
// bytes, and planes anywhere.
func TestMetalText(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: clang builds several programs")
	}
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 14))
	for i, c := range []struct {
		encoding      string
		phase         program.Phase
		rows, n, k    int
		skew, experts int // experts: a piece each
	}{
		{"affine3_g32_f32", program.Decode, 3, 33, 96, 2, 0}, {"fp4_e2m1_g32", program.Prefill, 13, 9, 160, 3, 4},
		{"fp8_e4m3_b128_f32", program.Decode, 3, 133, 160, 1, 0}, {"fp8_e4m3_b128_bf16", program.Prefill, 9, 33, 160, 3, 0}, {"fp8_e4m3_b128_f32", program.Prefill, 9, 128, 160, 2, 4}, {"fp4_e2m1_g32_f32", program.Prefill, 5, 33, 96, 6, 0},
		{"q8_0", program.Decode, 3, 33, 96, 0, 0}, {"q8_0", program.Decode, 1, 5, 224, 7, 0}, {"q8_0", program.Prefill, 5, 33, 160, 2, 0}, {"q8_0", program.Prefill, 9, 33, 96, 6, 4}, {"q8_0", program.Prefill, 9, 9, 96, 3, 4},
	} {
		e, err := encoding.Parse(c.encoding)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("%d_%s", i, c.encoding), func(t *testing.T) {
			if c.experts > 0 {
				x := newExpertsTest(t, rng, e, c.n, c.k, c.skew, c.rows)
				x.cut(t, c.experts)
				x.in.Target, x.text = target.GPU, true
				x.check(t, c.rows)
				return
			}
			p := newProduct(t, rng, e, c.n, c.k, c.skew)
			p.in.Target, p.text = target.GPU, true
			p.check(t, c.phase, c.rows)
		})
	}
}

// runText executes a kernel as its Metal text where clang is there, after the
// interpreter.
func runText(t *testing.T, k *kernel.Kernel, launch interp.Launch) {
	t.Helper()
	restore := interpret(t, k, launch)
	if launch.Grid[0]*launch.Grid[1]*launch.Grid[2] == 0 {
		return // a kernel of other numbers of rows
	}
	c, err := standin.Find()
	if err != nil {
		return
	}
	restore()
	text, err := msl.Print(k)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Build(t.TempDir(), map[string]string{"kernel.metal": text}, standin.Options{Sanitize: true, Unoptimized: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Start()
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]standin.Addr{}
	for name, b := range launch.Buffers {
		places[name] = placed(t, h, b)
	}
	offsets, size := k.Args()
	args := make([]byte, size)
	for i, param := range k.Params {
		if v, scalar := launch.Scalars[param.Name]; scalar {
			binary.LittleEndian.PutUint32(args[offsets[i]:], uint32(v))
		} else {
			binary.LittleEndian.PutUint64(args[offsets[i]:], uint64(places[param.Name]))
		}
	}
	l := standin.Launch{Kernel: k.Name, Threads: uint32(k.Schedule.Threads), Args: args, Step: placed(t, h, launch.Step), Poison: 0xff}
	for axis, n := range launch.Grid {
		l.Grid[axis] = uint32(n)
	}
	if err := h.Launch(l); err != nil {
		t.Fatal(err)
	}
	for name, b := range launch.Buffers {
		got, err := h.Read(places[name], len(b))
		if err != nil {
			t.Fatal(err)
		}
		copy(b, got)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// placed puts bytes into a block of the host's memory that is no longer than they.
func placed(t *testing.T, h *standin.Host, data []byte) standin.Addr {
	t.Helper()
	at, err := h.Alloc(len(data), 0xff)
	if err == nil {
		err = h.Write(at, data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return at
}
