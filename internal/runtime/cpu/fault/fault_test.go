//go:build linux || darwin

package fault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// readers are functions of machine code that read a byte: by itself, and by way of
// the C library.
const readers = `
declare i8* @memcpy(i8*, i8*, i64)
define i64 @load(i8* %p) nounwind {
  %b = load volatile i8, i8* %p
  %r = zext i8 %b to i64
  ret i64 %r
}
define i64 @copy(i8* %p) nounwind {
  %to = alloca [512 x i8]
  %first = getelementptr [512 x i8], [512 x i8]* %to, i64 0, i64 0
  %copied = call i8* @memcpy(i8* %first, i8* %p, i64 512)
  %b = load volatile i8, i8* %first
  %r = zext i8 %b to i64
  ret i64 %r
}
`

// scene names what a process of these tests does, in its environment.
const scene = "SMELT_TEST_FAULT"

func TestMain(m *testing.M) {
	name := os.Getenv(scene)
	if name == "" {
		os.Exit(m.Run())
	}
	s, err := newStage()
	if err == nil {
		err = scenes[name].act(s)
	}
	if err != nil {
		fmt.Println(err)
	}
	runtime.KeepAlive(s)
	fmt.Println("the end")
}

// stage is what a scene has: two mapped files of three pages, the first watched.
type stage struct {
	dir        string
	files      [2]container.File
	watch      *Watch
	program    *jit.Program
	load, copy uintptr
}

func newStage() (*stage, error) {
	l, err := jit.Open("")
	if err != nil {
		return nil, err
	}
	object, err := l.Compile("readers", readers, jit.Options{})
	if err != nil {
		return nil, err
	}
	program, err := l.Link([][]byte{object})
	if err != nil {
		return nil, err
	}
	s := &stage{dir: os.Getenv(scene + "_DIR"), program: program}
	if s.load, err = program.Symbol("load"); err != nil {
		return nil, err
	}
	if s.copy, err = program.Symbol("copy"); err != nil {
		return nil, err
	}
	for i := range s.files {
		n := int64(3 * os.Getpagesize())
		out := safetensors.Out{Name: "w", DType: safetensors.U8, Shape: []int64{n}, Data: bytes.Repeat([]byte{7}, int(n))}
		if err := safetensors.Write(s.path(i), []safetensors.Out{out}, nil); err != nil {
			return nil, err
		}
		if s.files[i], err = safetensors.Open(s.path(i)); err != nil {
			return nil, err
		}
	}
	s.watch, err = Start(l, nil, []Mapping{{s.files[0].Bytes(), s.path(0)}})
	return s, err
}

func (s *stage) path(i int) string { return filepath.Join(s.dir, fmt.Sprintf("%d.safetensors", i)) }

// cut leaves a page of a file.
func (s *stage) cut(i int) error { return os.Truncate(s.path(i), int64(os.Getpagesize())) }

// gone is a byte that a file no longer has once it is cut.
func (s *stage) gone(i int) *byte { return &s.files[i].Bytes()[2*os.Getpagesize()] }

func (s *stage) read(function uintptr, p *byte) {
	n, _, _ := purego.SyscallN(function, uintptr(unsafe.Pointer(p)))
	fmt.Println("read", n)
}

// play is a scene, in a process of its own.
type play struct {
	status int
	says   string // on standard error: PATH is file 0; all of it for Status, else a part
	prints string // the beginning of standard output
	act    func(s *stage) error
}

// theLine is what the handler writes for file 0.
var theLine = line("PATH")

