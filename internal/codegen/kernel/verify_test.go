package kernel

import (
	"strings"
	"testing"
)

// good is a kernel that touches most of the language: a row's norm, a tile
// product, and a search over a list.
const good = `kernel sample
doc "a sample"
schedule 64 32
setting "tile" "8 x 8" "the fragment's size"
field T i32 0
field token i32 16
field angles f32 32
pointer x f32x4 read
pointer w u32 read
pointer h f16 read
pointer y f32 readwrite
pointer z f32 write
scalar shift u32
shared part f32 2
shared tile f32 64
{
  comment "the norm"
  let row = %group.x
  var sum = 0.0
  for i = %thread to 16 by 64 {
    let v = device x[((row * 16) + i)]
    set sum = fma(lane0(v), lane0(v), sum)
  }
  let all = simd_sum(sum)
  if (%lane == 0) {
    store threadgroup part[%simd] = all
  }
  barrier
  let total = (threadgroup part[0] + threadgroup part[1])
  prefetch device w[(row + 1000)]
  let count = i32(device w[row]) about (%step.T * 2)
  for n = 0 to count by 1 {
    let item = device w[n]
  }
  let word = ((device w[row] >> shift) | 1u)
  let code = select((word < 16u), f32((word & 15u)), as_f32(word))
  if ((row < %step.T) & (step token[row] != -1)) {
    store device y[(i64(row) * 4l)] = rsqrt((total + 1e-06))
  } else {
    store device z[row] = max(neg(code), f32(device h[row]))
  }
  fragment a f32
  fragment acc f32
  for k = 0 to 8 by 8 {
    load a = threadgroup tile[k] stride 8 transposed
    multiply acc += a * a
  }
  put threadgroup tile[0] stride 8 = acc
  fragment wide f32 4 8
  fragment low f32 4 8
  load low = threadgroup tile[32] stride 8
  multiply wide += low * a
  barrier device
  let other = shuffle(step angles[(row % 32)], (%lane ^ 1))
  let pair = shuffle_xor1(vec(other, -inf, nan, 2.5))
  store device z[(row + simd_prefix(1))] = lane3(pair)
}
`

func TestPrintParse(t *testing.T) {
	k, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := Print(k); got != good {
		t.Errorf("prints as\n%s", got)
	}
	renamed := strings.Replace(strings.Replace(good, "kernel sample", "kernel other", 1), `"a sample"`, `"something"`, 1)
	if o, err := Parse(renamed); err != nil || o.Digest() != k.Digest() {
		t.Errorf("name and doc change the digest (%v)", err)
	}
	if o, err := Parse(strings.Replace(good, "1e-06", "2e-06", 1)); err != nil || o.Digest() == k.Digest() {
		t.Errorf("a constant does not change the digest (%v)", err)
	}
}

