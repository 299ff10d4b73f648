package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// copied lists a step's dispatches that copy rings, of a role.
func copied(s *Step, role string) (list []*Dispatch) {
	for _, d := range s.Dispatches {
		if d.Region == program.RingsRegion && d.Role == role {
			list = append(list, d)
		}
	}
	return list
}

// TestRings: slots' rings have rows for what is looked back to and a decode step,
// whatever the chunk is; areas for the chunk. They are copied once a layer, add no level
// and are gone when the layer is done, so that layers share their memory.
func TestRings(t *testing.T) {
	o := small
	o.Chunk, o.Context = 128, 1024
	p := built(t, o)
	for _, c := range p.Caches {
		keep, ring := c.State.Keep.Value()
		if ring && c.Capacity != int(keep)+15 {
			t.Errorf("@%s: a slot's ring of %d rows, keep %d", c.State.Name, c.Capacity, keep)
		}
	}
	s := p.Step(program.Prefill)
	layers := 3
	if ins, outs := len(copied(s, program.RingsIn)), len(copied(s, program.RingsOut)); ins != layers || outs != layers {
		t.Errorf("%d copies in and %d out, expected one of each for %d layers", ins, outs, layers)
	}
	if n := len(copied(p.Step(program.Decode), program.RingsIn)); n > 0 {
		t.Errorf("%d copies in a decode step", n)
	}
	for level := range s.Dispatches[len(s.Dispatches)-1].Level + 1 {
		if !slices.ContainsFunc(s.Dispatches, func(d *Dispatch) bool { return d.Level == level && d.Region != program.RingsRegion }) {
			t.Errorf("level %d has copies of rings alone", level)
		}
	}
	ofLayer, atLevel := map[string]int64{}, map[int]int64{}
	for _, b := range s.Buffers {
		if b.Area == nil {
			continue
		}
		layer := strings.Split(b.Name, ".")[1]
		ofLayer[layer] += b.Size
		for level := b.First; level <= b.Last; level++ {
			atLevel[level] += b.Size
		}
		keep, _ := b.Area.State.Keep.Value()
		if want := int(keep) + 127; b.Area.Capacity != want || b.Size < int64(want*b.Area.Row.Bytes) {
			t.Errorf("%s has %d rows in %d bytes, expected %d", b.Name, b.Area.Capacity, b.Size, want)
		}
	}
	if most, largest := slices.Max(slices.Collect(maps.Values(atLevel))), slices.Max(slices.Collect(maps.Values(ofLayer))); most > largest {
		t.Errorf("areas of %d bytes live together; the largest layer has %d", most, largest)
	}
}

// TestJoin: uses that share a ring become one, from the first to the last of them.
func TestJoin(t *testing.T) {
	var groups []*ringUse
	for at, states := range []string{"a b", "c", "d", "b", "e c", "f", "a e"} {
		groups = join(groups, &ringUse{strings.Fields(states), at, at})
	}
	var got []string
	for _, g := range groups {
		slices.Sort(g.states)
		got = append(got, fmt.Sprint(g.states, g.first, g.last))
	}
	if want := []string{"[a b c e] 0 6", "[d] 2 2", "[f] 5 5"}; !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
}

// TestCheckRings: a prefill step whose rings are copied otherwise is refused.
func TestCheckRings(t *testing.T) {
	module, _ := fused()
	in := func(s *Step) *Dispatch { return copied(s, program.RingsIn)[0] }
	out := func(s *Step) *Dispatch { return copied(s, program.RingsOut)[0] }
	without := func(s *Step, d *Dispatch) {
		i := slices.Index(s.Dispatches, d)
		s.Dispatches = slices.Delete(s.Dispatches, i, i+1)
	}
	// move puts a dispatch to the end, or the beginning, behind a barrier that is there.
	move := func(s *Step, d *Dispatch, to int) {
		without(s, d)
		s.Dispatches = slices.Insert(s.Dispatches, to, d)
	}
	for _, c := range []struct {
		name  string
		spoil func(p *Plan, s *Step)
		want  string
	}{
		{"no copy in", func(_ *Plan, s *Step) { without(s, in(s)) }, "0 copies into the area and 1 out"},
		{"no copy out", func(_ *Plan, s *Step) { without(s, out(s)) }, "1 copies into the area and 0 out"},
		{"a copy in twice", func(_ *Plan, s *Step) {
			again := *in(s)
			again.Barrier = true
			s.Dispatches = slices.Insert(s.Dispatches, slices.Index(s.Dispatches, in(s))+1, &again)
		}, "is use 2 of the area"},
		{"a copy of no direction", func(_ *Plan, s *Step) { in(s).Role = "x" }, "no copy of rings"},
		{"a copy that is out", func(_ *Plan, s *Step) { in(s).Role = program.RingsOut }, "no ring and its area"},
		{"another layer's area", func(_ *Plan, s *Step) {
			a, b := copied(s, program.RingsIn)[0], copied(s, program.RingsIn)[1]
			a.Args[1].Buffer, b.Args[1].Buffer = b.Args[1].Buffer, a.Args[1].Buffer
		}, "no ring and its area"},
		{"a copy out before what it copies is there", func(_ *Plan, s *Step) {
			d := out(s)
			move(s, d, slices.Index(s.Dispatches, in(s))+1)
			d.Barrier, s.Dispatches[slices.Index(s.Dispatches, d)+1].Barrier = true, true
		}, "after the copy out of it"},
		{"a kernel on the slots' rows", func(p *Plan, s *Step) {
			for _, d := range s.Dispatches {
				for i, a := range d.Args {
					if a.Buffer != nil && a.Buffer.Area != nil && d.Region != program.RingsRegion && a.Param.Access == kernel.Read {
						d.Args[i].Cache, d.Args[i].Buffer = cacheOf(p, a.Buffer.Area.State), nil
						return
					}
				}
			}
		}, "conflict over"},
		{"a kernel on the slots' rows, behind a barrier", func(p *Plan, s *Step) {
			for i, d := range s.Dispatches {
				for n, a := range d.Args {
					if a.Buffer != nil && a.Buffer.Area != nil && d.Region != program.RingsRegion && a.Param.Access == kernel.Read {
						d.Args[n].Cache, d.Args[n].Buffer = cacheOf(p, a.Buffer.Area.State), nil
						s.Dispatches[i+1].Barrier = true
						return
					}
				}
			}
		}, "uses the slots' rows"},
		{"a short area", func(_ *Plan, s *Step) {
			for _, b := range s.Buffers {
				if b.Area != nil {
					b.Area.Capacity--
				}
			}
		}, "an area of 46 rows"},
		{"a decode step with an area", func(p *Plan, s *Step) {
			p.Steps[0].Buffers = append(p.Steps[0].Buffers, in(s).Args[1].Buffer)
		}, "is the area of no ring of a prefill step"},
		{"a decode step with a copy", func(p *Plan, s *Step) {
			p.Steps[0].Dispatches = append([]*Dispatch{{Kernel: in(s).Kernel, Region: program.RingsRegion, Role: program.RingsIn, Args: nil}}, p.Steps[0].Dispatches...)
		}, "no copy of rings of a prefill step"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := built(t, small)
			c.spoil(p, p.Steps[1])
			if err := p.Check(module); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected %q", err, c.want)
			}
		})
	}
}

func cacheOf(p *Plan, s *ir.State) *Cache {
	return p.Caches[slices.IndexFunc(p.Caches, func(c *Cache) bool { return c.State == s })]
}
