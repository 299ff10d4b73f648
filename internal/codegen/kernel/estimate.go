package kernel

import (
	"fmt"
	"math"
)

// Env gives the sizes that an estimate is made for.
type Env struct {
	Step    map[string]int64 // the step block's numbers
	Scalars map[string]int64 // scalar parameters
	Grid    [3]int64         // threadgroups
}

// Cost counts all loads, stores and operations of a launch: an access counts once for
// each thread that makes it, with a uniform address once for each SIMD group.
type Cost struct {
	Read, Write map[string]int64 // bytes by device buffer
	Flops       int64
	Barriers    int64 // for each threadgroup
	// Touched are the buffers that some threadgroup may access: all but those that the
	// sizes rule out, wherever in a grid a threadgroup is.
	Touched map[string]bool
}

// Bytes is all traffic with device memory.
func (c Cost) Bytes() int64 {
	n := int64(0)
	for _, v := range c.Read {
		n += v
	}
	for _, v := range c.Write {
		n += v
	}
	return n
}

// followed bounds how many threadgroups an estimate follows along an axis, or along
// several together. Grids whose end has no work, in steps that are shorter than the
// longest, are rarely larger.
const followed = 65

// Estimate adds up a launch. It follows threadgroups spread over the axes of the grid
// along which their work differs, in the middle of the others: loops run as often as
// their bounds say for an average thread, a condition on lane, thread or SIMD group
// holds for the share of threads it names, and one that depends on data holds always. A
// value that depends on data counts as the About of its Let.
func Estimate(k *Kernel, e Env) (Cost, error) {
	groups := e.Grid[0] * e.Grid[1] * e.Grid[2]
	if groups < 0 {
		return Cost{}, fmt.Errorf("kernel %s: a grid of %v threadgroups", k.Name, e.Grid)
	}
	s := follow(k, e, places(k, e))
	total := Cost{Touched: touched(k, e), Read: map[string]int64{}, Write: map[string]int64{}, Barriers: int64(s.barriers + 0.5)}
	scale := float64(groups) * float64(k.Schedule.Threads)
	for name, n := range s.read {
		total.Read[name] = int64(n*scale + 0.5)
	}
	for name, n := range s.write {
		total.Write[name] = int64(n*scale + 0.5)
	}
	total.Flops = int64(s.flops*scale + 0.5)
	return total, nil
}

// touched follows a threadgroup of which nothing is known: what depends on its place
// depends on data, and may happen.
func touched(k *Kernel, e Env) map[string]bool {
	s := newEstimator(k, e)
	s.anywhere = true
	s.elements = map[element]guess{}
	s.locals = map[string]guess{}
	s.block(k.Body, 1)
	names := map[string]bool{}
	for _, accesses := range []map[string]float64{s.read, s.write} {
		for name, n := range accesses {
			if n > 0 {
				names[name] = true
			}
		}
	}
	return names
}

// places picks the threadgroups to follow: one in the middle of the grid, and of the axes
// along which work differs, there or from the first threadgroup on, some from one end to
// the other.
func places(k *Kernel, e Env) [][3]int64 {
	middle := [3]int64{e.Grid[0] / 2, e.Grid[1] / 2, e.Grid[2] / 2}
	var uneven []int
	for axis, n := range e.Grid {
		ends := []int64{0, n / 2, max(0, n-1)}
		differs := func(from [3]int64) bool { return !follow(k, e, along([][3]int64{from}, axis, ends)).even() }
		if n > 1 && (differs(middle) || differs([3]int64{})) {
			uneven = append(uneven, axis)
		}
	}
	each := float64(followed)
	if len(uneven) > 1 {
		each = math.Pow(2*followed, 1/float64(len(uneven)))
	}
	all := [][3]int64{middle}
	for _, axis := range uneven {
		all = along(all, axis, spread(e.Grid[axis], int64(each)))
	}
	return all
}

