package standin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// in puts statements into a kernel with pointers to every kind of memory.
func in(statements string) string {
	return `#include <metal_stdlib>
using namespace metal;
struct Args { device const float *x; device float *y; device half *h; int n; };
kernel void k(constant Args &args [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    threadgroup float tile[64];
    device const float *x = args.x;
    device float *y = args.y;
    tile[lane] = x[lane];
    ` + statements + `
    y[lane] = tile[lane];
}
`
}

func TestCheckRefuses(t *testing.T) {
	c := compiler(t)
	if err := c.Check("k.metal", in("threadgroup float *p = tile + 1; *p = y[1]; y[2] = args.x[0];")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ statements, want string }{
		{"device float *p = tile;", "cannot initialize"},
		{"threadgroup float *p = y;", "cannot initialize"},
		{"float *p = y;", "cannot initialize"},
		{"constant float *p = y;", "cannot initialize"},
		{"device float *p = x;", "cannot initialize"},
		{"device float *p = y; p = tile;", "assigning"},
		{"args.n = 3;", "const-qualified"},
		{"y[0] = x[0] * 0.5;", "double"},
		{"y[0] = simd_sum(1l);", "at most 32 bits"},
		{"y[0] = simd_sum(true);", "at most 32 bits"},
		{"y[0] = max(x[0], 1);", "no matching function"},
		{"y[0] = exp(1);", "floating-point operands"},
		{"y[0] = float2(x[0], 1.0f, 2.0f).x;", "as many lanes"},
		{"y[0] = as_type<float>(1l);", "as many bytes"},
		{"int i = x[0];", "turns floating-point number into integer"},
		{"if (args.n > 0) { float lane = 1.0f; y[0] = lane; }", "shadow"},
		{"float v; y[0] = v;", "uninitialized"},
		{"args.h[0] = x[0];", "loses floating-point precision"},
		{"simdgroup_float8x8 m; simdgroup_load(m, args.h, 8);", "no matching function"},
		{"simdgroup_matrix<float, 8, 4> m;", "8 by 8"},
		{"y[0] = missing(x[0]);", "undeclared identifier"},
	} {
		err := c.Check("k.metal", in(test.statements))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "k.metal:10:") {
			t.Errorf("%s: got error %v, want one at k.metal:10 with %q", test.statements, err, test.want)
		}
	}
	if err := c.Check("../k.metal", in("")); err == nil || !strings.Contains(err.Error(), "file name") {
		t.Errorf("a file name with a folder: %v", err)
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, test := range []struct{ name, source, want string }{
		{"k.metal", "int x;", "k.metal: no kernel"},
		{"k.metal", "kernel void k(uint i) {}", `parameter "uint i": expected a type, a name and one [[attribute]]`},
		{"k.metal", "kernel void k(uint i [[amplification_id]]) {}", "attribute amplification_id is not known"},
		{"k.metal", "kernel void k(constant A &a [[buffer(2)]]) {}", "only buffer 0"},
		{"k.metal", "kernel void k(device float *a [[buffer(0)]]) {}", "must be a reference to a struct"},
		{"k.metal", "kernel void k(uint i [[thread_index_in_simdgroup]]", "no end"},
		{"k.metal", "[[kernel, max_total_threads_per_threadgroup(2048)]] void k() {}", "must be 1 to 1024"},
		{"a b.metal", "", "file name"},
		{"k.metal", "kernel void k() {\n  threadgroup float a[2], b[2];\n}", "expected one array or variable a line"},
		{"k.metal", "kernel void k() {\n  threadgroup float a = 1.0f;\n}", "expected one array or variable a line"},
	} {
		_, err := (&Compiler{}).Build(t.TempDir(), map[string]string{test.name: test.source}, Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.source, err, test.want)
		}
	}
	twice := map[string]string{"a.metal": "kernel void k() {}", "b.metal": "// kernel void x()\n[[kernel]] void k() {}"}
	if _, err := (&Compiler{}).Build(t.TempDir(), twice, Options{}); err == nil || !strings.Contains(err.Error(), "kernel k is in a.metal and in b.metal") {
		t.Errorf("a kernel in two files: %v", err)
	}
	c := compiler(t)
	_, err := c.Build(t.TempDir(), map[string]string{"k.metal": in("y[0] = missing;")}, Options{})
	if err == nil || !strings.Contains(err.Error(), "k.metal:10:") {
		t.Errorf("a text that does not compile: got error %v, want one at k.metal:10", err)
	}
}

func TestClangVersion(t *testing.T) {
	for _, test := range []struct {
		out  string
		want int
	}{
		{"Debian clang version 19.1.7 (3~deb12u1)\nTarget: x86_64-pc-linux-gnu\n", 19},
		{"clang version 21.0.0git\n", 21},
		{"Ubuntu clang version 14.0.0-1ubuntu1\n", 14},
		{"Apple clang version 16.0.0 (clang-1600.0.26.6)\n", 0},
		{"g++ (Debian 12.2.0-14) 12.2.0\n", 0},
	} {
		if got := clangVersion(test.out); got != test.want {
			t.Errorf("%q: version %d, want %d", test.out, got, test.want)
		}
	}
}

// TestSymbolizer: this clang's own comes first, then whatever PATH has.
func TestSymbolizer(t *testing.T) {
	dir := t.TempDir()
	add := func(path, script string) string {
		path = filepath.Join(dir, path)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("PATH", dir)
	// A clang that does not have a program prints its bare name.
	c := &Compiler{path: add("clang++-19", `echo "${1#*=}"`), version: 19}
	if got := c.symbolizer(); got != "" {
		t.Errorf("found %q, but there is none", got)
	}
	for _, name := range []string{"addr2line", "llvm-symbolizer", "llvm-symbolizer-19"} {
		want := add(name, "")
		if got := c.symbolizer(); got != want {
			t.Errorf("found %q, want %q", got, want)
		}
	}
	own := add("own", "")
	add("clang++-19", "echo "+own)
	if got := c.symbolizer(); got != own {
		t.Errorf("found %q, want clang's own %q", got, own)
	}
}

func TestFindSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(); err == nil || !strings.Contains(err.Error(), "clang-19") {
		t.Errorf("without clang: %v", err)
	}
}
