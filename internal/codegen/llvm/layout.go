package llvm

import (
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// A kernel vector's elements lie side by side in each lane, as in memory. To take
// them apart, or put them together, is a transposition. One shuffle could say it;
// but the code generator is slow to find instructions for a shuffle of many
// registers, and finds twice as many as it takes. So vectors of four are
// transposed as many lanes at a time as a register has, by shuffles of two
// registers that are an instruction each.
const across = 4 // elements of a lane

// Shuffles of two vectors of eight, each seen as two rows of four.
var (
	firstRows  = []int{0, 1, 2, 3, 8, 9, 10, 11}
	secondRows = []int{4, 5, 6, 7, 12, 13, 14, 15}
)

// turning has the shuffles that transpose matrices of four by four, one for each row of
// four in a register.
type turning struct {
	firstPairs, secondPairs []int // the rows' first two elements, by turns, and their last
	firstHalves, lastHalves []int
}

var turnings = map[int]turning{
	4: {[]int{0, 4, 1, 5}, []int{2, 6, 3, 7}, []int{0, 1, 4, 5}, []int{2, 3, 6, 7}},
	8: {[]int{0, 8, 1, 9, 4, 12, 5, 13}, []int{2, 10, 3, 11, 6, 14, 7, 15}, []int{0, 1, 8, 9, 4, 5, 12, 13}, []int{2, 3, 10, 11, 6, 7, 14, 15}},
}

// Shuffles of two vectors of sixteen, which AVX-512 has for any numbers.
var (
	lowerHalves = append(counting(0, 8), counting(16, 8)...)
	upperHalves = append(counting(8, 8), counting(24, 8)...)
)

// everyFourth is elements first and first+1 of eight lanes whose elements lie side
// by side.
func everyFourth(first int) []int {
	out := make([]int, 16)
	for i := range out {
		out[i] = i%8*across + first + i/8
	}
	return out
}

// byTurns is four lanes from `first` on of four elements, eight lanes of each of
// which lie side by side.
func byTurns(first int) []int {
	out := make([]int, 16)
	for i := range out {
		out[i] = i%across*8 + first + i/across
	}
	return out
}

// grouped tells whether vectors of the type are transposed in groups.
func (f *function) grouped(t kernel.Type) bool {
	return t.Lanes == across && t.Scalar.Bytes() == 4 && f.register >= 4
}

// apart takes all lanes' vectors apart: into elements, each a vector of lanes.
func (f *function) apart(v value.Value, t kernel.Type) []value.Value {
	elements := make([]value.Value, t.Lanes)
	nth := func(n int) expression { return expression{op: "extract", x: v, k: int64(n)} }
	elements[0] = f.once(nth(0), func() value.Value {
		for n, x := range f.takeApart(v, t) {
			elements[n] = x
			if n > 0 {
				f.know(nth(n), x)
			}
		}
		return elements[0]
	})
	for n := range elements {
		elements[n] = f.once(nth(n), nil)
	}
	return elements
}

func (f *function) takeApart(v value.Value, t kernel.Type) []value.Value {
	if !f.grouped(t) {
		elements := make([]value.Value, t.Lanes)
		for n := range elements {
			from := make([]int, f.width)
			for l := range from {
				from[l] = l*t.Lanes + n
			}
			elements[n] = f.shuffle(v, from)
		}
		return elements
	}
	return f.elementsOf(func(first int) value.Value { return f.shuffle(v, counting(first*across, f.register)) })
}

// loadApart loads the vectors of neighbours and takes them apart.
func (f *function) loadApart(t kernel.Type, p place, i *index) []value.Value {
	as := f.registerType(t)
	return f.elementsOf(func(first int) value.Value {
		return f.loadAligned(as, f.address(p, t, i.base, i.offsets[0]+int64(first), as), t)
	})
}

// elementsOf transposes registers, each with the vectors of a few lanes from
// first on.
func (f *function) elementsOf(register func(first int) value.Value) []value.Value {
	parts := make([][]value.Value, across)
	for first := 0; first < f.width; first += f.register {
		var rows [across]value.Value
		for i := range rows {
			rows[i] = register(first + i*f.register/across)
		}
		for n, x := range f.toElements(rows) {
			parts[n] = append(parts[n], x)
		}
	}
	elements := make([]value.Value, across)
	for n := range elements {
		elements[n] = f.concat(parts[n], f.register)
	}
	return elements
}

// toElements transposes a register's lanes.
func (f *function) toElements(rows [across]value.Value) [across]value.Value {
	switch f.register {
	case 16:
		a, b := f.shuffle2(rows[0], rows[1], everyFourth(0)), f.shuffle2(rows[0], rows[1], everyFourth(2))
		c, d := f.shuffle2(rows[2], rows[3], everyFourth(0)), f.shuffle2(rows[2], rows[3], everyFourth(2))
		return [across]value.Value{
			f.shuffle2(a, c, lowerHalves), f.shuffle2(a, c, upperHalves),
			f.shuffle2(b, d, lowerHalves), f.shuffle2(b, d, upperHalves),
		}
	case 8:
		rows = [across]value.Value{ // lanes 0 and 4, 1 and 5 ...
			f.shuffle2(rows[0], rows[2], firstRows), f.shuffle2(rows[0], rows[2], secondRows),
			f.shuffle2(rows[1], rows[3], firstRows), f.shuffle2(rows[1], rows[3], secondRows),
		}
	}
	return f.turn(rows)
}

// toLanes is the inverse of toElements.
func (f *function) toLanes(rows [across]value.Value) [across]value.Value {
	if f.register == 16 {
		a, b := f.shuffle2(rows[0], rows[1], lowerHalves), f.shuffle2(rows[2], rows[3], lowerHalves)
		c, d := f.shuffle2(rows[0], rows[1], upperHalves), f.shuffle2(rows[2], rows[3], upperHalves)
		return [across]value.Value{
			f.shuffle2(a, b, byTurns(0)), f.shuffle2(a, b, byTurns(4)),
			f.shuffle2(c, d, byTurns(0)), f.shuffle2(c, d, byTurns(4)),
		}
	}
	rows = f.turn(rows)
	if f.register == 4 {
		return rows
	}
	return [across]value.Value{ // of lanes 0 and 4, 1 and 5 ...
		f.shuffle2(rows[0], rows[1], firstRows), f.shuffle2(rows[2], rows[3], firstRows),
		f.shuffle2(rows[0], rows[1], secondRows), f.shuffle2(rows[2], rows[3], secondRows),
	}
}

// turn transposes matrices of four by four; each vector has a row of all.
func (f *function) turn(rows [across]value.Value) [across]value.Value {
	t := turnings[f.register]
	a, b := f.shuffle2(rows[0], rows[1], t.firstPairs), f.shuffle2(rows[2], rows[3], t.firstPairs)
	c, d := f.shuffle2(rows[0], rows[1], t.secondPairs), f.shuffle2(rows[2], rows[3], t.secondPairs)
	return [across]value.Value{
		f.shuffle2(a, b, t.firstHalves), f.shuffle2(a, b, t.lastHalves),
		f.shuffle2(c, d, t.firstHalves), f.shuffle2(c, d, t.lastHalves),
	}
}

// registers puts all lanes' vectors into registers in the order of memory.
func (f *function) registers(elements []value.Value) []value.Value {
	var all []value.Value
	for first := 0; first < f.width; first += f.register {
		var rows [across]value.Value
		for n := range rows {
			rows[n] = elements[n]
			if f.register < f.width {
				rows[n] = f.shuffle(elements[n], counting(first, f.register))
			}
		}
		for _, x := range f.toLanes(rows) {
			all = append(all, x)
		}
	}
	return all
}

// sideBySide is the inverse of apart.
func (f *function) sideBySide(elements []value.Value, t kernel.Type) value.Value {
	if !f.grouped(t) {
		from := make([]int, f.width*t.Lanes)
		for i := range from {
			from[i] = i%t.Lanes*f.width + i/t.Lanes
		}
		return f.shuffle(f.concat(elements, f.width), from)
	}
	return f.concat(f.registers(elements), f.register)
}

// concat makes one vector of several of n elements, a power of two of them.
func (f *function) concat(parts []value.Value, n int) value.Value {
	for ; len(parts) > 1; n *= 2 {
		var next []value.Value
		for i := 0; i < len(parts); i += 2 {
			next = append(next, f.shuffle2(parts[i], parts[i+1], counting(0, 2*n)))
		}
		parts = next
	}
	return parts[0]
}