// along has each place once for each of some numbers along an axis.
func along(places [][3]int64, axis int, at []int64) (all [][3]int64) {
	for _, p := range places {
		for _, n := range at {
			p[axis] = n
			all = append(all, p)
		}
	}
	return all
}

// spread picks at most so many of n numbers, evenly.
func spread(n, most int64) []int64 {
	out := make([]int64, min(n, most))
	for i := range out {
		out[i] = (2*int64(i) + 1) * n / (2 * int64(len(out)))
	}
	return out
}

// follow takes the mean of some threadgroups.
func follow(k *Kernel, e Env, groups [][3]int64) *estimator {
	s := newEstimator(k, e)
	for _, g := range groups {
		s.group = g
		s.locals, s.elements = map[string]guess{}, map[element]guess{}
		s.block(k.Body, 1/float64(len(groups)))
		s.sums = append(s.sums, s.work())
	}
	return s
}

// work sums up the counts so far.
func (s *estimator) work() float64 {
	sum := s.flops
	for _, n := range s.read {
		sum += n
	}
	for _, n := range s.write {
		sum += n
	}
	return sum
}

// even reports whether all threadgroups that were followed do the same work.
func (s *estimator) even() bool {
	each := s.sums[0]
	for i, sum := range s.sums {
		if math.Abs(sum-each*float64(i+1)) > 1e-9*sum {
			return false
		}
	}
	return true
}

// guess describes an expression: its value for the average thread, and whether the
// lanes of a SIMD group differ in it.
type guess struct {
	value  float64
	known  bool
	varies bool
}

// element is one of several variables.
type element struct {
	name  string
	index float64
}

type estimator struct {
	k           *Kernel
	env         Env
	locals      map[string]guess
	elements    map[element]guess
	fragments   map[string]*Fragment
	read, write map[string]float64 // bytes a thread
	flops       float64            // a thread
	barriers    float64
	sums        []float64 // of work, after each threadgroup
	group       [3]int64  // that is followed
	anywhere    bool      // not in that place, but in any
}

func newEstimator(k *Kernel, e Env) *estimator {
	return &estimator{k: k, env: e, fragments: map[string]*Fragment{}, read: map[string]float64{}, write: map[string]float64{}}
}

// block counts statements that a share of the threads runs `times` times.
func (s *estimator) block(body []Stmt, times float64) {
	for _, st := range body {
		s.stmt(st, times)
	}
}

func (s *estimator) stmt(st Stmt, times float64) {
	switch st := st.(type) {
	case *Let:
		g := s.expr(st.Value, times)
		if about := st.About; about != nil && !g.known {
			mean := s.quiet(about)
			g.value, g.known = mean.value, mean.known
		}
		s.locals[st.Name] = g
	case *Var:
		g := s.expr(st.Init, times)
		g.known = false // it may be set later
		s.locals[st.Name] = g
	case *Set:
		g := s.expr(st.Value, times)
		old := s.locals[st.Name]
		s.locals[st.Name] = guess{varies: old.varies || g.varies}
	case *SetElement:
		g, which := s.expr(st.Value, times), element{st.Name, s.quiet(st.Index).value}
		if old, again := s.elements[which]; again {
			g = guess{varies: old.varies || g.varies}
		}
		s.elements[which] = g
	case *Store:
		s.expr(st.Index, times)
		v := st.Value
		s.expr(v, times)
		if st.Space == Device {
			s.write[st.Name] += times * float64(v.Type.Bytes())
		}
	case *Prefetch:
		s.expr(st.Index, 0) // the read that follows is counted
	case *For:
		s.loop(st, times)
	case *If:
		share := s.share(st.Cond, times)
		s.block(st.Then, times*share)
		s.block(st.Else, times*(1-min(share, 1)+s.unknown(st.Cond)))
	case *Locals:
		for i := range st.Len {
			delete(s.elements, element{st.Name, float64(i)})
		}
	case *Barrier:
		s.barriers += times
	case *Fragment:
		s.fragments[st.Name] = st
	case *FragmentLoad:
		if st.Space == Device {
			s.read[st.Place] += times * s.fragmentBytes(st.Name)
		}
	case *FragmentStore:
		if st.Space == Device {
			s.write[st.Place] += times * s.fragmentBytes(st.Name)
		}
	case *FragmentMultiply:
		d, a := s.fragments[st.D], s.fragments[st.A]
		s.flops += times * 2 * float64(d.Rows*d.Columns*a.Columns) / float64(s.k.Schedule.SimdWidth)
	}
}

