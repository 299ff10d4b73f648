package jit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// child is set in the environment of a test process that TestEveryLibrary runs.
const child = "SMELT_JIT_TEST_CHILD"

// TestEveryLibrary runs this package's tests again with each other libLLVM of
// the machine: a process can have one.
func TestEveryLibrary(t *testing.T) {
	if os.Getenv(child) != "" {
		t.Skip("this is such a run")
	}
	for _, path := range libraries(t, openLLVM(t).Path()) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			run := exec.Command(os.Args[0], "-test.v", fmt.Sprint("-test.short=", testing.Short()))
			run.Env = append(os.Environ(), child+"=1", Env+"="+path)
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%d tests passed", strings.Count(string(out), "--- PASS"))
		})
	}
}

// libraries lists the files of all candidates other than the one at path.
func libraries(t *testing.T, path string) []string {
	folders := []string{"/usr/lib64", "/usr/lib",
		"/usr/lib/" + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-linux-gnu"}
	seen := map[string]bool{path: true}
	var list []string
	for _, name := range Candidates(runtime.GOOS) {
		places := []string{name}
		if !filepath.IsAbs(name) {
			places = nil
			for _, folder := range folders {
				places = append(places, filepath.Join(folder, name))
			}
		}
		for _, place := range places {
			file, err := filepath.EvalSymlinks(place)
			if err == nil && !seen[file] {
				seen[file] = true
				list = append(list, file)
			}
		}
	}
	return list
}

// openLLVM loads the library that Env names or the newest one. Without any the
// test does not run.
func openLLVM(t testing.TB) *LLVM {
	t.Helper()
	l, err := Open("")
	if err != nil {
		if os.Getenv(Env) != "" {
			t.Fatal(err)
		}
		t.Skipf("did not run: %v", err)
	}
	return l
}
