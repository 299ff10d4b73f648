package lower

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// newRowsTest is a step of rows for a kernel that uses one cache, "log".
func newRowsTest(rows []ir.Row, c *program.Cache) (*Input, *memory) {
	in := testInput(target.GPU, ops.RopeAttr{Dims: 2, Theta: 10000}, program.Decode, "rows")
	in.Caches["log"] = c
	return in, newMemory(in, rows)
}

// TestCacheRowsLoad reads rows of every format, of several slots, at indices
// beyond a ring's capacity, with small and large (64-bit) logs.
func TestCacheRowsLoad(t *testing.T) {
	rows := []ir.Row{{Slot: 0, Position: 3}, {Slot: 2, Position: 40}, {Slot: 1, Position: 1000}, {Slot: 2, Position: 11}}
	for _, format := range []string{"f32", "bf16", "fp8_b64_r0", "fp8_b64_r64", "fp8_b64_r32", "fp4_b32"} {
		for _, width := range []int{96, 128, 160, 512} {
			for _, capacity := range []int{16, 20} {
				c := &program.Cache{Row: rowLayout(t, format, width), Capacity: capacity, Ring: true, Slots: 3}
				testLoad(t, c, rows)
			}
		}
	}
	huge := &program.Cache{Row: rowLayout(t, "fp8_b64_r64", 512), Capacity: 1 << 26, Slots: 4} // 2^36 bytes, of which slot 0's first are there
	testLoad(t, huge, []ir.Row{{Position: 3}, {Position: 40}})
}

// testLoad: a kernel copies the rows' own log rows to a tensor.
func testLoad(t *testing.T, c *program.Cache, rows []ir.Row) {
	t.Helper()
	width, r := c.Row.Width, rand.New(rand.NewPCG(5, 5))
	in, mem := newRowsTest(rows, c)
	mem.states["log"] = poisoned(min(c.Capacity, 64) * min(c.Slots, 3) * c.Row.Bytes)
	var want []float32
	for _, row := range rows {
		x := normals(r, width)
		at := int(row.Slot)*c.Capacity + int(row.Position)
		if c.Ring {
			at = int(row.Slot)*c.Capacity + int(row.Position)%c.Capacity
		}
		bytes := mem.states["log"][at*c.Row.Bytes:][:c.Row.Bytes]
		encoding.EncodeRow(c.Row, bytes, x)
		encoding.DecodeRow(c.Row, x, bytes)
		want = append(want, x...)
	}
	result := testValue(1, ir.F32, width)
	u := in.begin("copy", kernel.Schedule{Threads: 32})
	log := u.cacheRows("log", "log", kernel.Read)
	y := u.activation4("y", result, kernel.Write)
	row := u.Let("row", kernel.Group(0))
	from := log.row(u.StepAt("slot", row), u.StepAt("position", row))
	u.For("chunk", kernel.Lane(), i32(width/4), i32(32), func(chunk *kernel.Expr) {
		v := log.load4(from, chunk.Mul(i32(4)))
		y.Set(row.Mul(i32(width/4)).Add(chunk), kernel.Vector(v[:]...))
	})
	launch, err := u.launch("", ir.Sym("T"))
	if err != nil {
		t.Fatal(err)
	}
	mem.run(t, []program.Launch{launch})
	if got := floats(mem.values[result]); !sameBits(got, want) {
		t.Errorf("%s rows of %d, capacity %d: read %v, want %v", c.Row.Format.Name(), width, c.Capacity, got, want)
	}
}

// TestCacheRowsSetFloat appends element by element, as products do.
func TestCacheRowsSetFloat(t *testing.T) {
	rows := []ir.Row{{Slot: 1, Position: 18}, {Slot: 0, Position: 2}}
	c := &program.Cache{Row: rowLayout(t, "f32", 12), Capacity: 16, Ring: true, Slots: 2}
	in, mem := newRowsTest(rows, c)
	u := in.begin("number", kernel.Schedule{Threads: 32})
	log := u.cacheRows("log", "log", kernel.Write)
	row := u.Let("row", kernel.Group(0))
	to := log.row(u.StepAt("slot", row), u.StepAt("position", row))
	u.If(kernel.Lane().Lt(i32(12)), func() { log.setFloat(to, kernel.Lane(), row.Mul(i32(100)).Add(kernel.Lane()).To(kernel.F32)) }, nil)
	launch, err := u.launch("", ir.Sym("T"))
	if err != nil {
		t.Fatal(err)
	}
	mem.run(t, []program.Launch{launch})
	want := poisoned(2 * 16 * 48)
	for i, at := range []int{16 + 2, 2} {
		var x []float32
		for n := range 12 {
			x = append(x, float32(100*i+n))
		}
		copy(want[at*48:], floatBytes(x))
	}
	if !slices.Equal(mem.states["log"], want) {
		t.Errorf("memory is %v", floats(mem.states["log"]))
	}
}

// TestCacheRowsRefuse: layouts that chunks of four do not fit.
func TestCacheRowsRefuse(t *testing.T) {
	for _, c := range []struct {
		format string
		width  int
		want   string
	}{
		{"bf16", 6, "elements 0 to 5 as bf16 in runs of 4 only"},
		{"fp8_b64_r3", 8, "elements 0 to 4 as e4m3 in runs of 4 only"},
		{"fp4_b32", 36, "elements 0 to 35 as e2m1 in runs of 8 only"},
	} {
		in, _ := newRowsTest(nil, &program.Cache{Row: rowLayout(t, c.format, c.width), Capacity: 4, Slots: 1})
		u := in.begin("none", kernel.Schedule{Threads: 32})
		u.cacheRows("log", "log", kernel.Read)
		if _, err := u.launch(""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %d: error %v", c.format, c.width, err)
		}
	}
	in, _ := newRowsTest(nil, &program.Cache{Row: rowLayout(t, "bf16", 8), Capacity: 4, Slots: 1})
	u := in.begin("none", kernel.Schedule{Threads: 32})
	log := u.cacheRows("log", "log", kernel.Write)
	log.setFloat(log.row(i32(0), i32(0)), i32(0), f32(1))
	if _, err := u.launch(""); err == nil || !strings.Contains(err.Error(), "log holds rows as bf16") {
		t.Errorf("element of a bf16 row: error %v", err)
	}
	u = in.begin("none", kernel.Schedule{Threads: 32})
	u.cacheRows("log", "other", kernel.Read)
	if _, err := u.launch(""); err == nil || !strings.Contains(err.Error(), "state @other has no place") {
		t.Errorf("unknown state: error %v", fmt.Sprint(err))
	}
}