// TestRules breaks the sample in one place each.
func TestRules(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		// names and places
		{"kernel sample", "kernel layers.0", "expected a name"},
		{"scalar shift u32", "scalar shift u32\nscalar w u32", "declared twice"},
		{"  barrier\n", "  let all = 1\n  barrier\n", "declared twice"},
		{"set sum = fma", "set all = fma", "no variable"},
		{"set sum = fma", "set row = fma", "no variable"},
		{"lane0(v), sum)", "lane0(v), code)", "no variable"},
		{"lane0(v), sum)\n  }", "lane0(v), sum)\n  }\n  let late = v", "of this block"},
		{"store device y[", "store device w[", "holds u32"},
		{"store device y[(i64", "store device h[(i64", "holds f16"},
		{"pointer y f32 readwrite", "pointer y f32 read", "only read"},
		{"f32(device h[row])", "device z[row]", "only written"},
		{"device x[(", "device q[(", "there is no"},
		{"store threadgroup part[%simd]", "store step angles[%simd]", "only read"},
		{"%step.T", "%step.token", "unknown"},
		{"step token[row]", "step T[row]", "there is no"},
		{"prefetch device w", "prefetch device q", "no device memory q"},
		{"prefetch device w", "prefetch device shift", "no device memory shift"},
		{"w[(row + 1000)]", "w[(f32(row) + 1000.0)]", "must be an integer"},
		// types
		{"(row * 16)", "(row * 16u)", "one type"},
		{"var sum = 0.0", "var sum = 0", "fma"},
		{"(word & 15u)", "(word & all)", "one type"},
		{"select((word < 16u)", "select((word + 16u)", "takes a bool"},
		{"as_f32(word)", "as_f32(device h[row])", "not as many bits"},
		{"lane3(pair)", "lane1(other)", "lane 1 of f32"},
		{"simd_sum(sum)", "simd_sum(1l)", "takes f32, i32 or u32"},
		{"f32(device h[row])", "(device h[row] + device h[row])", "convert first"},
		{"if (%lane == 0)", "if %lane", "expected bool"},
		{"device w[row]", "device w[total]", "an index is"},
		{"vec(other, -inf, nan, 2.5)", "vec(other, -inf, nan)", "2 or 4"},
		{"shuffle_xor1", "shuffle_xor32", "in a SIMD group of 32"},
		{"rsqrt((total", "rsqrt((word", "one type"},
		{"(%lane ^ 1)", "word", "must be i32"},
		{"about (%step.T * 2)", "about 2.0", "expected i32, found f32"},
		// fragments
		{"multiply acc += a * a", "multiply acc += a * sum", "no fragment"},
		{"fragment a f32", "fragment a f16", "holds f32, not f16"},
		{"fragment a f32", "fragment a u32", "holds f32 or f16"},
		{"fragment wide f32 4 8", "fragment wide f32 0 8", "a fragment of 0 rows and 8 columns"},
		{"multiply wide += low * a", "multiply acc += low * a", "4 x 8 times 8 x 8 does not give 8 x 8"},
		{"multiply wide += low * a", "multiply wide += low * wide", "4 x 8 times 4 x 8 does not give 4 x 8"},
		{"tile[32] stride 8", "tile[33] stride 8", "element 64 of tile"},
		// bounds
		{"threadgroup part[1])", "threadgroup part[2])", "element 2 of part, which has 2"},
		{"tile[k] stride 8 transposed", "tile[(k + 1)] stride 8 transposed", "element 64 of tile"},
		{"for k = 0 to 8 by 8", "for k = 0 to 9 by 8", "element 71 of tile"},
		{"step token[row] != -1", "step token[16] != -1", "which has 16"},
		{"by 8 {", "by 0 {", "above 0"},
		// variables under one name, and loops that are unrolled
		{"  barrier\n", "  locals few f32 0\n  barrier\n", "0 variables of f32"},
		{"  barrier\n", "  locals few f32 1025\n  barrier\n", "expected 1 to 1024"},
		{"  barrier\n", "  locals few f32 2\n  locals few f32 2\n  barrier\n", "declared twice"},
		{"  barrier\n", "  set few[0] = 1.0\n  barrier\n", "few are no variables"},
		{"  barrier\n", "  locals few f32 2\n  set few[0] = 1\n  barrier\n", "expected f32"},
		{"  barrier\n", "  locals few f32 2\n  set few = 1.0\n  barrier\n", "no variable"},
		{"  barrier\n", "  locals few f32 2\n  let one = few\n  barrier\n", "few is no"},
		{"  barrier\n", "  locals few f32 2\n  let one = few[0u]\n  barrier\n", "expected i32"},
		{"  barrier\n", "  locals few f32 2\n  let one = few[2]\n  barrier\n", "elements 2 to 2 of few, which has 2"},
		{"  barrier\n", "  locals few f32 2\n  let one = few[-1]\n  barrier\n", "elements -1 to -1 of few"},
		{"  barrier\n", "  locals few f32 2\n  let one = few[%lane]\n  barrier\n", "not known before running"},
		{"  barrier\n", "  locals few f32 2\n  for j = 0 to 2 by 1 {\n    set few[j] = 1.0\n  }\n  barrier\n", "not known before running"},
		{"  barrier\n", "  locals few f32 2\n  for j = 0 to 2 by 1 unrolled {\n    set few[(j + 1)] = 1.0\n  }\n  barrier\n", "elements 1 to 2 of few"},
		{"  barrier\n", "  locals few f32 2\n  for j = 0 to 3 by 1 unrolled {\n    set few[(2 - j)] = 1.0\n  }\n  barrier\n", "elements 0 to 2 of few"},
		{"  barrier\n", "  for j = 0 to %lane by 1 unrolled {\n    barrier\n  }\n  barrier\n", "bounds and a step that are constants"},
		// schedule
		{"schedule 64 32", "schedule 60 32", "multiple"},
		{"schedule 64 32", "schedule 2048 32", "at most 1024"},
		{"shared tile f32 64", "shared tile f32 262144", "threadgroup memory"},
		// uniform control flow
		{"  barrier\n", "  if (%lane < 16) {\n    barrier\n  }\n", "a barrier stands where"},
		{"  barrier\n", "  if (%simd == 0) {\n    barrier\n  }\n", "SIMD groups of a threadgroup"},
		{"  barrier\n", "  for b = 0 to %lane by 1 {\n    barrier\n  }\n", "a barrier stands where"},
		{"    set sum =", "    barrier\n    set sum =", "a barrier stands where"},
		{"    set sum =", "    let bad = simd_max(sum)\n    set sum =", "simd_max stands where"},
		{"    store threadgroup part[%simd] = all", "    store threadgroup part[%simd] = simd_sum(all)", "simd_sum stands where"},
		{"  for k = 0 to 8", "  for k = 0 to (i32(sum) + 8)", "fragments stands where"},
		{"  barrier\n", "  if (device y[row] > 0.0) {\n    barrier\n  }\n", "a barrier stands where"},
		{"load a = threadgroup tile[k]", "load a = threadgroup tile[%lane]", "fragments stands where"},
	} {
		src := strings.Replace(good, c.from, c.to, 1)
		if src == good {
			t.Errorf("%q is not in the sample", c.from)
			continue
		}
		if _, err := Parse(src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: error %v, expected %q", c.to, c.from, err, c.want)
		}
	}
}

