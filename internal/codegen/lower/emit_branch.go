package lower

import "smelt.example/smelt/internal/codegen/kernel"

// part is a run of threadgroups along the grid's first axis that do one job.
type part struct {
	groups int
	work   int                      // of a threadgroup, against other parts'
	body   func(group *kernel.Expr) // group counts from 0 within the part
}

// mostSecondAxis is how many threadgroups a grid has along its second axis at most (CUDA C++
// Programming Guide, compute capabilities).
const mostSecondAxis = 1<<16 - 1

// deal emits the parts as branches on the threadgroup's number.
func (u *emitter) deal(parts []part) {
	u.dealFrom(kernel.Group(0), 0, parts)
}

func (u *emitter) dealFrom(group *kernel.Expr, first int, parts []part) {
	p := parts[0]
	body := func() { p.body(group.Sub(i32(first))) }
	if len(parts) == 1 {
		body()
		return
	}
	u.If(group.Lt(i32(first+p.groups)), body, func() { u.dealFrom(group, first+p.groups, parts[1:]) })
}

func groupsOf(parts []part) int {
	n := 0
	for _, p := range parts {
		n += p.groups
	}
	return n
}

// oneOrMore runs body for up to most rows: one row is the common case; its sums
// are the same either way. A SIMD group alone also has two by themselves: what
// other threads would do beside them it does after them.
func (u *emitter) oneOrMore(left *kernel.Expr, most int, body func(n int)) {
	if most == 1 {
		body(1)
		return
	}
	more := func() { body(most) }
	if most > 2 && u.stages() {
		more = func() { u.If(left.Eq(i32(2)), func() { body(2) }, func() { body(most) }) }
	}
	u.If(left.Eq(i32(1)), func() { body(1) }, more)
}

// guard runs f where live (unless nil) and, if it may fail, inside hold.
func (u *emitter) guard(live, inside *kernel.Expr, mayFail bool, f func()) {
	cond := live
	if mayFail {
		cond = inside
		if live != nil {
			cond = live.And(inside)
		}
	}
	if cond == nil {
		f()
		return
	}
	u.If(cond, f, nil)
}
