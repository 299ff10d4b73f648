package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/regular"
)

const (
	configName = "config.json"

	maxConfigBytes = 16 << 20
	maxIndexBytes  = 256 << 20
	// maxShards bounds how many files are open at once. The largest published
	// checkpoints have some 200; systems map 65,530 ranges for a process.
	maxShards = 10_000
)

// fileSet says which files make up a checkpoint.
type fileSet struct {
	weights
	dir   string
	names []string // weight files in dir, sorted
	list  *index   // nil without an index file
	notes []string
}

// locate finds the weight files of the checkpoint at path, a folder or a
// single file. Without a usable answer the set has no names and findings say
// why.
func (cs containers) locate(path string, findings *Findings) fileSet {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		findings.AddError(fmt.Errorf("%w; check the path", errors.Unwrap(err))) // findings name the path
	case err != nil:
		findings.AddError(err)
	case info.IsDir():
		return cs.locateFolder(path, findings)
	case !info.Mode().IsRegular():
		findings.Add("this is "+regular.Kind(info.Mode()), "give the folder that holds "+configName+" and the weights, or a "+cs.extensions()+" file")
	default:
		return cs.locateFile(path, findings)
	}
	return fileSet{}
}

// locateFile takes one file for all weights.
func (cs containers) locateFile(path string, findings *Findings) fileSet {
	c, ok := cs.of(path)
	if !ok {
		findings.Add("this is neither a folder nor a "+cs.extensions()+" file", "give the folder that holds "+configName+" and the weights")
		return fileSet{}
	}
	set := fileSet{weights: weights{extension: c.Extension}, dir: filepath.Dir(path), names: []string{filepath.Base(path)}}
	if s, ok := set.parseShardName(set.names[0]); ok && s.of > 1 {
		findings.Add(fmt.Sprintf("this is shard %d of %d, not a whole checkpoint", s.number, s.of), "give its folder")
	}
	return set
}

