package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/llvm"
	"smelt.example/smelt/internal/codegen/lower"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// Flash's products of one row (outputs by inputs; wo_a is eight of its kind).
var flashShapes = []struct {
	name         string
	groups, n, k int
}{
	{"wq_b", 1, 32768, 1024},
	{"wo_a", 8, 1024, 4096},
	{"wo_b", 1, 4096, 8192},
	{"expert_up", 1, 2048, 4096},
	{"expert_down", 1, 4096, 2048},
	{"head", 1, 129280, 4096},
}

// rotated is how many bytes of weights a benchmark goes through before it comes
// back to the first: far more than caches hold.
const rotated = 512 << 20

// BenchmarkMatvec runs the decode kernel of each of Flash's shapes in each
// encoding, on all threads, over weights that no cache holds, and measures the
// bandwidth of plain reading beside it.
func BenchmarkMatvec(b *testing.B) {
	l := openLLVM(b)
	for _, name := range []string{"fp8_e4m3_b128", "fp4_e2m1_g32", "affine4_g64_bf16", "bf16"} {
		e, err := encoding.Parse(name)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range flashShapes {
			b.Run(fmt.Sprintf("%s/%s", name, s.name), func(b *testing.B) {
				m := newMatvec(b, l, e, s.groups, s.n, s.k)
				b.SetBytes(m.bytes)
				read := m.readBandwidth()
				b.ResetTimer()
				for i := range b.N {
					m.run(i)
				}
				b.StopTimer()
				rate := float64(m.bytes) * float64(b.N) / b.Elapsed().Seconds()
				read = (read + m.readBandwidth()) / 2
				b.ReportMetric(rate/1e9, "GB/s")
				b.ReportMetric(100*rate/read, "%read")
				b.ReportMetric(read/1e9, "GB/s-read")
			})
		}
	}
}

// product is one product with weights in many copies.
type product struct {
	pool   *pool
	memory memory
	jobs   [][]job // for each copy
	probe  []job   // what the machine can do at most
	bytes  int64   // of one copy
}

func newMatvec(b *testing.B, l *jit.LLVM, e encoding.Encoding, groups, n, k int) *product {
	m, c, reader := newProduct(b, l, e, program.Decode, 1, groups, n, k, roofline.Read)
	m.bindReads(b, reader, c)
	return m
}

// newProduct makes the kernel of a product of some rows, with one that probes
// the machine beside it.
func newProduct(b *testing.B, l *jit.LLVM, e encoding.Encoding, phase program.Phase, rows, groups, n, k int, probe func(target.Target) (*roofline.Probe, error)) (*product, *code, *roofline.Probe) {
	b.Helper()
	host, err := target.Named("cpu")
	if err != nil {
		b.Fatal(err)
	}
	module, params := productModule(b, e, groups, n, k)
	in := &lower.Input{Module: module, Region: module.Regions[0], Phase: phase, Step: program.NewStep(module, max(rows, 16)), Params: params, Target: host}
	launches, err := lower.Lower(in)
	if err != nil || len(launches) != 1 {
		b.Fatalf("%d launches, %v", len(launches), err)
	}
	m := &product{}
	b.Cleanup(func() {
		m.pool.close()
		m.memory.free()
	})
	probed, err := probe(host)
	if err != nil {
		b.Fatal(err)
	}
	c, err := compile([]*kernel.Kernel{launches[0].Kernel, probed.Kernel}, Options{LLVM: l, Cache: jit.UserCache(), Threads: runtime.GOMAXPROCS(0)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.program.Close() })
	m.bind(b, in, launches[0], c, rows)
	shared := m.alloc(b, int64(c.shared+4096)*int64(runtime.GOMAXPROCS(0)))
	m.pool = newPool(runtime.GOMAXPROCS(0), func(i int) uintptr { return uintptr(address(shared)) + uintptr(i*(c.shared+4096)/4096*4096) })
	return m, c, probed
}

