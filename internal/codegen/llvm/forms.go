package llvm

import "smelt.example/smelt/internal/codegen/kernel"

// A kernel vector that lanes do not agree on has two forms: lane by lane, with its
// elements side by side as in memory (operand.vector), or element by element, each a
// vector of lanes (operand.elements). The first is loaded and stored as
// it is; taking elements and making vectors of them needs the second. Going from one
// to the other is a transposition.
//
// Values that are computed from each other share a form. It is chosen before the kernel
// is printed, for the fewest transpositions; loops multiply their count.

// forms sorts a kernel's vectors: nodes are expressions that are vectors
// (*kernel.Expr) and names of locals (string). Those that must have one form are
// one tree.
type forms struct {
	parent map[any]any
	saves  map[any]int // transpositions, of a tree's root, that going element by element saves
	agreed map[string]bool
	taken  map[any]bool // vectors whose elements the block has taken already
}

// loopTurns is the assumed number of turns of a loop, for at most maxDepth loops inside
// each other.
const loopTurns, maxDepth = 16, 5

// formsOf sorts the vectors of a body; agreed are the locals on which lanes agree.
func formsOf(body []kernel.Stmt, agreed map[string]bool) *forms {
	s := &forms{parent: map[any]any{}, saves: map[any]int{}, agreed: agreed, taken: map[any]bool{}}
	s.block(body, 1, 0)
	return s
}

// apart tells whether a node is element by element.
func (s *forms) apart(node any) bool {
	if _, known := s.parent[node]; !known {
		return false
	}
	return s.saves[s.root(node)] >= 0
}

func (s *forms) root(node any) any {
	p, known := s.parent[node]
	if !known {
		s.parent[node] = node
		return node
	}
	if p == node {
		return node
	}
	p = s.root(p)
	s.parent[node] = p
	return p
}

func (s *forms) join(a, b any) {
	x, y := s.root(a), s.root(b)
	if x != y {
		s.parent[x] = y
		s.saves[y] += s.saves[x]
	}
}

func (s *forms) save(node any, n int) { s.saves[s.root(node)] += n }

func (s *forms) block(body []kernel.Stmt, turns, depth int) {
	for _, x := range body {
		switch x := x.(type) {
		case *kernel.Let:
			s.name(x.Name, x.Value, turns)
		case *kernel.Var:
			s.name(x.Name, x.Init, turns)
		case *kernel.Set:
			s.name(x.Name, x.Value, turns)
			delete(s.taken, any(x.Name))
		case *kernel.Store:
			s.expr(x.Index, turns)
			s.expr(x.Value, turns)
			if x.Value.Type.Lanes > 1 {
				s.save(node(x.Value), -turns)
			}
		case *kernel.If:
			s.expr(x.Cond, turns)
			s.inside(x.Then, turns, depth)
			s.inside(x.Else, turns, depth)
		case *kernel.For:
			for _, e := range []*kernel.Expr{x.Lo, x.Hi, x.Step} {
				s.expr(e, turns)
			}
			if depth < maxDepth {
				turns *= loopTurns
			}
			s.inside(x.Body, turns, depth+1)
			if depth < maxDepth {
				turns /= loopTurns
			}
		}
	}
}

// inside counts a block within another; vectors that it takes apart are not available
// after it.
func (s *forms) inside(body []kernel.Stmt, turns, depth int) {
	outer := s.taken
	s.taken = map[any]bool{}
	s.block(body, turns, depth)
	s.taken = outer
}

func (s *forms) name(name string, e *kernel.Expr, turns int) {
	s.expr(e, turns)
	if e.Type.Lanes > 1 {
		s.join(name, node(e))
	}
}

// node stands for a vector: the local it names, or itself.
func node(e *kernel.Expr) any {
	if e.Op == kernel.OpLocal {
		return e.Name
	}
	return e
}

// expr counts what an expression's vectors save.
func (s *forms) expr(e *kernel.Expr, turns int) {
	for i, a := range e.Args {
		if i == 0 || a != e.Args[0] {
			s.expr(a, turns)
		}
	}
	if e.Op == kernel.OpExtract {
		if n := node(e.Args[0]); !s.taken[n] && !s.agrees(e.Args[0]) {
			s.taken[n] = true
			s.save(n, turns)
		}
		return
	}
	if e.Type.Lanes == 1 || s.agrees(e) {
		return
	}
	switch e.Op {
	case kernel.OpLocal, kernel.OpSimdSum, kernel.OpSimdMax, kernel.OpSimdMin:
	case kernel.OpLoad, kernel.OpHalves:
		s.save(e, -turns)
	case kernel.OpVec:
		switch {
		case s.agrees(e.Args[0]) && same(e.Args):
		case sideBySide(e.Args):
			s.save(e, -turns)
		default:
			s.save(e, turns)
		}
	default:
		for _, a := range e.Args {
			if a.Type.Lanes > 1 && !s.agrees(a) {
				s.join(e, node(a))
			}
		}
	}
}

// agrees tells whether lanes agree on an expression, as far as its text shows.
func (s *forms) agrees(e *kernel.Expr) bool {
	switch e.Op {
	case kernel.OpLane, kernel.OpThread, kernel.OpSimdPrefix:
		return false
	case kernel.OpLocal:
		return s.agreed[e.Name]
	case kernel.OpSimdSum, kernel.OpSimdMax, kernel.OpSimdMin:
		return true
	}
	for i, a := range e.Args {
		if (i == 0 || a != e.Args[0]) && !s.agrees(a) {
			return false
		}
	}
	return true
}

func same(es []*kernel.Expr) bool {
	for _, e := range es {
		if e != es[0] {
			return false
		}
	}
	return true
}

// sideBySide tells whether the elements of a vector look like loads of neighbours,
// or the same of each of these.
func sideBySide(es []*kernel.Expr) bool {
	for _, e := range es {
		if e.Op != es[0].Op || e.Name != es[0].Name {
			return false
		}
	}
	switch es[0].Op {
	case kernel.OpLoad:
		return true
	case kernel.OpConvert, kernel.OpBitcast, kernel.OpShl, kernel.OpShr, kernel.OpAnd:
		inner := make([]*kernel.Expr, len(es))
		for i, e := range es {
			inner[i] = e.Args[0]
		}
		return sideBySide(inner)
	}
	return false
}
