package eval_test

import (
	"runtime"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

// TestMemory: what slots hold when they are full, and what a step's values take, is
// what Memory says, or a little less.
func TestMemory(t *testing.T) {
	m, err := models.Open("../../models/deepseekv4/testdata/fixtures/a-bf16", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const slots, chunk, context = 8, 32, 256
	ma, err := eval.New[float32](m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	states, values, err := eval.Memory[float32](m.Graph, eval.Sizes{Rows: chunk, Wanted: chunk, Context: context, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	double, _, err := eval.Memory[float64](m.Graph, eval.Sizes{Rows: chunk, Wanted: 1, Context: context, Slots: slots})
	if err != nil || double != 2*states {
		t.Errorf("%d bytes in float64, %d in float32 (%v)", double, states, err)
	}

	var peak int64
	before := heap()
	for slot := range int32(slots) {
		live := newLive(m.Graph)
		if slot == 0 {
			ma.Exchange = live.see
		}
		for at := 0; at < context; at += chunk {
			live.now = 0
			step := make([]ir.Row, chunk)
			for i := range step {
				step[i] = ir.Row{Token: int32(at+i) % 7, Position: int32(at + i), Slot: slot}
			}
			if _, err := ma.Step(step, all(chunk)); err != nil {
				t.Fatal(err)
			}
		}
		peak, ma.Exchange = max(peak, live.peak), nil
	}
	held := heap() - before
	runtime.KeepAlive(ma)
	if held > states*5/4 || held < states/3 { // append leaves a quarter of room, and rings are dropped late
		t.Errorf("full slots hold %d bytes, expected are %d", held, states)
	}
	if peak != values {
		t.Errorf("the values of a step took %d bytes, expected are %d", peak, values)
	}
}

// heap is what the collector cannot free.
func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// live adds up the values of a step that are still needed.
type live struct {
	users     map[*ir.Value]int // nodes that have yet to use a value, of the module
	left      map[*ir.Value]int // of this step
	size      map[*ir.Value]int64
	now, peak int64
}

func newLive(m *ir.Module) *live {
	l := &live{users: map[*ir.Value]int{}, left: map[*ir.Value]int{}, size: map[*ir.Value]int64{}}
	for _, n := range m.Nodes {
		for _, a := range n.Args {
			l.users[a]++
		}
	}
	for _, r := range m.Results {
		l.users[r]++
	}
	return l
}

func (l *live) see(n *ir.Node, _ []tensor.Value[float32], v tensor.Value[float32]) tensor.Value[float32] {
	l.size[n.Result], l.left[n.Result] = int64(4*len(v.F)+4*len(v.I)), l.users[n.Result]
	l.now += l.size[n.Result]
	l.peak = max(l.peak, l.now)
	for _, a := range n.Args {
		if l.left[a]--; l.left[a] == 0 {
			l.now -= l.size[a]
		}
	}
	return v
}