// scenes are what is tried.
var scenes = map[string]play{
	"whole": {0, "", "read 7\nthe end\n", func(s *stage) error {
		s.read(s.load, s.gone(0))
		return nil
	}},
	"kernel": {Status, theLine, "", func(s *stage) error {
		err := s.cut(0)
		s.read(s.load, s.gone(0))
		return err
	}},
	"last byte of the page before": {Status, theLine, "read 0\n", func(s *stage) error {
		err := os.Truncate(s.path(0), int64(os.Getpagesize())+1)
		s.read(s.load, &s.files[0].Bytes()[2*os.Getpagesize()-1]) // in the file's last page: a zero
		s.read(s.load, s.gone(0))
		return err
	}},
	"cut to nothing": {Status, theLine, "", func(s *stage) error {
		err := os.Truncate(s.path(0), 0)
		s.read(s.load, &s.files[0].Bytes()[0])
		return err
	}},
	"report": {Status, theLine, "{\"a\":1,\"error\":\"PATH: the file was cut short, or its disk failed, while a kernel read it; what was computed with it is not given out: put the whole file back and start again\"}\n", func(s *stage) error {
		err := errors.Join(Report([]byte("old"), nil), Report([]byte(`{"a":1,"error":`), []byte("}\n")), s.cut(0))
		s.read(s.load, s.gone(0))
		return err
	}},
	"long report": {Status, theLine, strings.Repeat("x", 1<<20) + `"PATH: the file`, func(s *stage) error {
		for n := range 100 {
			if err := Report(bytes.Repeat([]byte{'o'}, 1000*n), []byte("old")); err != nil {
				return err
			}
		}
		err := errors.Join(Report(bytes.Repeat([]byte{'x'}, 1<<20), nil), s.cut(0))
		s.read(s.load, s.gone(0))
		return err
	}},
	"report taken back": {Status, theLine, "read 7\n", func(s *stage) error {
		err := Report([]byte("a"), []byte("b"))
		s.read(s.load, s.gone(0))
		err = errors.Join(err, Report(nil, nil), Report(nil, nil), s.cut(0))
		s.read(s.load, s.gone(0))
		return err
	}},
	"C library": {Status, theLine, "", func(s *stage) error {
		err := s.cut(0)
		s.read(s.copy, s.gone(0))
		return err
	}},
	"threads": {Status, theLine, "", func(s *stage) error {
		err := s.cut(0)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				runtime.LockOSThread()
				s.read(s.load, s.gone(0))
			})
		}
		group.Wait()
		return err
	}},
	"other mapping": {2, "SIGBUS", "", func(s *stage) error {
		err := s.cut(1)
		s.read(s.load, s.gone(1))
		return err
	}},
	"after Stop": {2, "SIGBUS", "", func(s *stage) error {
		err := errors.Join(s.cut(0), s.watch.Stop(), s.watch.Stop())
		s.read(s.load, s.gone(0))
		return err
	}},
	"Go in Guard": {0, "", "PATH: the file was cut short while it was in use: ", func(s *stage) error {
		err := s.cut(0)
		into := make([]byte, 100)
		return errors.Join(err, container.Guard(func() { copy(into, s.files[0].Bytes()[2*os.Getpagesize():]) }, s.files[:]...))
	}},
	"Go without Guard": {2, "unexpected fault address", "", func(s *stage) error {
		err := s.cut(0)
		fmt.Println(*s.gone(0))
		return err
	}},
	"many watches": {Status, theLine, "", func(s *stage) error {
		var watches []*Watch
		for i := range 40 {
			w, err := Start(nil, nil, []Mapping{{make([]byte, 1), fmt.Sprint(i)}, {s.files[1].Bytes()[:1], "x"}})
			if err != nil {
				return err
			}
			watches = append(watches, w)
		}
		for i := range watches {
			if err := watches[(i*7)%40].Stop(); err != nil {
				return err
			}
		}
		err := s.cut(0)
		s.read(s.load, s.gone(0))
		return err
	}},
}

// TestScenes plays all scenes.
func TestScenes(t *testing.T) {
	if _, err := jit.Open(""); err != nil {
		t.Skip(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.Command(program)
			cmd.Env = append(os.Environ(), scene+"="+name, scene+"_DIR="+dir)
			var out, said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &said
			cmd.Run() // its state says what came of it
			in := func(text string) string {
				return strings.ReplaceAll(text, "PATH", filepath.Join(dir, "0.safetensors"))
			}
			status, text := cmd.ProcessState.ExitCode(), said.String()
			if status != p.status || !strings.HasPrefix(out.String(), in(p.prints)) {
				t.Errorf("status %d, printed %q; want status %d, %q\n%s", status, out.String(), p.status, in(p.prints), text)
			}
			if p.status == Status && text != in(p.says) || !strings.Contains(text, in(p.says)) || p.status == 0 && text != "" {
				t.Errorf("said\n%s\nwant\n%s", text, in(p.says))
			}
			if strings.Contains(out.String(), "the end") != (p.status == 0) {
				t.Errorf("printed %q with status %d", out.String(), status)
			}
		})
	}
}

// TestGoCode: all functions of Go lie in the range, and neither code made here nor
// the heap.
func TestGoCode(t *testing.T) {
	from, end := goCode()
	for _, f := range []any{TestGoCode, strings.Contains, runtime.GC, bytes.Equal, unix.Munmap, purego.SyscallN} {
		if pc := reflect.ValueOf(f).Pointer(); pc < from || pc >= end {
			t.Errorf("%s at %#x is outside %#x to %#x", runtime.FuncForPC(pc).Name(), pc, from, end)
		}
	}
	if n := end - from; n < 1<<20 || n > 1<<30 {
		t.Errorf("%d bytes of code", n)
	}
	for _, pc := range []uintptr{from - 1, end, end + 1<<20, uintptr(address(make([]byte, 1<<20)))} {
		if runtime.FuncForPC(pc) != nil || pc >= from && pc < end {
			t.Errorf("%#x is said to be of Go, in %#x to %#x", pc, from, end)
		}
	}
}

// TestHandlerText: there is a text for every system that has machine code, and for
// no other.
func TestHandlerText(t *testing.T) {
	for system := range layouts {
		os, arch, _ := strings.Cut(system, "/")
		text, err := handlerText(os, arch)
		if err != nil || !strings.Contains(text, handlerName) || regexp.MustCompile("ADDRESS|LOAD|REGISTERS|PC|STATUS").MatchString(text) {
			t.Errorf("%s: %v\n%s", system, err, text)
		}
	}
	if _, err := handlerText("linux", "riscv64"); err == nil {
		t.Error("riscv64 has a handler")
	}
}
