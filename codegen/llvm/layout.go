package llvm

import (
	"github.com/llir/llvm/ir/value"

	"smelt/codegen/kernel"
)

// A kernel vector's elements lie side by side in each lane, as in memory. To take
// them apart, or put them together, is a transposition. One shuffle could say it;
// but the code generator is slow to find instructions for a shuffle of many
// registers, and finds twice as many as it takes. So vectors of four are
// transposed eight lanes at a time, by shuffles of two registers that are an
// instruction each.
const (
	group  = 8 // lanes that are transposed together
	across = 4 // elements of a lane
)

// Shuffles of two vectors of eight, each seen as two rows of four.
var (
	firstRows   = []int{0, 1, 2, 3, 8, 9, 10, 11}
	secondRows  = []int{4, 5, 6, 7, 12, 13, 14, 15}
	firstPairs  = []int{0, 8, 1, 9, 4, 12, 5, 13} // of each row its first two, by turns
	secondPairs = []int{2, 10, 3, 11, 6, 14, 7, 15}
	firstHalves = []int{0, 1, 8, 9, 4, 5, 12, 13} // of each row its first half
	lastHalves  = []int{2, 3, 10, 11, 6, 7, 14, 15}
)

// grouped tells whether vectors of the type are transposed in groups.
func (f *function) grouped(t kernel.Type) bool {
	return t.Lanes == across && t.Scalar.Bytes() == 4 && f.width%group == 0
}

// apart are the elements of all lanes' vectors, each with a value for every lane.
func (f *function) apart(v value.Value, t kernel.Type) []value.Value {
	elements := make([]value.Value, t.Lanes)
	if !f.grouped(t) {
		for n := range elements {
			from := make([]int, f.width)
			for l := range from {
				from[l] = l*t.Lanes + n
			}
			elements[n] = f.shuffle(v, from)
		}
		return elements
	}
	parts := make([][]value.Value, across)
	for first := 0; first < f.width; first += group {
		var two [across]value.Value // lanes 0 and 1, 2 and 3 ...
		for i := range two {
			two[i] = f.shuffle(v, counting((first+2*i)*across, group))
		}
		turned := f.turn([across]value.Value{ // lanes 0 and 4, 1 and 5 ...
			f.shuffle2(two[0], two[2], firstRows), f.shuffle2(two[0], two[2], secondRows),
			f.shuffle2(two[1], two[3], firstRows), f.shuffle2(two[1], two[3], secondRows),
		})
		for n, x := range turned {
			parts[n] = append(parts[n], x)
		}
	}
	for n := range elements {
		elements[n] = f.concat(parts[n], group)
	}
	return elements
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
	var parts []value.Value
	for first := 0; first < f.width; first += group {
		var rows [across]value.Value
		for n := range rows {
			rows[n] = f.shuffle(elements[n], counting(first, group))
		}
		four := f.turn(rows) // lanes 0 and 4, 1 and 5 ...
		parts = append(parts,
			f.shuffle2(four[0], four[1], firstRows), f.shuffle2(four[2], four[3], firstRows),
			f.shuffle2(four[0], four[1], secondRows), f.shuffle2(four[2], four[3], secondRows))
	}
	return f.concat(parts, group)
}

// turn transposes two matrices of four by four; each vector has a row of both.
func (f *function) turn(rows [across]value.Value) [across]value.Value {
	a, b := f.shuffle2(rows[0], rows[1], firstPairs), f.shuffle2(rows[2], rows[3], firstPairs)
	c, d := f.shuffle2(rows[0], rows[1], secondPairs), f.shuffle2(rows[2], rows[3], secondPairs)
	return [across]value.Value{
		f.shuffle2(a, b, firstHalves), f.shuffle2(a, b, lastHalves),
		f.shuffle2(c, d, firstHalves), f.shuffle2(c, d, lastHalves),
	}
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
