package devmem

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// TestTakeBack: a slot goes back as far as its rings have what rows look back to, however
// many times it is asked: 16 tokens of decode steps, none of a prompt, all of it.
func TestTakeBack(t *testing.T) {
	ring := &plan.Cache{Cache: program.Cache{Ring: true, Capacity: 8 - 1 + 16, State: &ir.State{Keep: ir.Const(8)}}}
	p := &plan.Plan{Options: plan.Options{Context: 1000, Slots: 2}, Caches: []*plan.Cache{ring}}
	s := NewSlots(p, 10)
	run := func(phase program.Phase, n int) {
		t.Helper()
		step := &plan.Step{Phase: phase, MaxRows: 100}
		rows := make([]ir.Row, n)
		for i := range rows {
			rows[i] = ir.Row{Position: int32(s.Length(1) + i), Slot: 1}
		}
		if phase == program.Decode {
			for i := range rows {
				if err := s.Check(step, rows[i:i+1], nil); err != nil {
					t.Fatal(err)
				}
				s.Take()
			}
			return
		}
		if err := s.Check(step, rows, nil); err != nil {
			t.Fatal(err)
		}
		s.Take()
	}
	back := func(length int, want string) {
		t.Helper()
		have := s.Length(1)
		switch err := s.TakeBack(1, length); {
		case want == "" && (err != nil || s.Length(1) != length):
			t.Errorf("from %d to %d: %d, %v", have, length, s.Length(1), err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || s.Length(1) != have):
			t.Errorf("from %d to %d: %d, %v; expected %q", have, length, s.Length(1), err, want)
		}
	}
	run(program.Prefill, 50)
	back(49, "those from 50 on look back to")
	run(program.Decode, 5)
	back(49, "those from 50 on")
	back(50, "")
	run(program.Decode, 30)
	back(63, "those from 64 on")
	back(70, "")
	back(64, "")
	back(63, "those from 64 on") // sixteen in all, not sixteen each time
	run(program.Decode, 3)
	back(63, "those from 64 on")
	back(64, "")
	run(program.Prefill, 1)
	back(64, "those from 65 on")
	back(0, "")
	run(program.Decode, 20)
	back(4, "")
	back(3, "those from 4 on")
	s.Reset(1)
	run(program.Prefill, 7)
	back(8, "cannot go back to 8")
	back(7, "")
}