func (cs containers) locateFolder(dir string, findings *Findings) fileSet {
	entries, err := os.ReadDir(dir)
	if err != nil {
		findings.AddError(err)
		return fileSet{}
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	set := fileSet{dir: dir}
	all := cs.in(names)
	found := slices.DeleteFunc(slices.Clone(all), func(w weights) bool { return len(w.present) == 0 && !w.hasIndex })
	switch {
	case len(found) > 1:
		findings.Add("weights of several formats", "remove those of all but one, or give the path of a single file", describeFolder(names)...)
		return set
	case len(found) == 1:
		set.weights = found[0]
	}
	switch {
	case set.hasIndex:
		set.fromIndex(findings)
	case !set.fromNames(findings):
		var expected []string
		for _, w := range all {
			expected = append(expected, w.expected())
		}
		findings.Add("no weights: looked for "+strings.Join(expected, ", or "),
			"give a folder that has one of them or the path of a single "+cs.extensions()+" file", describeFolder(names)...)
	}
	return set
}

// fromIndex takes the files the index names. Shards of the same set that it
// does not name are an error, other files beside them a note.
func (s *fileSet) fromIndex(findings *Findings) {
	path := filepath.Join(s.dir, s.index())
	raw, err := regular.Read(path, maxIndexBytes)
	if err == nil {
		s.list, err = parseIndex(raw, s.extension)
		if err != nil {
			err = fmt.Errorf("%s: %w; download it again", path, err)
		}
	}
	if err != nil {
		findings.AddError(err)
		return
	}
	named, present := s.list.shards, s.present
	missing := without(named, present)
	advice := "download them into " + s.dir
	if slices.Contains(present, s.single()) && !slices.Contains(named, s.single()) {
		advice += ", or remove " + s.index() + " to use " + s.single()
	}
	findings.AddEach("shard", "named by "+s.index()+" not in the folder", advice, missing)
	if len(named) == 0 {
		findings.Add("weight_map of "+s.index()+" is empty", "download it again")
	}

	var strays, others []string
	sets := s.setsOf(named)
	for _, name := range without(present, named) {
		if shard, ok := s.parseShardName(name); ok && sets[shard.total] {
			strays = append(strays, name)
		} else {
			others = append(others, name)
		}
	}
	findings.AddEach("shard", "of the same set not named by "+s.index(), "download the index again or remove the files", strays)
	s.noteOthers(others)
	s.names = without(named, missing)
}

// fromNames takes model.safetensors or a complete set of numbered shards.
// It is false if there are none of these.
func (s *fileSet) fromNames(findings *Findings) bool {
	numbers := map[string][]int{} // by total
	var shards, others []string
	for _, name := range s.present {
		shard, ok := s.parseShardName(name)
		switch {
		case ok:
			numbers[shard.total] = append(numbers[shard.total], shard.number)
			shards = append(shards, name)
		case name != s.single():
			others = append(others, name)
		}
	}
	hasSingle := slices.Contains(s.present, s.single())
	switch {
	case hasSingle && len(shards) > 0, len(numbers) > 1:
		findings.Add("several sets of weights and no "+s.index()+" to choose", "remove all but one or add the index", s.present...)
	case hasSingle:
		s.names = []string{s.single()}
	case len(numbers) == 1:
		for total, have := range numbers {
			findings.AddEach("shard", "missing, going by the names (there is no "+s.index()+")", "download them into "+s.dir, s.missingShards(total, have))
		}
		s.names = shards
	default:
		return false
	}
	if len(s.names) > maxShards {
		findings.Add(fmt.Sprintf("%d weight files, at most %d are opened", len(s.names), maxShards), "give a folder that holds one checkpoint")
		s.names = nil
	}
	s.noteOthers(others)
	return true
}

// noteOthers lists weight files that are left alone.
func (s *fileSet) noteOthers(names []string) {
	if len(names) > 0 {
		s.notes = append(s.notes, "not part of the checkpoint, not opened: "+message.List(names))
	}
}

func describeFolder(names []string) []string {
	if len(names) == 0 {
		return []string{"the folder is empty"}
	}
	return append([]string{"the folder has:"}, names...)
}

// A shardName is a parsed "model-00002-of-00010.safetensors". total is the
// last number as written: it identifies the set that the shard belongs to.
type shardName struct {
	number, of int
	total      string
}

// Five digits at most: the list of missing shards that a file name can cause
// stays bounded.
var shardPattern = regexp.MustCompile(`^model-(\d{1,5})-of-(\d{1,5})$`)

func (w weights) parseShardName(name string) (shardName, bool) {
	stem, ok := strings.CutSuffix(name, w.extension)
	m := shardPattern.FindStringSubmatch(stem)
	if !ok || m == nil {
		return shardName{}, false
	}
	number, _ := strconv.Atoi(m[1]) // digits only, as the pattern says
	of, _ := strconv.Atoi(m[2])
	return shardName{number, of, m[2]}, number >= 1 && number <= of
}

// missingShards lists the shards of the set "-of-total" that are not among
// numbers.
func (w weights) missingShards(total string, numbers []int) []string {
	of, _ := strconv.Atoi(total)
	have := make([]bool, of+1)
	for _, n := range numbers {
		have[n] = true
	}
	var names []string
	for n := 1; n <= of; n++ {
		if !have[n] {
			names = append(names, fmt.Sprintf("model-%0*d-of-%s%s", len(total), n, total, w.extension))
		}
	}
	return names
}

// setsOf are the sets of shards that files belong to, by their total as written.
func (w weights) setsOf(names []string) map[string]bool {
	sets := map[string]bool{}
	for _, name := range names {
		if shard, ok := w.parseShardName(name); ok {
			sets[shard.total] = true
		}
	}
	return sets
}

// without is the elements of all that are not in gone.
func without(all, gone []string) []string {
	away := make(map[string]bool, len(gone))
	for _, s := range gone {
		away[s] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return away[s] })
}
