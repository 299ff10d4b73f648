package lower

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// ringTest is rings of a few states, in slots and as areas.
type ringTest struct {
	mem    *memory
	states []string
	kept   map[string]*program.Cache
	random *rand.Rand
}

// The sizes of the test's rings; chunks are no longer than testChunk.
const (
	testSlots   = 3
	testChunk   = 20
	testContext = 500
)

// newRingTest makes a ring for each keep, of rows of different lengths.
func newRingTest(t *testing.T, machine target.Target, keeps ...int) *ringTest {
	t.Helper()
	in := testInput(machine, ops.RopeAttr{Dims: 4, Theta: 10000}, program.Prefill, "none")
	x := &ringTest{mem: newMemory(in, nil), kept: map[string]*program.Cache{}, random: rand.New(rand.NewPCG(5, uint64(len(keeps))))}
	x.mem.native, x.mem.kept = true, map[string][]byte{}
	for i, keep := range keeps {
		name := fmt.Sprint("ring", i)
		s := &ir.State{Name: name, Keep: ir.Const(int64(keep))}
		row := encoding.RowLayout{Bytes: []int{16, 584, 36, 1024}[i%4]}
		x.states = append(x.states, name)
		x.kept[name] = &program.Cache{State: s, Row: row, Ring: true, Slots: testSlots, Capacity: program.KeptRows(keep, testContext)}
		in.Caches[name] = &program.Cache{State: s, Row: row, Ring: true, Slots: 1, Area: true, Capacity: program.AreaRows(keep, testChunk, testContext)}
	}
	return x
}

// fill makes memory of random bytes.
func (x *ringTest) fill(c *program.Cache) []byte {
	b := make([]byte, c.Slots*c.Capacity*c.Row.Bytes)
	for i := range b {
		b[i] = byte(x.random.Uint32())
	}
	return b
}

// ringRow is a row of a ring by its number.
func ringRow(c *program.Cache, memory []byte, slot, index int) []byte {
	return memory[(slot*c.Capacity+index%c.Capacity)*c.Row.Bytes:][:c.Row.Bytes]
}

// copies runs the copy of a role in a step of n rows from a position on, and compares all
// memory with what it should be.
func (x *ringTest) copies(t *testing.T, l program.Launch, role string, slot, position, n int) {
	t.Helper()
	x.mem.rows = nil
	for i := range n {
		x.mem.rows = append(x.mem.rows, ir.Row{Position: int32(position + i), Slot: int32(slot)})
	}
	wantKept, wantAreas := map[string][]byte{}, map[string][]byte{}
	for _, s := range x.states {
		kept, area := x.kept[s], x.mem.in.Caches[s]
		x.mem.kept[s], x.mem.states[s] = x.fill(kept), x.fill(area)
		wantKept[s], wantAreas[s] = bytes.Clone(x.mem.kept[s]), bytes.Clone(x.mem.states[s])
		next := position
		if role == program.RingsOut {
			next += n
		}
		keep, _ := kept.State.Keep.Value()
		for index := max(0, next-int(keep)+1); index < next; index++ {
			a, b := ringRow(kept, wantKept[s], slot, index), ringRow(area, wantAreas[s], 0, index)
			if role == program.RingsIn {
				a, b = b, a
			}
			copy(a, b)
		}
	}
	x.mem.run(t, []program.Launch{l})
	for _, s := range x.states {
		if !bytes.Equal(x.mem.kept[s], wantKept[s]) || !bytes.Equal(x.mem.states[s], wantAreas[s]) {
			t.Fatalf("%s, copy %s, %d rows from %d on: the rings of @%s are not what they should be", x.mem.in.Target.Name, role, n, position, s)
		}
	}
}

// TestRings: copies move exactly the rows that may be looked back to, by number, at every
// residue of every ring's size; the other slots and rows keep their bytes.
func TestRings(t *testing.T) {
	for _, machine := range targets {
		x := newRingTest(t, machine, 8, 128, 2, 7, 33)
		for _, role := range []string{program.RingsIn, program.RingsOut} {
			l, err := LowerRings(x.mem.in, Rings{role, x.states, x.kept})
			if err != nil {
				t.Fatal(err)
			}
			most := 143 + testChunk // rows of the largest ring, and of its area
			for position := range most {
				x.copies(t, l, role, position%testSlots, position, 1+x.random.IntN(testChunk))
				if testing.Short() && position > 30 {
					break
				}
			}
			x.copies(t, l, role, 1, testContext-testChunk, testChunk)
		}
	}
}

// TestRingsText: the Metal text does the same.
func TestRingsText(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: clang builds kernels")
	}
	x := newRingTest(t, target.GPU, 8, 128)
	x.mem.text = true
	for _, role := range []string{program.RingsIn, program.RingsOut} {
		l, err := LowerRings(x.mem.in, Rings{role, x.states, x.kept})
		if err != nil {
			t.Fatal(err)
		}
		x.copies(t, l, role, 1, 5, 20)
		x.copies(t, l, role, 2, 270, 3)
	}
}

// TestRingsRefuse: too many rings, and such as are none.
func TestRingsRefuse(t *testing.T) {
	x := newRingTest(t, target.GPU, 8, 1)
	log := *x.kept["ring0"]
	log.Ring = false
	for _, c := range []struct {
		states []string
		kept   map[string]*program.Cache
		want   string
	}{
		{nil, x.kept, "rings of 0 states"},
		{slices.Repeat([]string{"ring0"}, program.MaxRings+1), x.kept, "expected 1 to 16"},
		{[]string{"ring1"}, x.kept, "nothing looks back"},
		{[]string{"ring2"}, x.kept, "no ring in the slots and area"},
		{[]string{"ring0"}, map[string]*program.Cache{"ring0": &log}, "no ring in the slots and area"},
		{[]string{"ring0"}, x.mem.in.Caches, "no ring in the slots and area"},
	} {
		if _, err := LowerRings(x.mem.in, Rings{program.RingsIn, c.states, c.kept}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.states, err, c.want)
		}
	}
}
