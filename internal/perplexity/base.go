package perplexity

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/internal/imposter"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// Base is a file of logits to compare with: the tensors input_ids [T] (I32) and logits
// [T, vocabulary] (F32) of a safetensors file.
type Base struct {
	file   *safetensors.File
	logits safetensors.Tensor
	ids    []int32
	vocab  int
}

// Names of a file's tensors.
const (
	IDs    = "input_ids"
	Logits = "logits"
)

// OpenBase opens a file of logits, and reads none of them.
func OpenBase(path string) (*Base, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, imposter.Explain(path, err)
	}
	b := &Base{file: f}
	if err := b.open(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

func (b *Base) open() error {
	ids, err := b.tensor(IDs, safetensors.I32, 1)
	if err != nil {
		return err
	}
	if b.logits, err = b.tensor(Logits, safetensors.F32, 2); err != nil {
		return err
	}
	if b.logits.Shape[0] != ids.Shape[0] || b.logits.Shape[1] < 1 || b.logits.Shape[1] > math.MaxInt32 {
		return fmt.Errorf("%s has the shape %v, expected a row for each of the %d tokens of %s", Logits, b.logits.Shape, ids.Shape[0], IDs)
	}
	b.vocab = int(b.logits.Shape[1])
	data := make([]byte, ids.Bytes)
	if _, err := b.file.ReadAt(data, ids.Offset); err != nil {
		return fmt.Errorf("reading %s: %w", IDs, err)
	}
	b.ids = make([]int32, len(data)/4)
	for i := range b.ids {
		b.ids[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return nil
}

// tensor is the one of that name, type and number of dimensions.
func (b *Base) tensor(name string, t safetensors.DType, dims int) (safetensors.Tensor, error) {
	all := b.file.Tensors()
	i := slices.IndexFunc(all, func(x safetensors.Tensor) bool { return x.Name == name })
	if i < 0 {
		return safetensors.Tensor{}, fmt.Errorf("found no tensor %s; expected a file of logits as smelt eval writes it, with %s and %s", name, IDs, Logits)
	}
	if x := all[i]; x.DType != t || len(x.Shape) != dims {
		return x, fmt.Errorf("%s is %s%v, expected %s with %d dimensions", name, x.DType, x.Shape, t, dims)
	}
	return all[i], nil
}

// Check refuses logits of other tokens or of another vocabulary.
func (b *Base) Check(tokens []int32, vocab int) error {
	path := b.file.Path()
	if b.vocab != vocab {
		return fmt.Errorf("%s: logits for a vocabulary of %d, the model has %d: they are another model's", path, b.vocab, vocab)
	}
	for i := range min(len(b.ids), len(tokens)) {
		if b.ids[i] != tokens[i] {
			return fmt.Errorf("%s: logits of another text: its token in place %d is %d, here it is %d", path, i+1, b.ids[i], tokens[i])
		}
	}
	if len(b.ids) != len(tokens) {
		return fmt.Errorf("%s: logits of %d tokens, the text has %d; they must be of the same text", path, len(b.ids), len(tokens))
	}
	return nil
}

// row are the logits of the token at a position.
func (b *Base) row(position int) ([]float32, error) {
	data := make([]byte, 4*b.vocab)
	if _, err := b.file.ReadAt(data, b.logits.Offset+int64(position)*int64(len(data))); err != nil {
		return nil, fmt.Errorf("%s: reading the logits in place %d: %w", b.file.Path(), position+1, err)
	}
	out := make([]float32, b.vocab)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out, nil
}

// Close closes the file.
func (b *Base) Close() error { return b.file.Close() }
