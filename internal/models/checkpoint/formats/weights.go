package formats

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Weights are the files of one format in a folder, and how its files are called.
// The names are Hugging Face's, whatever the extension: model.safetensors, or
// model-00001-of-00002.safetensors and so on with an index.
type Weights struct {
	Extension string
	Present   []string // sorted
	HasIndex  bool
}

// Single is the name of a file that holds all.
func (w Weights) Single() string { return "model" + w.Extension }

// Index is the name of the index of several.
func (w Weights) Index() string { return w.Single() + ".index.json" }

// Expected lists the names that are looked for.
func (w Weights) Expected() string {
	return fmt.Sprintf("%s, %s and model-00001-of-0000N%s", w.Index(), w.Single(), w.Extension)
}

// A Shard is a parsed "model-00002-of-00010.safetensors". Total is the
// last number as written: it identifies the set that the shard belongs to.
type Shard struct {
	Number, Of int
	Total      string
}

// Five digits at most: the list of missing shards that a file name can cause
// stays bounded.
var shardPattern = regexp.MustCompile(`^model-(\d{1,5})-of-(\d{1,5})$`)

// ParseShard reads a file's name; false if it is no shard's.
func (w Weights) ParseShard(name string) (Shard, bool) {
	stem, ok := strings.CutSuffix(name, w.Extension)
	m := shardPattern.FindStringSubmatch(stem)
	if !ok || m == nil {
		return Shard{}, false
	}
	number, _ := strconv.Atoi(m[1]) // digits only, as the pattern says
	of, _ := strconv.Atoi(m[2])
	return Shard{number, of, m[2]}, number >= 1 && number <= of
}

// Missing lists the shards of the set "-of-total" that are not among
// numbers.
func (w Weights) Missing(total string, numbers []int) []string {
	of, _ := strconv.Atoi(total)
	have := make([]bool, of+1)
	for _, n := range numbers {
		have[n] = true
	}
	var names []string
	for n := 1; n <= of; n++ {
		if !have[n] {
			names = append(names, fmt.Sprintf("model-%0*d-of-%s%s", len(total), n, total, w.Extension))
		}
	}
	return names
}

// Sets are the sets of shards that files belong to, by their total as written.
func (w Weights) Sets(names []string) map[string]bool {
	sets := map[string]bool{}
	for _, name := range names {
		if shard, ok := w.ParseShard(name); ok {
			sets[shard.Total] = true
		}
	}
	return sets
}
