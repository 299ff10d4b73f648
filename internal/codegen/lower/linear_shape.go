package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
)

// decodeShape says how the SIMD groups of a threadgroup deal out a decode kernel of
// products. It follows from the products and the target, never from a step's rows.
type decodeShape struct {
	teams  int // SIMD groups, or shares of them, that make outputs of their own
	shares int // SIMD groups of a team, among which the columns are dealt out
}

const (
	// simdsPerCore is how many SIMD groups a core holds of kernels that take 80 registers
	// a lane: with fewer in a launch, loads of weights do not hide behind each other.
	simdsPerCore = 20
	// groupsPerCore is for how many threadgroups a core the outputs should do: with fewer,
	// some cores are idle while the last ones end.
	groupsPerCore = 8
	// asksPerLane is how many times a lane should ask for laneBytes of a row: fewer are soon
	// at an end, and sums over lanes cost as much as they do.
	asksPerLane = 2
)

// linearShape is the shape for all products of a region: as many SIMD groups share the
// columns as fill the cores, then threadgroups are as large as leaves enough of them.
func (in *Input) linearShape(l *fusion.Linear) (decodeShape, error) {
	if in.Target.Vector > 0 {
		return decodeShape{teams: 1, shares: 1}, nil
	}
	fours, asks, whole := 0, 0, false // whole: a threadgroup makes whole vectors, in batches
	for _, p := range l.Products {
		fours += (p.N + matvecRows - 1) / matvecRows * p.Groups
		whole = whole || p.Postprocess != nil
		for _, name := range []string{p.Weight, p.Gate} {
			if name == "" {
				continue
			}
			m, err := in.unbound(name)
			if err != nil {
				return decodeShape{}, err
			}
			if n := m.cols / (m.runColumns() * m.runsAtOnce()); asks == 0 || n < asks {
				asks = n
			}
		}
	}
	most := in.Target.Threads(linearDecodeThreads) / in.Target.SimdWidth
	s := decodeShape{teams: 1, shares: 1}
	for !whole && 2*s.shares <= most && fours*s.shares < simdsPerCore*in.Target.Cores && asks >= 2*s.shares*in.Target.SimdWidth*asksPerLane {
		s.shares *= 2
	}
	for s.grows(most) && (whole || s.shares*s.teams == 1 || fours/(2*s.teams) >= groupsPerCore*in.Target.Cores) {
		s.teams *= 2
	}
	return s, nil
}

// grows reports whether a threadgroup of `most` SIMD groups has room for twice the teams.
func (s decodeShape) grows(most int) bool { return 2*s.teams*s.shares <= most }

// schedule is the schedule of a kernel of that shape.
func (s decodeShape) schedule(in *Input) kernel.Schedule {
	if in.Target.Vector > 0 {
		sized, _ := in.matvecSchedule()
		return sized
	}
	return kernel.Schedule{Threads: s.teams * s.shares * in.Target.SimdWidth, SimdWidth: in.Target.SimdWidth}
}

// outputs is how many outputs a threadgroup makes one batch after the other.
func (s decodeShape) outputs(in *Input) int {
	if in.Target.Vector > 0 {
		_, outputs := in.matvecSchedule()
		return outputs
	}
	return s.atOnce()
}

// atOnce is how many outputs a threadgroup makes at once.
func (s decodeShape) atOnce() int { return s.teams * matvecRows }

// settings say what was chosen, and why.
func (s decodeShape) settings(in *Input) []kernel.Setting {
	if in.Target.Vector > 0 {
		return nil
	}
	return []kernel.Setting{
		{Name: "outputs per threadgroup", Value: fmt.Sprint(s.atOnce()), Why: fmt.Sprintf("as many as leave %d threadgroups for each of %d cores, or the fewest there can be", groupsPerCore, in.Target.Cores)},
		{Name: "SIMD groups that share columns", Value: fmt.Sprint(s.shares), Why: fmt.Sprintf("until there are %d SIMD groups for each core, or %d bytes of a row left for a lane", simdsPerCore, asksPerLane*laneBytes)},
	}
}

// team and share are those of this SIMD group.
func (s decodeShape) team() *kernel.Expr {
	switch {
	case s.shares == 1:
		return kernel.Simd()
	case s.teams == 1:
		return i32(0)
	}
	return kernel.Simd().Rem(i32(s.teams))
}

func (s decodeShape) share() *kernel.Expr {
	if s.teams == 1 {
		return kernel.Simd()
	}
	return kernel.Simd().Div(i32(s.teams))
}

// shared are products whose columns several SIMD groups share, in the making.
type shared struct {
	*emitter
	s     decodeShape
	parts kernel.Array // of each SIMD group all its sums
	n     int          // how many those are
}

// shared makes room for the shares of n products a team.
func (u *emitter) shared(s decodeShape, n int) *shared {
	return &shared{emitter: u, s: s, n: n, parts: u.SharedArray("shares", kernel.F32, s.teams*s.shares*n)}
}

// put leaves this SIMD group's shares where the others find them, from number `to` on.
func (h *shared) put(to *kernel.Expr, products [][]*kernel.Expr) {
	h.If(kernel.Lane().Eq(i32(0)), func() {
		at := h.Let("share_at", kernel.Simd().Mul(i32(h.n)).Add(to))
		for j := range products {
			for i, p := range products[j] {
				h.parts.Set(at.Add(i32(j*len(products[j])+i)), p)
			}
		}
	}, nil)
}

// sum adds the team's shares of a product up, in the order of the SIMD groups. A barrier
// stands between what they put there and this.
func (h *shared) sum(product *kernel.Expr) *kernel.Expr {
	at := h.Let("share_at", h.s.team().Mul(i32(h.n)).Add(product))
	total := h.parts.At(at)
	for share := 1; share < h.s.shares; share++ {
		total = total.Add(h.parts.At(at.Add(i32(share * h.s.teams * h.n))))
	}
	return h.Let("product", total)
}
