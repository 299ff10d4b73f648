// Package dynlib fills tables of functions from libraries of the system, without
// cgo. A table is a struct of functions: the field Name is the library's function
// prefix + Name, or what its tag `c` says.
package dynlib

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"smelt.example/smelt/internal/regular"
)

// ErrLoad is the dynamic loader's refusal.
var ErrLoad = errors.New("does not load")

// Load loads a library for its caller alone. A name without a folder is for the
// loader to find. The error is an ErrLoad.
func Load(name string) (handle uintptr, err error) {
	if err := fit(name); err != nil {
		return 0, err
	}
	if handle, err = purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL); err != nil {
		return 0, fmt.Errorf("%w: %s", ErrLoad, strings.Join(strings.Fields(err.Error()), " "))
	}
	return handle, nil
}

// fit refuses what the loader would wait for, or read without an end. What is not
// there is the loader's to report.
func fit(name string) error {
	if !strings.ContainsRune(name, filepath.Separator) {
		return nil // to be searched for by the loader
	}
	f, _, err := regular.Open(name)
	var kind *regular.KindError
	if errors.As(err, &kind) {
		return fmt.Errorf("%w: %w", ErrLoad, err)
	}
	if err == nil {
		f.Close() // only looked at
	}
	return nil
}

// Absent tells a library that is not there from one that cannot be used, by Load's error.
func Absent(name string, err error) bool {
	if !errors.Is(err, ErrLoad) {
		return false
	}
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return os.IsNotExist(err)
	}
	// The loader names the file it misses, which may be one that name needs.
	return strings.Contains(err.Error(), name+": cannot open shared object file")
}

// dlInfo is C's Dl_info: after the file come its address and the symbol's name
// and address.
type dlInfo struct {
	file *byte
	_    [3]uintptr
}

// FileOf names the file from which the loader mapped an address.
func FileOf(address uintptr) (string, bool) {
	symbol, err := purego.Dlsym(purego.RTLD_DEFAULT, "dladdr")
	if err != nil {
		return "", false
	}
	var dladdr func(address uintptr, info *dlInfo) int32
	purego.RegisterFunc(&dladdr, symbol)
	var info dlInfo
	if dladdr(address, &info) == 0 || info.file == nil {
		return "", false
	}
	file := Text(info.file)
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved
	}
	return file, true
}

// Identity is what a library's file is told by: its path, size and time.
func Identity(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	return fmt.Sprint(path, info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
}

// Bind fills the table from a library that purego.Dlopen opened, and lists the
// functions that it lacks, whose fields stay nil. Total is how many there are to fill.
func Bind(handle uintptr, prefix string, table any) (missing []string, total int) {
	v := reflect.ValueOf(table).Elem()
	for i := range v.NumField() {
		name := prefix + v.Type().Field(i).Name
		if tag := v.Type().Field(i).Tag.Get("c"); tag != "" {
			name = tag
		}
		address, err := purego.Dlsym(handle, name)
		if err != nil {
			missing = append(missing, name)
			continue
		}
		purego.RegisterFunc(v.Field(i).Addr().Interface(), address)
	}
	return missing, v.NumField()
}

// Symbol is the address of a library's function.
func Symbol(handle uintptr, name string) (uintptr, error) { return purego.Dlsym(handle, name) }

// Text copies a C string.
func Text(s *byte) string {
	if s == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(s), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(s, n))
}
