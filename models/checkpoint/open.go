// Package checkpoint opens a checkpoint where it lies: a folder with
// config.json and its weights as one or more files of a format that smelt knows, or
// a single such file. Opening maps the files and checks that they are whole and that
// files and index agree about every tensor; no weight is read.
package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"smelt.example/smelt/internal/hub"
	"smelt.example/smelt/internal/imposter"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/models/checkpoint/formats"
)

// A File is one file of weights, whatever its format.
type File = container.File

// A Tensor is a tensor of one of the checkpoint's files.
type Tensor = container.Tensor

// A Checkpoint is an open checkpoint.
type Checkpoint struct {
	Dir   string   // the folder
	Files []File   // the weights, sorted by path
	Notes []string // what is odd but harmless, for the user to see

	tensors    []Tensor // sorted by name
	superseded []superseded
	absent     absent
	config     []byte
	ready      func() error // what Ready looks at; nil before Bind
}

// Open opens the checkpoint at path, a folder or a file of weights with
// config.json beside it; also a folder of the Hugging Face hub's cache, or the id of
// a model there (org/name). In a folder, model.safetensors.index.json says which
// files belong to it; without an index it is model.safetensors or a complete
// set model-00001-of-0000N.safetensors. Other formats' files are called alike, with
// another extension. more are formats to know beside those that are always known.
//
// Of a tensor that two files hold, the copy counts that the index names; the other is
// listed among what Bind ignores. What the index names and no file has is an error of
// Bind's, unless the model has no use for it.
//
// Everything else that is wrong is reported in one *Findings: files that are
// missing or damaged, and tensors that the index places elsewhere than they
// are, that it does not know, or that two files hold without its saying which counts.
func Open(path string, more ...container.Format) (*Checkpoint, error) {
	findings := &Findings{Path: path}
	found, err := hub.Resolve(path)
	if err != nil {
		findings.AddError(err)
		return nil, findings
	}
	path, findings.Path = found, found
	cs := formats.Table(slices.Concat(more, formats.All()))
	set := locate(cs, path, findings)
	c := &Checkpoint{Dir: set.dir, Notes: set.notes}
	if set.dir != "" {
		c.readConfig(findings)
	}
	c.Files = openFiles(cs, set.dir, set.names, findings)
	strays, unreadable := openStrays(cs, set)
	c.Files = append(c.Files, strays...)
	c.collect(set.list, findings)
	c.dropStrays(set, strays, unreadable, findings)
	if set.list == nil {
		c.checkOthers(cs, set, findings)
	} else {
		c.checkIndex(set, findings)
	}
	if findings.Err() != nil {
		c.absent.report(nil, findings) // all at once
		c.Close()                      // the mappings are of no use to anyone; findings are the error
		return nil, findings
	}
	return c, nil
}

// FromFiles makes a checkpoint of open files and the content of a config.json,
// wherever they come from. dir stands for the folder in messages. Once it
// succeeds the files are the checkpoint's, which closes them. A tensor that two
// files hold is an error, a *Findings.
func FromFiles(dir string, config []byte, files []File) (*Checkpoint, error) {
	findings := &Findings{Path: dir}
	c := &Checkpoint{Dir: dir, Files: slices.Clone(files), config: config}
	slices.SortFunc(c.Files, func(a, b File) int { return strings.Compare(a.Path(), b.Path()) })
	c.collect(nil, findings)
	if err := findings.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Tensors lists all tensors sorted by name. The slice is the checkpoint's own
// and not to be modified.
func (c *Checkpoint) Tensors() []Tensor { return c.tensors }

// Lookup finds a tensor by its name.
func (c *Checkpoint) Lookup(name string) (Tensor, bool) {
	i, ok := slices.BinarySearchFunc(c.tensors, name, func(t Tensor, name string) int { return strings.Compare(t.Name, name) })
	if !ok {
		return Tensor{}, false
	}
	return c.tensors[i], true
}

// ConfigJSON is the content of config.json as it is in the file.
func (c *Checkpoint) ConfigJSON() []byte { return c.config }

// Ready reads what must hold of the weights' values before kernels run, and says
// in a *Findings what does not: integers that kernels use as positions in other
// tensors, such as the experts of each token, must be positions there, for kernels
// do not look. They are read once; later calls give the first answer. A checkpoint
// that was not bound (Bind) has nothing to look at.
func (c *Checkpoint) Ready() error {
	if c.ready == nil {
		return nil
	}
	return c.ready()
}

// Intact is a *container.ChangedError if a file of weights was cut short or
// written to since it was opened. Devices ask after each step, before they give out
// what it computed: one system call for each file, of about a microsecond.
func (c *Checkpoint) Intact() error {
	for _, f := range c.Files {
		if err := f.Intact(); err != nil {
			return err
		}
	}
	return nil
}

// Close unmaps all files. Data of the tensors is no longer valid.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.Files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func (c *Checkpoint) readConfig(findings *Findings) {
	var err error
	c.config, err = imposter.Read(filepath.Join(c.Dir, configName), maxConfigBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		advice := "it says what model this is; download it from where the weights came from"
		if d, ok := hub.Of(c.Dir); ok {
			advice = fmt.Sprintf("it says what model this is; %s goes on with the download", d)
		}
		findings.Add(fmt.Sprintf("no %s in %s", configName, c.Dir), advice)
	case err != nil:
		findings.AddError(err)
	}
}

// maxParallel bounds how many headers, up to 100 MB each, are in memory.
const maxParallel = 4

// openFiles opens files of a folder, a few at a time; findings come in the order of the
// names.
func openFiles(cs formats.Table, dir string, names []string, findings *Findings) (open []File) {
	files := make([]File, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	slots := make(chan struct{}, min(maxParallel, runtime.GOMAXPROCS(0)))
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			files[i], errs[i] = cs.Open(filepath.Join(dir, name))
			<-slots
		})
	}
	wg.Wait()
	for i, f := range files {
		if errs[i] != nil {
			findings.AddError(errs[i])
			continue
		}
		open = append(open, f)
	}
	return open
}