func (m *product) alloc(b *testing.B, n int64) []byte {
	b.Helper()
	data, err := m.memory.alloc("benchmark", n)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// productModule is y = x . w, in groups or not.
func productModule(b *testing.B, e encoding.Encoding, groups, n, k int) (*ir.Module, storage.Parameters) {
	b.Helper()
	src := fmt.Sprintf(`module @product
symbol T = rows
input %%token : tensor<T x i32>
param @table : tensor<4 x %[2]d x f32>
param @w : tensor<%[1]d x %[2]d x f32>
%%t = dequantize @table : tensor<4 x %[2]d x f32>
%%x = take_rows(%%t, %%token) : tensor<T x %[2]d x f32>
region linear @product {
  %%d = dequantize @w : tensor<%[1]d x %[2]d x f32>
  %%y = matmul(%%x, %%d) : tensor<T x %[1]d x f32>
} yields %%y
return %%y
`, n*groups, k)
	m, err := text.Parse("product", src)
	if err != nil {
		b.Fatal(err)
	}
	planes, err := e.Planes(n*groups, k)
	if err != nil {
		b.Fatal(err)
	}
	piece, at := storage.Piece{Rows: n * groups}, int64(0)
	for _, p := range planes {
		extent := storage.Extent{Offset: at, Bytes: int64(p.Bytes())}
		switch p.Role {
		case encoding.Weight:
			piece.Weight = extent
		case encoding.Scales:
			piece.Scales = extent
		case encoding.Biases:
			piece.Biases = extent
		}
		at += (extent.Bytes + 63) / 64 * 64
	}
	return m, storage.Parameters{"w": {Name: "w", Rows: n * groups, Cols: k, Lead: 1, Encoding: e, Pieces: []storage.Piece{piece}}}
}

// bind makes the copies and a job for each.
func (m *product) bind(b *testing.B, in *lower.Input, l program.Launch, c *code, rows int) {
	b.Helper()
	piece := in.Params["w"].Pieces[0]
	for _, r := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
		if p := piece.Plane(r); p.Bytes > 0 {
			m.bytes = max(m.bytes, p.Offset+p.Bytes)
		}
	}
	copies := int(max(rotated/m.bytes, 1))
	factor := byte(0x3c) // in pairs a bfloat16 of 0.0115
	if strings.HasPrefix(in.Params["w"].Encoding.Name(), "fp") {
		factor = 0x78 // 2^-7
	}
	weights := m.alloc(b, m.bytes*int64(copies))
	_, plain := in.Params["w"].Encoding.(encoding.Plain)
	fillRandom(weights, plain)
	for i := range copies {
		for _, r := range []encoding.Role{encoding.Scales, encoding.Biases} {
			p := piece.Plane(r)
			factors := weights[int64(i)*m.bytes+p.Offset:][:p.Bytes]
			for j := range factors {
				factors[j] = factor
			}
		}
	}
	step := m.alloc(b, int64(in.Step.Layout.Bytes()))
	binary.LittleEndian.PutUint32(step[in.Step.Layout.Offset("T"):], uint32(rows))
	x, y := m.alloc(b, int64(4*rows*in.Params["w"].Cols)), m.alloc(b, int64(4*rows*in.Params["w"].Rows))
	for i := 0; i < len(x); i += 4 {
		binary.LittleEndian.PutUint32(x[i:], math.Float32bits(float32(i%7)-3.5))
	}
	symbols := func(name string) (int64, bool) { return int64(rows), name == "T" }
	table := m.alloc(b, int64(len(llvm.StepTable(l.Kernel, 0))))
	copy(table, llvm.StepTable(l.Kernel, address(step)))
	offsets, size := l.Kernel.Args()
	for i := range copies {
		args := m.alloc(b, int64(size))
		for n, a := range l.Args {
			addr := address(y)
			switch {
			case a.Value != nil && a.Value == module0(in).Args[0]:
				addr = address(x)
			case a.Weight != nil:
				addr = address(weights) + uint64(i)*uint64(m.bytes) + uint64(piece.Plane(a.Weight.Role).Offset)
			}
			binary.LittleEndian.PutUint64(args[offsets[n]:], addr)
		}
		jobs := make([]job, 1)
		j := &jobs[0]
		j.fn, j.args, j.step, j.last = c.functions[l.Kernel], uintptr(address(args)), uintptr(address(table)), true
		j.groups = 1
		for axis, g := range l.Grid {
			n, err := g.Eval(symbols)
			if err != nil {
				b.Fatal(err)
			}
			j.groups *= int32(n)
			*[]*int32{&j.width, &j.height, new(int32)}[axis] = int32(n)
		}
		m.jobs = append(m.jobs, jobs)
	}
}

// module0 is the region's product.
func module0(in *lower.Input) *ir.Node {
	body := in.Module.Body(in.Region)
	return body[len(body)-1]
}

// fillRandom draws bytes. As codes all are numbers; of bfloat16, which real
// weights have no subnormal ones of, the exponents are kept in the middle.
func fillRandom(b []byte, plain bool) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i+8 <= len(b); i += 8 {
		n := r.Uint64()
		if plain {
			n = n&^0x4000400040004000 | 0x3000300030003000
		}
		binary.LittleEndian.PutUint64(b[i:], n)
	}
}

func (m *product) run(i int) {
	jobs := m.jobs[i%len(m.jobs)]
	jobs[0].next.Store(0)
	m.pool.run(jobs)
}

func (m *product) bindReads(b *testing.B, p *roofline.Probe, c *code) {
	b.Helper()
	data := m.alloc(b, rotated)
	fillRandom(data, true)
	m.bindProbe(b, p, c, data, int(rotated/p.Reads))
}

// bindProbe makes the job of a probe that reads data.
func (m *product) bindProbe(b *testing.B, p *roofline.Probe, c *code, data []byte, groups int) {
	b.Helper()
	y := m.alloc(b, p.Writes*int64(groups))
	args := m.alloc(b, 16)
	binary.LittleEndian.PutUint64(args, address(data))
	binary.LittleEndian.PutUint64(args[8:], address(y))
	m.probe = make([]job, 1)
	j := &m.probe[0]
	j.fn, j.args, j.step = c.functions[p.Kernel], uintptr(address(args)), uintptr(address(args))
	j.width, j.height, j.groups, j.last = int32(groups), 1, int32(groups), true
}

// readBandwidth is the best of three readings of as much memory as the weights
// take, in bytes a second.
func (m *product) readBandwidth() float64 { return rotated / m.bestProbe().Seconds() }

// bestProbe is the least time of three runs of the probe.
func (m *product) bestProbe() time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 3 {
		m.probe[0].next.Store(0)
		start := time.Now()
		m.pool.run(m.probe)
		best = min(best, time.Since(start))
	}
	return best
}
