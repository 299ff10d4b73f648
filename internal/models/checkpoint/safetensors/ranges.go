package safetensors

import (
	"cmp"
	"slices"

	"smelt.example/smelt/internal/message"
)

// checkRanges checks that the tensors' ranges, relative to dataStart, tile
// the file's data section, and makes their offsets absolute. It reorders
// tensors.
func checkRanges(tensors []Tensor, dataStart, fileSize int64, problems *FormatError) {
	slices.SortFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes))
	})
	dataBytes := fileSize - dataStart
	var end int64     // of the data covered so far
	var last *Tensor  // the tensor that reaches furthest
	var beyond int64  // tensors that end after the file
	var first *Tensor // the first of them
	for i := range tensors {
		t := &tensors[i]
		switch {
		case t.Offset > end:
			problems.addf("no tensor covers %s of data %s", message.Count(t.Offset-end, "byte"), gap(last, t))
		case t.Offset < end:
			problems.addf("tensors %s and %s overlap: bytes [%d, %d) and [%d, %d) of the data", message.Quote(last.Name), message.Quote(t.Name),
				last.Offset, last.Offset+last.Bytes, t.Offset, t.Offset+t.Bytes)
		}
		if t.Offset+t.Bytes > dataBytes {
			if beyond++; beyond == 1 {
				first = t
			}
		}
		if t.Offset+t.Bytes >= end {
			end, last = t.Offset+t.Bytes, t
		}
	}
	switch {
	case beyond > 0:
		problems.addf("truncated: the header describes %d bytes of data, the file has %d; %s from %s on reach past its end",
			end, dataBytes, message.Count(beyond, "tensor"), message.Quote(first.Name))
	case end < dataBytes:
		problems.addf("no tensor covers %s of data %s", message.Count(dataBytes-end, "byte"), gap(last, nil))
	}
	for i := range tensors {
		tensors[i].Offset += dataStart
	}
}

// gap says where a hole lies.
func gap(before, after *Tensor) string {
	switch {
	case before == nil && after == nil:
		return "in a file without tensors"
	case before == nil:
		return "before the first tensor " + message.Quote(after.Name)
	case after == nil:
		return "after the last tensor " + message.Quote(before.Name)
	}
	return "between tensors " + message.Quote(before.Name) + " and " + message.Quote(after.Name)
}
