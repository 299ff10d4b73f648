package kernel

import "testing"

// TestEstimatePlaces: work that differs along any axis of the grid, or along several, is
// counted where it is done; that depends on nothing but sizes which buffers are touched.
func TestEstimatePlaces(t *testing.T) {
	k := New("places", &StepLayout{Fields: []StepField{{Name: "T", Elem: I32}, {Name: "mode", Elem: F32, Len: 4}}}, Schedule{Threads: 32, SimdWidth: 32})
	x, y, z := k.Pointer("x", Of(F32), Write), k.Pointer("y", Of(F32), Write), k.Pointer("z", Of(F32), Write)
	rare, never := k.Pointer("rare", Of(F32), Write), k.Pointer("never", Of(F32), Write)
	thread := Thread()
	k.If(Group(1).Lt(k.StepValue("T")), func() { x.Set(thread, F(1)) }, nil)
	k.If(Group(2).Ge(I(3)), func() { y.Set(thread, F(1)) }, nil)
	k.If(Group(0).Lt(I(2)).And(Group(1).Lt(I(5))), func() { z.Set(thread, F(1)) }, nil)
	k.If(Group(0).Eq(I(1)).And(Group(1).Eq(I(777))), func() { rare.Set(thread, F(1)) }, nil)
	k.If(k.StepAt("mode", I(0)).Gt(F(0)), func() { never.Set(thread, F(1)) }, nil)
	built, err := k.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	const each = 32 * 4 // bytes a threadgroup writes
	for _, c := range []struct {
		grid    [3]int64
		x, y, z int64 // threadgroups that write
	}{
		{[3]int64{1, 10, 1}, 7, 0, 5}, {[3]int64{1, 1, 8}, 8, 5, 8}, {[3]int64{1, 4, 2}, 8, 0, 8}, {[3]int64{6, 10, 1}, 6 * 7, 0, 2 * 5},
	} {
		e, err := Estimate(built, Env{Step: map[string]int64{"T": 7, "mode": 0}, Grid: c.grid})
		if err != nil {
			t.Fatal(err)
		}
		if e.Write["x"] != each*c.x || e.Write["y"] != each*c.y || e.Write["z"] != each*c.z {
			t.Errorf("%v: %v; expected %d, %d and %d times %d", c.grid, e.Write, c.x, c.y, c.z, each)
		}
		if !e.Touched["x"] || !e.Touched["y"] || !e.Touched["z"] || !e.Touched["rare"] || e.Touched["never"] {
			t.Errorf("%v: touched %v", c.grid, e.Touched)
		}
	}
	if e, err := Estimate(built, Env{Step: map[string]int64{"T": 7}, Grid: [3]int64{1, 1, 1}}); err != nil || !e.Touched["never"] || e.Write["never"] != each {
		t.Errorf("what depends on data is not counted: %v, %v", e.Write, err)
	}
}
