package shrink

import (
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
)

// leastSaved is how many operations a loop must save: its head takes a few lines.
const leastSaved = 12

// roller makes loops of statements that repeat.
type roller struct {
	names    *names
	families *families // nil: each value keeps its name
}

// repeat is a run of statements that repeat: so many times, `period` statements each.
type repeat struct {
	first, period, times int
	pattern              *pattern
	members              *members // that its values become
	saved                int      // operations
}

// block rolls a block's own repetitions after those of the blocks within it.
func (r *roller) block(body []kernel.Stmt) []kernel.Stmt {
	out := make([]kernel.Stmt, len(body))
	for i, s := range body {
		out[i] = within(s, r.block)
	}
	return r.list(r.families.in(out))
}

// list rolls the repetitions of a list, the ones that save most first, and then those
// within them.
func (r *roller) list(body []kernel.Stmt) []kernel.Stmt {
	for {
		best := r.listOf(body).best()
		if best == nil {
			return body
		}
		if best.members != nil {
			r.families.add(best.members, r.names)
			body = r.families.in(body)
			best.pattern = patternOf(best.repetition(body, 0), best.repetition(body, 1))
		}
		loop := &kernel.For{Name: r.names.fresh("i"), Lo: kernel.I(0), Hi: kernel.I(best.times), Step: kernel.I(1), Unrolled: true}
		i := &kernel.Expr{Op: kernel.OpLocal, Type: kernel.Of(kernel.I32), Name: loop.Name}
		count := r.families.count()
		loop.Body = r.list(best.pattern.at(i))
		end := best.first + best.period*best.times
		body = slices.Concat(body[:best.first], []kernel.Stmt{loop}, body[end:])
		if r.families.count() != count {
			body = r.families.in(body)
		}
	}
}

// repetition is repetition i in a list.
func (r *repeat) repetition(body []kernel.Stmt, i int) []kernel.Stmt {
	return body[r.first+i*r.period:][:r.period]
}

// list is a list of statements in which repetitions are looked for.
type list struct {
	*roller
	body   []kernel.Stmt
	prints []uint64 // of statements; those of one pattern have the same
	sizes  []int    // of statements, in operations
	until  []int    // the last statement that uses what a statement declares
}

func (r *roller) listOf(body []kernel.Stmt) *list {
	l := &list{roller: r, body: body}
	declaredAt := map[string]int{}
	for i, s := range body {
		hash, size := fingerprint(s)
		l.prints, l.sizes, l.until = append(l.prints, hash), append(l.sizes, size), append(l.until, i)
		uses(s, func(name string) {
			if at, here := declaredAt[name]; here {
				l.until[at] = i
			}
		})
		if name := declares(s); name != "" {
			declaredAt[name] = i
		}
	}
	return l
}

// best is the repetition that saves most; nil if none saves enough.
func (l *list) best() *repeat {
	best := &repeat{saved: leastSaved - 1}
	for period := 1; 2*period <= len(l.body); period++ {
		for at := 0; at+period < len(l.body); {
			alike := 0 // statements from `at` on that are like those a period later
			for at+alike+period < len(l.body) && l.prints[at+alike] == l.prints[at+alike+period] {
				alike++
			}
			l.try(at, period, alike, best)
			at += alike + 1
		}
	}
	if best.pattern == nil {
		return nil
	}
	return best
}

// try looks for a repetition among statements of which `alike`, from `at` on, are like
// those a period later. Where it begins is not known: it is tried everywhere.
func (l *list) try(at, period, alike int, best *repeat) {
	for first := at; first+period <= at+alike && first < at+period; first++ {
		times, each := 1+(at+alike-first)/period, 0
		for _, n := range l.sizes[first : first+period] {
			each += n
		}
		if (times-1)*each <= best.saved {
			continue
		}
		r := repeat{first: first, period: period, times: times}
		if l.plain(&r, each); r.saved < (times-1)*each {
			l.withMembers(&r, times, each, max(r.saved, best.saved))
		}
		if r.saved > best.saved {
			*best = r
		}
	}
}

// plain looks for repetitions in which only constants differ.
func (l *list) plain(r *repeat, each int) {
	for r.times > 1 && l.escapes(r.first, r.first+r.times*r.period) {
		r.times--
	}
	if r.times < 2 {
		return
	}
	if r.pattern = patternOf(r.repetition(l.body, 0), r.repetition(l.body, 1)); r.pattern == nil {
		return
	}
	fitting := 2
	for fitting < r.times && r.pattern.fits(fitting, r.repetition(l.body, fitting)) {
		fitting++
	}
	for fitting > 1 && l.escapes(r.first, r.first+fitting*r.period) {
		fitting--
	}
	r.times, r.saved = fitting, (fitting-1)*each
}

// escapes reports whether what is declared from first to end is used from end on.
func (l *list) escapes(first, end int) bool {
	for _, last := range l.until[first:end] {
		if last >= end {
			return true
		}
	}
	return false
}

// declares is the name that a statement declares for those behind it, or "".
func declares(s kernel.Stmt) string {
	switch s := s.(type) {
	case *kernel.Let:
		return s.Name
	case *kernel.Var:
		return s.Name
	case *kernel.Locals:
		return s.Name
	case *kernel.Fragment:
		return s.Name
	}
	return ""
}

// uses calls visit with the names of values and fragments that a statement uses.
func uses(s kernel.Stmt, visit func(name string)) {
	for _, e := range kernel.Operands(s) {
		usesOf(e, visit)
	}
	for _, name := range namesIn(s) {
		visit(name)
	}
	for _, block := range kernel.Blocks(s) {
		for _, s := range block {
			uses(s, visit)
		}
	}
}

func usesOf(e *kernel.Expr, visit func(name string)) {
	if e.Op == kernel.OpLocal || e.Op == kernel.OpElement {
		visit(e.Name)
	}
	for _, a := range e.Args {
		usesOf(a, visit)
	}
}

// namesIn are the names of values and fragments that a statement itself uses.
func namesIn(s kernel.Stmt) []string {
	switch s := s.(type) {
	case *kernel.Set:
		return []string{s.Name}
	case *kernel.SetElement:
		return []string{s.Name}
	case *kernel.FragmentLoad:
		return []string{s.Name}
	case *kernel.FragmentStore:
		return []string{s.Name}
	case *kernel.FragmentMultiply:
		return []string{s.D, s.A, s.B}
	}
	return nil
}