// TestUniform accepts what is uniform though it does not look it.
func TestUniform(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"  barrier\n", "  if (step token[row] > 0) {\n    barrier\n  }\n"},
		{"  barrier\n", "  for b = 0 to i32(device w[row]) by 1 {\n    barrier\n  }\n"},
		{"  barrier\n", "  if (%simd == 0) {\n    let more = simd_sum(sum)\n  }\n"},
		{"  barrier\n", "  if (all > 0.0) {\n    let more = simd_sum(sum)\n  }\n"},
		{"schedule 64 32", "schedule 32 32"},
	} {
		src := strings.Replace(good, c.from, c.to, 1)
		if _, err := Parse(src); err != nil || src == good {
			t.Errorf("%q: %v", c.to, err)
		}
	}
}

func TestSyntax(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"", "expected a declaration"},
		{"kernel k\nschedule 32 32\n{\n", "expected a statement"},
		{"kernel k\nschedule 32 32\n{\n}\nx", "end of the text"},
		{"kernel k\nnonsense\n{\n}\n", "expected a declaration"},
		{"kernel k\nschedule 32 32\n{\n  let a = (1 + 2\n}\n", `expected ")"`},
		{"kernel k\nschedule 32 32\n{\n  let a = 99999999999\n}\n", "not a number"},
		{"kernel k\nschedule 32 32\n{\n  let a = frobnicate(1)\n}\n", "no function"},
		{"kernel k\nschedule 32 32\n{\n  let a = min(1)\n}\n", "takes 2 operands"},
		{"kernel k\nschedule 32 32\n{\n  let a = b\n}\n", "no variable"},
		{"kernel k\nschedule 32 32\n{\n  let a = \"x\n}\n", "does not end"},
		{"kernel k\nschedule 32 32\n{\n  let a = 1 $\n}\n", "unexpected character"},
		{"kernel k\nschedule 32 32\n{\n  let a = " + strings.Repeat("(", 300) + "1\n}\n", "nested more than"},
		{strings.Repeat(" ", maxText+1), "the limit is"},
		{"kernel " + strings.Repeat("k", 5000) + "\nschedule 32 32\n{\n}\n", "kkk"},
		{"kernel k\nschedule 32 32\n{\n  let a = " + strings.Repeat("9", 1<<20) + "\n}\n", "4:11: \"999"},
		{"kernel k\nschedule 32 32 \"" + strings.Repeat("x", 1<<20) + "\"\n{\n}\n", "xxx..."},
		{"kernel k\nschedule 32 32\n{\n  let a = " + strings.Repeat("x", 4000) + "\n}\n", "xxx..."},
		{"kernel k\nschedule 32 32\n" + strings.Repeat("{\n", 1<<20), "expected a statement"},
	} {
		if _, err := Parse(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: error %.500v, expected %q", c.src, err, c.want)
		} else if len(err.Error()) > 500 {
			t.Errorf("%.60q: an error of %d bytes", c.src, len(err.Error()))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("kernel k\nschedule 32 32\n{\n}\n")
	f.Fuzz(func(t *testing.T, src string) {
		k, err := Parse(src)
		if err != nil {
			if n := len(err.Error()); n > 5000 {
				t.Fatalf("an error of %d bytes", n)
			}
			return
		}
		text := Print(k)
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("does not parse back: %v\n%s", err, text)
		}
		if Print(again) != text || !Equal(k, again) {
			t.Fatalf("prints otherwise\n%s\n%s", text, Print(again))
		}
	})
}

func TestEstimate(t *testing.T) {
	k, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Estimate(k, Env{Step: map[string]int64{"T": 3}, Scalars: map[string]int64{"shift": 8}, Grid: [3]int64{4, 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	// 16 vectors of 16 bytes for each of 4 threadgroups, spread over the threads;
	// one word for each SIMD group, again for the count of a list, and one for each of about
	// six in it; the condition does not hold for the last threadgroup, and depends on
	// data for the others: both branches.
	if c.Read["x"] != 4*16*16 || c.Read["w"] != 4*2*4*(2+6) || c.Barriers != 2 {
		t.Errorf("reads %v, %d barriers", c.Read, c.Barriers)
	}
	if c.Write["y"] != 3*64*4 || c.Write["z"] != 2*4*64*4 {
		t.Errorf("writes %v", c.Write)
	}
	// The fragments' products, for each of 8 SIMD groups: without them the rest is left.
	products := int64(4 * 2 * 2 * (8*8*8 + 4*8*8))
	without, err := Parse(strings.NewReplacer("multiply acc += a * a\n", "\n", "multiply wide += low * a\n", "\n").Replace(good))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := Estimate(without, Env{Step: map[string]int64{"T": 3}, Scalars: map[string]int64{"shift": 8}, Grid: [3]int64{4, 1, 1}})
	if err != nil || c.Flops-rest.Flops != products {
		t.Errorf("%d operations, %d without the fragments' products, which have %d; %v", c.Flops, rest.Flops, products, err)
	}
	if none, err := Estimate(k, Env{Grid: [3]int64{0, 1, 1}}); err != nil || none.Bytes() != 0 {
		t.Errorf("an empty grid costs %v, %v", none, err)
	}
}
