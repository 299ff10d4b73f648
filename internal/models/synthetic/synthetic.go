// Package synthetic makes checkpoints of random weights in memory: the true
// names, shapes and encodings of a DeepSeek-V4, with only some of its layers.
// They are for measuring; what they generate means nothing, but activations
// stay finite and routing is even, so that every kernel has its usual work.
package synthetic

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/models/checkpoint"
)

// Format is how weights are stored.
type Format int

// The formats.
const (
	// Official is DeepSeek's own: FP8 in blocks of 128 x 128, FP4 experts,
	// bf16 embedding and head.
	Official Format = iota
	// MLX4 is mlx-community's under the same names: affine 4 bits in groups of
	// 64, experts stacked, wo_a in pieces.
	MLX4
	// MLX4All is MLX4 with the compressors and the indexer's head weights
	// quantised too, as mlx-lm does by itself.
	MLX4All
	formats // how many there are
)

// String names the format.
func (f Format) String() string {
	switch f {
	case Official:
		return "official"
	case MLX4:
		return "mlx-4bit"
	case MLX4All:
		return "mlx-4bit-all"
	}
	return fmt.Sprintf("Format(%d)", int(f))
}

// Options says what to make.
type Options struct {
	// Layers are the numbers, ascending, of the configuration's layers to have;
	// each keeps its compression and routing. Empty means all.
	Layers []int
	Format Format
	// Stored, if not 0, is how many of Layers have weights of their own, the first ones.
	// Each other stands on one of these of its kind, in turn, for machines that have no
	// room for all.
	Stored int
}

// First is Options.Layers for the first n layers.
func First(n int) []int {
	layers := make([]int, max(0, n))
	for i := range layers {
		layers[i] = i
	}
	return layers
}

// Checkpoint is a bound model whose weights lie in anonymous memory. They are
// zero until Fill.
type Checkpoint struct {
	*arch.Model
	fills  []fill
	filled bool // the memory is in use
}

// New lays a checkpoint out and binds it. config is the content of a
// config.json, of which layers and quantisation are replaced; name stands for
// the folder in messages. No memory is used before Fill, however large the
// checkpoint. Close gives the memory back.
func New(name string, config []byte, o Options) (*Checkpoint, error) {
	if o.Stored != 0 {
		return shared(name, config, o)
	}
	config, err := adapt(name, config, o)
	if err != nil {
		return nil, err
	}
	cfg, err := deepseekv4.ParseConfig(config, name)
	if err != nil {
		return nil, err
	}
	graph, err := deepseekv4.Graph(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: the sizes do not make a graph: %w", name, err)
	}
	all, err := tensors(graph, cfg, o.Format)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be stored as %s: %w", name, o.Format, err)
	}
	files, err := reserve(name, all, o.Format)
	if err != nil {
		return nil, err
	}
	ck, err := checkpoint.FromFiles(name, config, files)
	if err != nil {
		return nil, errors.Join(err, closeAll(files))
	}
	m, err := deepseekv4.Architecture().Bind(ck)
	if err != nil {
		return nil, errors.Join(err, ck.Close())
	}
	c := &Checkpoint{Model: m}
	for _, t := range all {
		stored, _ := ck.Lookup(t.Name) // the files hold exactly these
		c.fills = append(c.fills, fill{stored, t.values})
	}
	return c, nil
}

// Bytes is the size of all weights that are stored.
func (c *Checkpoint) Bytes() (n int64) {
	for _, f := range c.fills {
		n += f.tensor.Bytes
	}
	return n
}

// Tokens is a prompt of n random token ids, for use without a tokenizer. The
// ids that begin and end texts do not occur unless there are no others.
func (c *Checkpoint) Tokens(n int, seed uint64) []int32 {
	special := map[int32]bool{}
	for _, ids := range [][]int32{c.BOS, c.EOS} {
		for _, id := range ids {
			special[id] = true
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	tokens := make([]int32, n)
	for i := range tokens {
		for {
			tokens[i] = rng.Int32N(int32(c.VocabSize))
			if !special[tokens[i]] || len(special) >= c.VocabSize {
				break
			}
		}
	}
	return tokens
}

// shardBytes bounds the data of one file, as published checkpoints do: devices
// have limits on the size of one mapping.
const shardBytes = 5_000_000_000

// lay puts the tensors of a file in the order in which writers of the format lay them: MLX
// in that of a hash table, so that they begin at any multiple of their elements' size.
func (f Format) lay(tensors []safetensors.Tensor) {
	safetensors.Sort(tensors)
	if f == Official {
		return
	}
	place := func(t safetensors.Tensor) uint64 {
		h := fnv.New64a()
		h.Write([]byte(t.Name))
		return h.Sum64()
	}
	slices.SortStableFunc(tensors, func(a, b safetensors.Tensor) int { return cmp.Compare(place(a), place(b)) })
}

// reserve spreads tensors over files, in order.
func reserve(name string, all []stored, f Format) ([]checkpoint.File, error) {
	var shards [][]safetensors.Tensor
	room := int64(0)
	for _, t := range all {
		if n := t.bytes(); len(shards) == 0 || n > room {
			shards, room = append(shards, nil), shardBytes
		}
		last := len(shards) - 1
		shards[last] = append(shards[last], t.Tensor)
		room -= t.bytes()
	}
	var files []checkpoint.File
	for i, tensors := range shards {
		f.lay(tensors)
		path := filepath.Join(name, fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards)))
		f, err := safetensors.InMemory(path, tensors)
		if err != nil {
			return nil, errors.Join(err, closeAll(files))
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []checkpoint.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
