package encoding

import (
	"fmt"
	"strconv"
	"strings"
)

// RowFormat is how one row of a cache is stored: width numbers as Bytes bytes,
// in segments of scalars or of codes with scales. [ParseRow] finds one by name.
// A row stands alone: nothing is shared between rows.
//
// A new format is one file with its family and one entry of rowFamilies.
type RowFormat struct {
	family *rowFamily
	tail   int // elements at the end of a row that are stored in another way; 0 if the name has no N
}

// rowFamily is one row of the table of formats.
type rowFamily struct {
	pattern  string // the name; N stands for the tail
	doc      string // one phrase
	pad      int    // Bytes is a multiple of this
	segments func(width, tail int) ([]RowSegment, error)
}

var rowFamilies = []*rowFamily{&rowF32, &rowBF16, &rowFP8, &rowFP4}

// RowKind says how each element of a segment is stored.
type RowKind string

// The kinds of segments. Numbers of two and four bytes are little-endian.
const (
	RowF32  RowKind = "f32"
	RowBF16 RowKind = "bf16"
	RowE4M3 RowKind = "e4m3" // a byte each
	RowE2M1 RowKind = "e2m1" // half a byte each, the element with the even place in the lower half
)

func (k RowKind) bits() int {
	switch k {
	case RowF32:
		return 32
	case RowBF16:
		return 16
	case RowE4M3:
		return 8
	}
	return 4
}

// RowSegment is a run of elements that are stored alike, without gaps.
type RowSegment struct {
	Kind         RowKind
	FirstElement int
	Count        int
	Offset       int // bytes from the start of the row; a multiple of 4
	Block        int // e4m3, e2m1: elements that share a scale, the last block perhaps shorter; else 0
	ScaleOffset  int // e4m3, e2m1: where the E8M0 scales of the blocks begin, a byte each; else 0
}

// Scales is the number of scales of a segment.
func (s RowSegment) Scales() int {
	if s.Block == 0 {
		return 0
	}
	return ceilDiv(s.Count, s.Block)
}

// RowLayout is a format for a given width. Elements of all segments together
// are 0 to Width-1, in order. Bytes is a multiple of 4, so that rows behind each
// other keep words aligned.
type RowLayout struct {
	Format   RowFormat
	Width    int
	Bytes    int
	Segments []RowSegment
}

// Name is stable; [ParseRow] reads it back.
func (f RowFormat) Name() string {
	return strings.Replace(f.family.pattern, "N", fmt.Sprint(f.tail), 1)
}

// Doc says in a phrase what the format is.
func (f RowFormat) Doc() string { return f.family.doc }

// maxRow bounds a row's width, far above any model's.
const maxRow = 1 << 20

// ParseRow finds a row format by its name: f32, bf16, fp8_b64_rN (N elements at
// the end, the rotated ones, are bf16) or fp4_b32.
func ParseRow(name string) (RowFormat, error) {
	var patterns []string
	for _, family := range rowFamilies {
		if f := (RowFormat{family, family.tailIn(name)}); f.Name() == name {
			return f, nil
		}
		patterns = append(patterns, family.pattern)
	}
	return RowFormat{}, fmt.Errorf("expected the name of a row format (%s; N is a number), found %q", strings.Join(patterns, ", "), name)
}

// tailIn is the number that stands for N in a name, 0 if there is none.
func (family *rowFamily) tailIn(name string) int {
	before, _, _ := strings.Cut(family.pattern, "N")
	n, err := strconv.Atoi(strings.TrimPrefix(name, before))
	if err != nil || n < 0 || n > maxRow {
		return 0
	}
	return n
}

// Layout is how a row of that many elements is stored. It fails on a width that
// the format cannot have.
func (f RowFormat) Layout(width int) (RowLayout, error) {
	if width < 1 || width > maxRow {
		return RowLayout{}, fmt.Errorf("expected a row of 1 to %d elements for %s, found %d", maxRow, f.Name(), width)
	}
	segments, err := f.family.segments(width, f.tail)
	if err != nil {
		return RowLayout{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	end := 0
	for i := range segments {
		segments[i].Offset = roundUp(end, 4)
		end = segments[i].Offset + ceilDiv(segments[i].Count*segments[i].Kind.bits(), 8)
	}
	for i := range segments {
		if segments[i].Block > 0 {
			segments[i].ScaleOffset = end
			end += segments[i].Scales()
		}
	}
	return RowLayout{f, width, roundUp(end, f.family.pad), segments}, nil
}

func roundUp(n, to int) int { return ceilDiv(n, to) * to }
