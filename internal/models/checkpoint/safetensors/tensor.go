package safetensors

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/strictjson"
)

// A Tensor is one entry of a file.
type Tensor = container.Tensor

// tensorParser collects the fields of one tensor. Offsets stay relative to
// the data section until checkRanges.
type tensorParser struct {
	*headerParser
	tensor     Tensor
	hasDType   bool
	hasShape   bool
	hasOffsets bool
	bad        bool // a field was present and wrong: finish stays silent
}

func (t *tensorParser) problem(format string, args ...any) {
	t.bad = true
	t.problems.addf("tensor %s: %s", message.Quote(t.tensor.Name), fmt.Sprintf(format, args...))
}

func (t *tensorParser) field(key string) error {
	switch key {
	case "dtype":
		t.hasDType = true
		return t.readDType()
	case "shape":
		t.hasShape = true
		return t.readShape()
	case "data_offsets":
		t.hasOffsets = true
		return t.readOffsets()
	}
	t.problem("unknown field %s (known: dtype, shape, data_offsets)", message.Quote(key))
	return t.SkipValue()
}

func (t *tensorParser) readDType() error {
	if got, yes := t.Mismatch(jsontext.KindString); yes {
		t.problem("dtype is %s, expected a string", strictjson.KindName(got))
		return t.SkipValue()
	}
	name, err := t.Text()
	if err != nil {
		return err
	}
	t.tensor.DType = DType(name)
	if complaint := checkDType(t.tensor.DType); complaint != "" {
		t.problem("%s", complaint)
	}
	return nil
}

func (t *tensorParser) readShape() error {
	if got, yes := t.Mismatch(jsontext.KindBeginArray); yes {
		t.problem("shape is %s, expected an array of numbers", strictjson.KindName(got))
		return t.SkipValue()
	}
	var dims [MaxDims]int64
	n := 0
	err := t.Array(func(raw []byte) {
		d, complaint := parseCount(raw)
		if complaint != "" {
			t.problem("shape[%d] = %s %s", n, message.Clip(string(raw)), complaint)
		}
		if n < MaxDims {
			dims[n] = d
		}
		n++
	})
	if err != nil {
		return err
	}
	if n > MaxDims {
		t.problem("%d dimensions, at most %d are supported", n, MaxDims)
		return nil
	}
	t.tensor.Shape = t.shape(dims[:n])
	return nil
}

func (t *tensorParser) readOffsets() error {
	if got, yes := t.Mismatch(jsontext.KindBeginArray); yes {
		t.problem("data_offsets is %s, expected [begin, end]", strictjson.KindName(got))
		return t.SkipValue()
	}
	var offsets [2]int64
	n := 0
	err := t.Array(func(raw []byte) {
		v, complaint := parseCount(raw)
		if complaint != "" {
			t.problem("data_offsets[%d] = %s %s", n, message.Clip(string(raw)), complaint)
		}
		if n < 2 {
			offsets[n] = v
		}
		n++
	})
	if err != nil {
		return err
	}
	switch {
	case n != 2:
		t.problem("data_offsets has %d numbers, expected [begin, end]", n)
	case offsets[0] > offsets[1]:
		t.problem("data_offsets [%d, %d] end before they begin", offsets[0], offsets[1])
	}
	t.tensor.Offset, t.tensor.Bytes = offsets[0], offsets[1]-offsets[0]
	return nil
}

// finish checks what needs all fields and keeps the tensor.
func (t *tensorParser) finish() {
	if len(t.tensor.Name) > MaxNameBytes {
		t.problem("the name is longer than %d bytes", MaxNameBytes)
	}
	for _, f := range []struct {
		have bool
		name string
	}{{t.hasDType, "dtype"}, {t.hasShape, "shape"}, {t.hasOffsets, "data_offsets"}} {
		if !f.have {
			t.problem("%s is missing", f.name)
		}
	}
	if !t.bad {
		t.checkSize()
	}
	if t.bad {
		t.rangesKnown = false
		return
	}
	t.tensors = append(t.tensors, t.tensor)
}

func (t *tensorParser) checkSize() {
	v := &t.tensor
	want, ok := byteCount(v.Shape, sizeOf(v.DType))
	switch {
	case !ok:
		t.problem("shape %v of %s has more than 2^63-1 bytes", v.Shape, v.DType)
	case want != v.Bytes:
		t.problem("%s%v takes %d bytes, data_offsets [%d, %d] hold %d", v.DType, v.Shape, want, v.Offset, v.Offset+v.Bytes, v.Bytes)
	}
}