// fragmentBytes is a thread's share of the bytes of a fragment in memory.
func (s *estimator) fragmentBytes(name string) float64 {
	f := s.fragments[name]
	return float64(f.Rows*f.Columns*Of(f.Elem).Bytes()) / float64(s.k.Schedule.SimdWidth)
}

// loop counts a loop's trips for the average thread: one that starts at the
// lane's or thread's number and steps by their count shares its range evenly.
func (s *estimator) loop(l *For, times float64) {
	if l.Unrolled {
		s.unrolled(l, times)
		return
	}
	lo, hi, step := s.expr(l.Lo, times), s.expr(l.Hi, times), s.expr(l.Step, times)
	trips := 1.0
	if hi.known && step.known && step.value > 0 {
		from := lo.value
		if lo.varies || s.perGroup(l.Lo) || !lo.known {
			from = 0 // if not known: at most
		}
		trips = max(0, (hi.value-from)/step.value)
		if !lo.varies && !s.perGroup(l.Lo) {
			trips = math.Ceil(trips)
		}
	}
	s.locals[l.Name] = guess{value: lo.value + step.value*math.Floor(trips/2), known: lo.known && step.known, varies: lo.varies}
	s.block(l.Body, times*trips)
}

// unrolled counts each trip with the counter's own value.
func (s *estimator) unrolled(l *For, times float64) {
	for i := l.Lo.Int; i < l.Hi.Int; i += l.Step.Int {
		s.locals[l.Name] = guess{value: float64(i), known: true}
		s.block(l.Body, times)
	}
}

// perGroup reports whether an expression is the SIMD group's number, which
// loops share out as lanes do.
func (s *estimator) perGroup(e *Expr) bool { return e.Op == OpSimd }

// share is the share of threads for which a condition holds.
func (s *estimator) share(c *Expr, times float64) float64 {
	s.expr(c, times)
	return s.shareOf(c)
}

func (s *estimator) shareOf(c *Expr) float64 {
	switch c.Op {
	case OpAnd:
		return s.shareOf(c.Args[0]) * s.shareOf(c.Args[1])
	case OpOr:
		return min(1, s.shareOf(c.Args[0])+s.shareOf(c.Args[1]))
	case OpNot:
		return 1 - s.shareOf(c.Args[0])
	case OpLt, OpLe, OpEq:
		count := s.countOf(c.Args[0])
		bound := s.quiet(c.Args[1])
		if count > 0 && bound.known {
			switch c.Op {
			case OpEq:
				return 1 / count
			case OpLe:
				return min(1, max(0, (bound.value+1)/count))
			}
			return min(1, max(0, bound.value/count))
		}
	}
	if g := s.quiet(c); g.known && !g.varies {
		return min(1, max(0, g.value))
	}
	return 1
}

// unknown is 1 where a condition depends on data: both branches are counted.
func (s *estimator) unknown(c *Expr) float64 {
	if g := s.quiet(c); !g.known && s.shareOf(c) == 1 {
		return 1
	}
	return 0
}

// countOf counts the values that a thread's number takes; 0 for other expressions.
func (s *estimator) countOf(e *Expr) float64 {
	switch e.Op {
	case OpLane:
		return float64(s.k.Schedule.SimdWidth)
	case OpThread:
		return float64(s.k.Schedule.Threads)
	case OpSimd:
		return float64(s.k.Schedule.Threads / s.k.Schedule.SimdWidth)
	}
	return 0
}

