package jit

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestCandidates(t *testing.T) {
	for goos, want := range map[string][]string{
		"linux":  {"libLLVM.so.21.1", "libLLVM.so.19.1", "libLLVM-18.so.1", "libLLVM-14.so.1", "/usr/lib/llvm-14/lib/libLLVM-14.so", "libLLVM.so"},
		"darwin": {"/opt/homebrew/opt/llvm/lib/libLLVM.dylib", "/opt/homebrew/opt/llvm@19/lib/libLLVM.dylib", "/usr/local/opt/llvm@14/lib/libLLVM.dylib"},
	} {
		list := Candidates(goos)
		last := -1
		for _, name := range want {
			at := slices.Index(list, name)
			if at <= last {
				t.Errorf("%s: %s is number %d, after number %d", goos, name, at, last)
			}
			last = at
		}
	}
}

// What cannot be used gives one line that says why and what to do.
func TestUnfitLibrary(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libLLVM.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	libc := "libc.so.6"
	if runtime.GOOS == "darwin" {
		libc = "/usr/lib/libSystem.B.dylib"
	}
	for path, want := range map[string]string{
		"/nowhere/libLLVM.so": "/nowhere/libLLVM.so does not load: ",
		text:                  text + " does not load: ",
		"/dev/zero":           "/dev/zero does not load: /dev/zero is a character device",
		t.TempDir():           "is a folder",
		libc:                  libc + " is not libLLVM: it has no LLVM",
	} {
		_, err := Open(path)
		wantLine(t, err, want, "install libLLVM", Env)
	}
	_, err := open("linux", []string{"libLLVM-none.so.1", "/nowhere/libLLVM.so", text, libc})
	wantLine(t, err, "no libLLVM of version 14 or newer", "4 places from libLLVM-none.so.1 to "+libc,
		"; "+text+" does not load", "; "+libc+" is not libLLVM", "apt-get install libllvm19", Env)
	if strings.Contains(err.Error(), "; libLLVM-none") || strings.Contains(err.Error(), "; /nowhere") {
		t.Errorf("names what is not there one by one: %v", err)
	}
	_, err = open("darwin", []string{"/nowhere/libLLVM.dylib"})
	wantLine(t, err, "brew install llvm")
}

// wantLine checks that an error is one line that contains texts.
func wantLine(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", texts)
		return
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("several lines: %v", err)
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q lacks %q", err, s)
		}
	}
}

func TestOpenFromEnvironment(t *testing.T) {
	t.Setenv(Env, "/nowhere/libLLVM.so")
	_, err := Open("")
	wantLine(t, err, "/nowhere/libLLVM.so does not load")
}

// A process cannot have two libLLVM, but the same one twice.
func TestOpenSecond(t *testing.T) {
	l := openLLVM(t)
	again, err := Open(l.Path())
	if err != nil || again.Path() != l.Path() || again.Version() != l.Version() {
		t.Errorf("opening %s again: %v", l.Path(), err)
	}
	others := libraries(t, l.Path())
	if len(others) == 0 {
		t.Skip("ended early: this machine has one libLLVM")
	}
	_, err = Open(others[0])
	wantLine(t, err, others[0]+" cannot be used beside", l.Path())
}

func TestHost(t *testing.T) {
	for features, want := range map[string]int{
		"":                      4,
		"+neon,+fp-armv8":       4,
		"+sse4.2,-avx2":         4,
		"+avx,+avx2,-avx512f":   8,
		"+avx2,+avx512f,+avx":   16,
		"+avx512f,+avx2,-amx-x": 16,
	} {
		if got := (Host{Features: features}).Lanes(); got != want {
			t.Errorf("%q: %d lanes, want %d", features, got, want)
		}
	}
	h := openLLVM(t).Host()
	arch := map[string]string{"amd64": "x86_64-", "arm64": "a"}[runtime.GOARCH]
	if !strings.HasPrefix(h.Triple, arch) || h.CPU == "" {
		t.Errorf("host %+v on %s", h, runtime.GOARCH)
	}
	if !slices.IsSorted(strings.Split(h.Features, ",")) {
		t.Errorf("features are not in order: %s", h.Features)
	}
}
