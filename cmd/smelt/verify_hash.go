package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/checkpoint/filehash"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/models/checkpoint"
)

// hashReport is the output of `smelt verify --hash --json`. Field names are stable;
// docs/json.md explains them. Lists are never null.
type hashReport struct {
	Path       string         `json:"path"`
	Checkpoint string         `json:"checkpoint"`
	Bytes      int64          `json:"bytes"`
	Files      []comparedHash `json:"files"`
	OK         bool           `json:"ok"`
}

// comparedHash is a file of weights with the hash that was recorded and the one it has.
type comparedHash struct {
	Name     string `json:"name"`
	Bytes    int64  `json:"bytes"`
	Recorded string `json:"recorded"`
	Source   string `json:"source"`
	Found    string `json:"found"`
	OK       bool   `json:"ok"`
}

// hashFiles hashes a checkpoint's files with a bar on a terminal.
func hashFiles(ctx context.Context, io stdio, ck *checkpoint.Checkpoint, hub bool) (*filehash.Hashes, error) {
	total := int64(0)
	for _, f := range ck.Files {
		total += f.Size()
	}
	done, end := io.phases().Phase("hashing weights", total, progress.Bytes)
	defer end()
	h, err := filehash.Of(ctx, ck, filehash.Options{Hub: hub, Progress: done})
	if errors.Is(err, context.Canceled) {
		return nil, errInterrupted
	}
	return h, err
}

// hashBundle compares the weights with what compile --hash recorded.
func hashBundle(ctx context.Context, io stdio, c *compiled, o verifyOptions) error {
	recorded, err := c.RecordedHashes()
	switch {
	case errors.Is(err, bundle.ErrNoHashes):
		return fmt.Errorf("%w; make one while they are those you trust: smelt compile %s -o %s --hash, with the flags the bundle was made with", err, c.Checkpoint, c.Dir)
	case err != nil:
		return err
	}
	found, err := hashFiles(ctx, io, c.model.Checkpoint, false)
	if err != nil {
		return err
	}
	r := &hashReport{Path: c.Dir, Checkpoint: c.Checkpoint, Files: []comparedHash{}, OK: true}
	for i, f := range found.Files {
		want := recorded.Files[i]
		same := f.SHA256 == want.SHA256
		r.Files = append(r.Files, comparedHash{f.Name, f.Bytes, want.SHA256, want.Source, f.SHA256, same})
		r.Bytes += f.Bytes
		r.OK = r.OK && same
	}
	return r.end(io, o.json)
}

// end prints the report and turns files that differ into an error.
func (r *hashReport) end(io stdio, asJSON bool) error {
	p := page{w: io.out, st: styleFor(io.out)}
	if asJSON {
		p.err = writeIndented(io.out, r)
	} else {
		p.printf("read %s of weights, %s\n", plural(len(r.Files), "file"), bytesInWords(r.Bytes))
	}
	differ := 0
	for _, f := range r.Files {
		if f.OK {
			continue
		}
		differ++
		if !asJSON {
			p.printf("%s  %s: SHA-256 %s, recorded %s\n", p.st.yellow("DIFFERS"), filepath.Join(r.Checkpoint, f.Name), f.Found, f.Recorded)
		}
	}
	switch {
	case p.err != nil:
		return p.err
	case differ > 0:
		return fmt.Errorf("%s of weights changed since %s was compiled with --hash; put them back, or compile again if they are to be so", plural(differ, "file"), r.Path)
	case !asJSON:
		p.printf("all are as smelt compile --hash recorded them\n")
	}
	return p.err
}