// quiet evaluates without counting.
func (s *estimator) quiet(e *Expr) guess { return s.expr(e, 0) }

// expr counts an expression's work and says what is known of its value.
func (s *estimator) expr(e *Expr, times float64) guess {
	var a [4]guess
	known, varies := true, false
	for i, x := range e.Args {
		a[i] = s.expr(x, times)
		known, varies = known && a[i].known, varies || a[i].varies
	}
	if e.Type.Scalar == F32 {
		s.flops += times * float64(ops[e.Op].flops*e.Type.Lanes)
	}
	switch e.Op {
	case OpConst:
		return guess{value: max(float64(e.Int), e.Float), known: true}
	case OpLocal:
		return s.locals[e.Name]
	case OpElement:
		return s.elements[element{e.Name, a[0].value}]
	case OpScalar:
		v, ok := s.env.Scalars[e.Name]
		return guess{value: float64(v), known: ok}
	case OpStep:
		v, ok := s.env.Step[e.Name]
		return guess{value: float64(v), known: ok}
	case OpGroup:
		return guess{value: float64(s.group[e.Int]), known: !s.anywhere}
	case OpThread, OpLane:
		return guess{known: true, varies: true}
	case OpSimd:
		return guess{known: true}
	case OpLoad:
		if v, ok := s.env.Step[e.Name]; ok && e.Space == StepBlock {
			return guess{value: float64(v), known: true}
		}
		if e.Space == Device {
			share := 1.0
			if !a[0].varies {
				share = 1 / float64(s.k.Schedule.SimdWidth)
			}
			s.read[e.Name] += times * share * float64(e.Type.Bytes())
		}
		return guess{varies: a[0].varies}
	case OpSimdSum, OpSimdMax, OpSimdMin, OpSimdShuffle:
		return guess{varies: e.Op == OpSimdShuffle && a[1].varies}
	}
	v, ok := folded(e, a)
	return guess{value: v, known: known && ok, varies: varies}
}

// folded computes on what is known; ok is false for operations that loop
// bounds and conditions do not use.
func folded(e *Expr, a [4]guess) (v float64, ok bool) {
	x, y := a[0].value, a[1].value
	switch e.Op {
	case OpAdd:
		return x + y, true
	case OpSub:
		return x - y, true
	case OpMul:
		return x * y, true
	case OpDiv:
		if e.Type.Scalar.integer() && y != 0 {
			return math.Floor(x / y), true
		}
		return 0, false
	case OpRem:
		if y == 0 {
			return 0, false
		}
		return x - y*math.Floor(x/y), true
	case OpMin:
		return min(x, y), true
	case OpMax:
		return max(x, y), true
	case OpSelect:
		if x != 0 {
			return y, true
		}
		return a[2].value, true
	case OpConvert:
		return x, true
	case OpAnd, OpOr, OpNot:
		if e.Type.Scalar == Bool {
			return connected(e.Op, x, y), true
		}
		return 0, false
	}
	return compared(e.Op, x, y)
}

// connected is an operation on truths, 1 and 0.
func connected(op Op, x, y float64) float64 {
	switch op {
	case OpAnd:
		return x * y
	case OpOr:
		return max(x, y)
	}
	return 1 - x
}

// compared is 1 or 0 for a comparison; ok is false for other operations.
func compared(op Op, x, y float64) (v float64, ok bool) {
	holds := false
	switch op {
	case OpLt:
		holds = x < y
	case OpLe:
		holds = x <= y
	case OpGt:
		holds = x > y
	case OpGe:
		holds = x >= y
	case OpEq:
		holds = x == y
	case OpNe:
		holds = x != y
	default:
		return 0, false
	}
	if holds {
		return 1, true
	}
	return 0, true
}
