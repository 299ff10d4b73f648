package safetensors

import (
	"slices"

	"smelt.example/smelt/internal/models/checkpoint/container"
)

// Sort puts tensors in the order in which Write lays them out.
func Sort(tensors []Tensor) {
	slices.SortStableFunc(tensors, func(a, b Tensor) int { return inOrder(a.DType, a.Name, b.DType, b.Name) })
}

// InMemory makes a file that is on no disk, with the given tensors one behind another in
// their order. Of each tensor only name, type and shape count. The
// data is zero and, unlike that of an opened file, may be written through
// Tensor.Data; pages that nothing was written to take up no memory. path
// stands for the file in messages, nothing is read or written there.
func InMemory(path string, tensors []Tensor) (*File, error) {
	outs := make([]Out, len(tensors))
	for i, t := range tensors {
		outs[i] = Out{Name: t.Name, DType: t.DType, Shape: t.Shape}
	}
	l, err := layOut(path, outs, nil)
	if err != nil {
		return nil, err
	}
	size := int64(len(l.header))
	for _, n := range l.sizes {
		size += n
	}
	f, err := newFile(path, l.header[lengthBytes:], size)
	if err != nil {
		return nil, err
	}
	if f.Mapping, err = container.Anonymous(path, size); err != nil {
		return nil, err
	}
	copy(f.Bytes(), l.header)
	return f, nil
}
