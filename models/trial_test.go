package models_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/ir/encoding"
	"smelt.example/smelt/models/checkpoint"
)

// trial is a container as whoever adds one would write it: this file, and the row
// that format gives. A file is its magic, the length of a text with one line for
// each tensor (name, type, offset, dimensions), that text, and the data.
type trial struct {
	*container.Mapping
	tensors []container.Tensor
	hash    string
}

const trialMagic = "TRIAL\x00\x00\x01"

// format is the trial's row in a table of containers.
func format() container.Format {
	return container.Format{Name: "trial", Extension: ".trial", Magic: trialMagic, Open: func(path string) (container.File, error) {
		f := &trial{}
		m, err := container.Map(path, func(file *os.File, size int64) error { return f.read(file, path, size) })
		if err != nil {
			return nil, err
		}
		f.Mapping = m
		return f, nil
	}}
}

func (f *trial) Tensors() []container.Tensor { return f.tensors }
func (f *trial) HeaderHash() string          { return f.hash }

// read reads the header, which tells of tensors inside the file.
func (f *trial) read(r io.ReaderAt, path string, size int64) error {
	var length [4]byte
	if _, err := r.ReadAt(length[:], int64(len(trialMagic))); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	header := make([]byte, binary.LittleEndian.Uint32(length[:]))
	if _, err := r.ReadAt(header, int64(len(trialMagic)+len(length))); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	sum := sha256.Sum256(header)
	f.hash = hex.EncodeToString(sum[:])
	for _, line := range strings.Split(strings.TrimSpace(string(header)), "\n") {
		x := container.Tensor{File: f}
		var dtype, dims string
		if _, err := fmt.Sscan(line, &x.Name, &dtype, &x.Offset, &x.Bytes, &dims); err != nil {
			return fmt.Errorf("%s: header line %q: %w", path, line, err)
		}
		x.DType = encoding.DType(dtype)
		for _, d := range strings.Split(strings.Trim(dims, "[]"), ",") {
			var n int64
			if _, err := fmt.Sscan(d, &n); err == nil {
				x.Shape = append(x.Shape, n)
			}
		}
		if x.Offset < 0 || x.Bytes < 0 || x.Offset+x.Bytes > size {
			return fmt.Errorf("%s: tensor %s ends behind the file", path, x.Name)
		}
		f.tensors = append(f.tensors, x)
	}
	slices.SortFunc(f.tensors, func(a, b container.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// encodeTrial writes tensors as a file of the format. The data begins at odd bytes.
func encodeTrial(tensors []checkpoint.Tensor) []byte {
	header := func(start int64) (text string) {
		for _, x := range tensors {
			text += fmt.Sprintf("%s %s %12d %d [%s]\n", x.Name, x.DType, start, x.Bytes, strings.ReplaceAll(strings.Trim(fmt.Sprint(x.Shape), "[]"), " ", ","))
			start += x.Bytes + 1
		}
		return text
	}
	length := len(header(0)) // offsets are of equal width
	out := []byte(trialMagic)
	out = binary.LittleEndian.AppendUint32(out, uint32(length))
	out = append(out, header(int64(len(out)+length)+1)...)
	for _, x := range tensors {
		out = append(append(out, 0xff), x.Data()...)
	}
	return out
}

// inTrial is the checkpoint in dir with its weights in n files of the format.
func inTrial(t *testing.T, dir string, n int) string {
	t.Helper()
	ck, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	out := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(out, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("config.json", ck.ConfigJSON())
	all := ck.Tensors()
	for i := range n {
		name := "model.trial"
		if n > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.trial", i+1, n)
		}
		write(name, encodeTrial(all[i*len(all)/n:(i+1)*len(all)/n]))
	}
	return out
}

// TestContainerNames: a folder's files are found by the format's extension, and
// what begins otherwise than its name says is refused.
func TestContainerNames(t *testing.T) {
	dir := inTrial(t, fixture, 2)
	if _, err := checkpoint.Open(dir); err == nil || !strings.Contains(err.Error(), "no weights") {
		t.Errorf("without the row: %v", err)
	}
	ck, err := checkpoint.Open(dir, format())
	if err != nil {
		t.Fatal(err)
	}
	if len(ck.Files) != 2 || len(ck.Tensors()) == 0 {
		t.Errorf("%d files with %d tensors", len(ck.Files), len(ck.Tensors()))
	}
	if err := ck.Close(); err != nil {
		t.Error(err)
	}
	for name, x := range map[string]struct {
		change func(dir string) error
		want   []string
	}{
		"a shard is gone": {func(dir string) error { return os.Remove(filepath.Join(dir, "model-00001-of-00002.trial")) },
			[]string{"1 shard missing", "model-00001-of-00002.trial"}},
		"two formats": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "model.safetensors"), nil, 0o666) },
			[]string{"weights of several formats", "model.safetensors", "model-00001-of-00002.trial"}},
		"another magic": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "model-00001-of-00002.trial"), []byte("PK\x03"), 0o666)
		},
			[]string{"model-00001-of-00002.trial", `found "PK\x03" at its beginning`, "every trial file"}},
		"empty": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "model-00001-of-00002.trial"), nil, 0o666)
		},
			[]string{"model-00001-of-00002.trial", "is empty; download the file again"}},
		"another name": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "model-00001-of-00002.trial")), os.Rename(filepath.Join(dir, "model-00002-of-00002.trial"), filepath.Join(dir, "model.safetensors")))
		}, []string{"the name ends in .safetensors, the file begins as trial does; rename it to end in .trial"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := inTrial(t, fixture, 2)
			if err := x.change(dir); err != nil {
				t.Fatal(err)
			}
			_, err := checkpoint.Open(dir, format())
			for _, w := range x.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("the error lacks %q:\n%v", w, err)
				}
			}
		})
	}
}
