package lower

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// TestEncodings multiplies by matrices in every encoding, at every skew of
// their planes, through the decode and the prefill kernels: sizes straddle the
// tiles' edges, and a row's result is the same bits alone. Of the 45 affine ones
// ten are drawn.
func TestEncodings(t *testing.T) {
	t.Parallel()
	for i, e := range encodings(t, 10) {
		t.Run(e.Name(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, uint64(i)))
			n, k := []int{1, 5, 31, 33, 65, 70}[i%6], columns(t, e, 256)
			product := newProduct(t, rng, e, n, k, i%16)
			for _, c := range []struct {
				target target.Target
				phase  program.Phase
				rows   int
			}{{target.GPU, program.Decode, 1 + i%6}, {target.GPU, program.Prefill, []int{1, 32, 35}[i%3]}, {cpu([]int{8, 4, 16}[i%3]), program.Decode, 1 + i%6}, {cpu([]int{8, 16, 4}[i%3]), program.Prefill, []int{1, 9, 17, 65}[i%4]}} {
				product.in.Target = c.target
				product.check(t, c.phase, c.rows)
			}
		})
	}
}

// encodings are those of weights by their number in encoding.All; of the affine
// ones so many are drawn.
func encodings(t *testing.T, affine int) map[int]encoding.Encoding {
	t.Helper()
	out := map[int]encoding.Encoding{}
	var drawn []int
	for i, e := range encoding.All() {
		if _, ok := e.(encoding.Affine); ok {
			drawn = append(drawn, i)
		} else if e.Name() != "f64" {
			out[i] = e
		}
	}
	for _, i := range sample.Of(t, drawn, unlessShort(affine, 1)) {
		out[i] = encoding.All()[i]
	}
	return out
}

// columns are so many or, in blocks of columns, about as many: an odd number of
// blocks, so that rows begin at every multiple of two bytes.
func columns(t *testing.T, e encoding.Encoding, k int) int {
	t.Helper()
	u, err := encoding.UnpackOf(e, encoding.Features{})
	if err != nil {
		t.Fatal(err)
	}
	if u.Block == nil {
		return k
	}
	size := u.Block.Units * u.Elements
	return size * (max(k/size-1, 0)/2*2 + 1)
}

// TestColumns multiplies by some columns of wider matrices: rows are a stride
// apart, and begin within stored rows.
func TestColumns(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 15))
	for i, c := range []struct {
		encoding       string
		first, k, wide int
		skew           int
	}{
		{"bf16", 20, 100, 160, 2}, {"f32", 4, 96, 104, 5}, {"fp8_e4m3_b128", 128, 200, 392, 1}, {"fp4_e2m1_g32", 64, 96, 224, 0},
		{"fp8_e4m3_b128_f32", 128, 200, 392, 3}, {"fp8_e4m3_b128_bf16", 256, 136, 392, 6}, {"fp4_e2m1_g32_f32", 64, 96, 224, 9},
		{"affine3_g32_f32", 96, 128, 256, 2}, {"affine4_g64_bf16", 64, 64, 192, 4}, {"q8_0", 32, 96, 160, 0}, {"q8_0", 64, 64, 192, 3},
	} {
		e, err := encoding.Parse(c.encoding)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("%d_%s", i, c.encoding), func(t *testing.T) {
			p := newProduct(t, rng, e, 33, c.wide, c.skew).narrow(t, rng, e, c.first, c.k)
			for _, on := range []target.Target{target.GPU, cpu([]int{4, 8, 16}[i%3])} {
				p.in.Target = on
				p.check(t, program.Decode, 2)
				p.check(t, program.Prefill, 5)
			}
			x := newExpertsTest(t, rng, e, 9, c.k, 0, 7)
			wide := newProduct(t, rng, e, 9*x.experts, c.wide, c.skew)
			if encoding.GroupRows(e, encoding.Scales) == 1 {
				wide.cut(t, x.experts)
			}
			x.product = wide.narrow(t, rng, e, c.first, c.k)
			x.in.Params["w"].Lead, x.in.Phase, x.in.Target = x.experts, program.Prefill, target.CPU16
			x.check(t, 7)
		})
	}
}

// TestTiles runs prefill products as machine code for vector registers of every
// width: rows, outputs and columns straddle tiles, blocks and what is unpacked at
// once, or fill them, and words lie anywhere.
func TestTiles(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 10))
	for i, c := range []struct {
		encoding      string
		rows, n, k    int
		skew, vectors int
	}{
		{"bf16", 130, 192, 256, 0, 16}, {"bf16", 5, 130, 100, 6, 16}, {"fp4_e2m1_g32", 13, 128, 160, 3, 16}, {"affine3_g32_f32", 4, 64, 384, 2, 16},
		{"fp8_e4m3_b128", 66, 80, 384, 1, 8}, {"bf16", 65, 64, 100, 14, 8}, {"affine4_g64_bf16", 12, 64, 192, 5, 8},
		{"f32", 3, 64, 68, 4, 4}, {"fp4_e2m1_g32", 67, 33, 96, 0, 4}, {"affine5_g32_bf16", 9, 64, 128, 9, 4},
		{"fp8_e4m3_b128_f32", 66, 140, 384, 3, 16}, {"fp8_e4m3_b128_bf16", 9, 33, 200, 5, 8}, {"fp4_e2m1_g32_f32", 5, 64, 96, 7, 4},
		{"q8_0", 67, 130, 352, 2, 16}, {"q8_0", 5, 33, 96, 0, 8}, {"q8_0", 9, 64, 224, 5, 4},
	} {
		e, err := encoding.Parse(c.encoding)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("%d_%s", i, c.encoding), func(t *testing.T) {
			p := newProduct(t, rng, e, c.n, c.k, c.skew)
			p.in.Target, p.native = cpu(c.vectors), true
			p.check(t, program.Prefill, c.rows)
		})
	}
}

// TestInputsAtOnce: where threadgroup memory is short, threadgroups take fewer
// rows of input, down to one.
func TestInputsAtOnce(t *testing.T) {
	e, err := encoding.Parse("affine4_g64_bf16")
	if err != nil {
		t.Fatal(err)
	}
	product := newProduct(t, rand.New(rand.NewPCG(7, 9)), e, 9, 256, 2)
	for bytes, want := range map[int]int{256 << 10: 4, 8 << 10: 2, 4 << 10: 1} {
		product.in.Target = target.CPU8
		product.in.Target.SharedMemory = bytes
		if n := product.in.inputsAtOnce(2 * bytesOfStaged(product.k)); n != want {
			t.Errorf("%d rows with %d bytes, want %d", n, bytes, want)
		}
		product.check(t, program.Decode, 5)
	}
}

// mostRows is how many rows products have at most.
const mostRows = 130

// product is y = x . w for a matrix in some encoding.
type product struct {
	in     *Input
	x, y   *ir.Value
	n, k   int
	weight []float64                // decoded
	files  map[encoding.Role][]byte // that planes lie in, by what they hold
	input  []float32
	normed bool // x is normed before
	native bool // prefill kernels run as machine code too
	text   bool // kernels for GPUs run as their Metal text too
}

func newProduct(t *testing.T, rng *rand.Rand, e encoding.Encoding, n, k, skew int) *product {
	t.Helper()
	return newProductOf(t, rng, e, n, k, skew, 1, false)
}

// newProductOf is newProduct with weights of about some size, and perhaps a norm of x.
func newProductOf(t *testing.T, rng *rand.Rand, e encoding.Encoding, n, k, skew int, size float64, normed bool) *product {
	t.Helper()
	input, norm := "%x", ""
	if normed {
		input, norm = "%n", fmt.Sprintf("  %%n = rms_norm(%%x) {eps = 1e-06} : tensor<T x %d x f32>\n", k)
	}
	m, err := text.Parse("product", fmt.Sprintf(`module @product
symbol T = rows
input %%token : tensor<T x i32>
param @table : tensor<4 x %d x f32>
param @w : tensor<%d x %d x f32>
%%t = dequantize @table : tensor<4 x %d x f32>
%%x = take_rows(%%t, %%token) : tensor<T x %d x f32>
region linear @layers.0.product {
%s  %%d = dequantize @w : tensor<%d x %d x f32>
  %%y = matmul(%s, %%d) : tensor<T x %d x f32>
} yields %%y
return %%y
`, k, n, k, k, k, norm, n, k, input, n))
	if err != nil {
		t.Fatal(err)
	}
	body := m.Body(m.Regions[0])
	last := len(body) - 1
	x := body[last].Args[0]
	if normed {
		x = body[0].Args[0]
	}
	p := &product{x: x, y: body[last].Result, n: n, k: k, normed: normed, files: map[encoding.Role][]byte{}}
	values := make([]float64, n*k)
	for i := range values {
		values[i] = size * rng.NormFloat64()
	}
	stored, err := encoding.Encode(e, values, n, k)
	if err != nil {
		t.Fatal(err)
	}
	piece := storage.Piece{Rows: n}
	for i, r := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
		*[]*storage.Extent{&piece.Weight, &piece.Scales, &piece.Biases}[i] = p.put(r, stored.Of(r), (skew+5*i)%16)
	}
	row := make([]float64, k)
	for r := range n {
		encoding.Decode(e, row, stored, r)
		p.weight = append(p.weight, row...)
	}
	p.in = &Input{Module: m, Region: m.Regions[0], Step: program.NewStep(m, mostRows),
		Params: storage.Parameters{"w": {Name: "w", Rows: n, Cols: k, Lead: 1, Encoding: e, Pieces: []storage.Piece{piece}}}}
	p.input = normals(rng, mostRows*k)
	return p
}

// run multiplies rows [from, from+rows) of the input.
func (p *product) run(t *testing.T, phase program.Phase, from, rows int) []float32 {
	t.Helper()
	in := *p.in
	in.Phase = phase
	launches, err := Lower(&in)
	if err != nil {
		t.Fatal(err)
	}
	mem := newMemory(&in, make([]ir.Row, rows))
	mem.native, mem.text = phase == program.Decode || p.native, p.text
	mem.values[p.x] = floatBytes(p.input[from*p.k : (from+rows)*p.k])
	p.bind(t, mem, launches)
	mem.run(t, launches)
	return floats(mem.values[p.y])
}

// put appends a plane to its file, at some bytes more than a multiple of 16.
func (p *product) put(r encoding.Role, plane []byte, skew int) storage.Extent {
	file := p.files[r]
	for len(file)%16 != skew {
		file = append(file, 0xff)
	}
	p.files[r] = append(file, plane...)
	return storage.Extent{Offset: int64(len(file)), Bytes: int64(len(plane))}
}

// cut makes each of the matrices of a parameter a piece of its own, with other
// skews, in descending order.
func (p *product) cut(t *testing.T, lead int) {
	t.Helper()
	w, whole := p.in.Params["w"], p.files
	w.Lead, p.files = lead, map[encoding.Role][]byte{}
	first, rows := w.Pieces[0], w.Rows/lead
	w.Pieces = make([]storage.Piece, lead)
	for i := lead - 1; i >= 0; i-- {
		pc := storage.Piece{First: i * rows, Rows: rows}
		for n, r := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
			all := whole[r][first.Plane(r).Offset:]
			size := len(all) / lead
			*[]*storage.Extent{&pc.Weight, &pc.Scales, &pc.Biases}[n] = p.put(r, all[i*size:(i+1)*size], (first.Plane(r).Skew()*(i+1))%16)
		}
		w.Pieces[i] = pc
	}
}

// narrow is a product with k columns of p's matrix, from one on.
func (p *product) narrow(t *testing.T, rng *rand.Rand, e encoding.Encoding, first, k int) *product {
	t.Helper()
	x := newProduct(t, rng, e, p.n, k, 0)
	w := x.in.Params["w"]
	w.Pieces, w.Columns, x.files = p.in.Params["w"].Pieces, storage.Columns{First: first, Stored: p.k}, p.files
	for r := range p.n {
		copy(x.weight[r*k:(r+1)*k], p.weight[r*p.k+first:])
	}
	return x
}

// bind makes the matrix visible to launches: from the aligned address before the
// first byte to the end of the word that holds the last one.
func (p *product) bind(t *testing.T, mem *memory, launches []program.Launch) {
	t.Helper()
	w := p.in.Params["w"]
	for _, l := range launches {
		for _, a := range l.Args {
			if a.Weight == nil {
				continue
			}
			var starts []int64
			for i := range w.Pieces {
				at, err := w.Start(i, a.Weight.Role)
				if err != nil {
					t.Fatal(err)
				}
				starts = append(starts, at+int64(a.Weight.Start))
			}
			first := slices.Min(starts)
			first -= first % int64(a.Weight.Align)
			if a.Weight.Table {
				var table []byte
				for _, at := range starts {
					table = binary.LittleEndian.AppendUint64(table, uint64(at-first))
				}
				mem.tables[weightPlane{"w", a.Weight.Role}] = table
				continue
			}
			plane := slices.Clone(p.files[a.Weight.Role][first:])
			for len(plane)%a.Weight.Align != 0 {
				plane = append(plane, 0xff)
			}
			mem.weights[weightPlane{"w", a.Weight.Role}] = plane
		}
	}
}

func (p *product) check(t *testing.T, phase program.Phase, rows int) {
	t.Helper()
	got := p.run(t, phase, 0, rows)
	for r := range rows {
		inv := 1.0
		if p.normed {
			squares := 0.0
			for _, x := range p.input[r*p.k : (r+1)*p.k] {
				squares += float64(x) * float64(x)
			}
			inv = 1 / math.Sqrt(squares/float64(p.k)+1e-6)
		}
		for j := range p.n {
			sum, size := 0.0, 0.0
			for c := range p.k {
				v := p.weight[j*p.k+c] * float64(p.input[r*p.k+c]) * inv
				sum += v
				size += math.Abs(v)
			}
			if d := math.Abs(float64(got[r*p.n+j]) - sum); !(d <= 4e-6*size) {
				t.Fatalf("%s, %s, %d rows: row %d, output %d is %v, exactly %v (sum of magnitudes %v)", p.in.Target.Name, phase, rows, r, j, got[r*p.n+j], sum, size)
			}
		}
	}
	alone := p.run(t, phase, rows-1, 1)
	for j, v := range alone {
		if v != got[(rows-1)*p.n+j] {
			t.Fatalf("%s, %s: output %d of the last of %d rows is %v, alone %v", p.in.Target.Name, phase, j, rows, got[(rows-1)*p.n+j], v)
		}
	}
}

// TestHalves: codes that go through halves, powers of two left out, give the bits
// that codes unpacked bit by bit give, whatever the type of their scales, and
// values at the far ends of float32 too.
func TestHalves(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles kernels")
	}
	t.Parallel()
	for i, e := range encodings(t, 6) {
		t.Run(e.Name(), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(7, seed))
			n, k := 1+rng.IntN(70), columns(t, e, 256)
			for _, size := range []float64{1, 0x1p-70, 0x1p90} {
				if size != 1 && !strings.HasPrefix(e.Name(), "fp") && !strings.HasPrefix(e.Name(), "mxfp") {
					continue
				}
				p := newProductOf(t, rng, e, n, k, rng.IntN(16), size, false)
				for _, phase := range []program.Phase{program.Decode, program.Prefill} {
					rows := 1 + rng.IntN(6)
					p.in.Target = target.GPU
					halves := p.run(t, phase, 0, rows)
					p.in.Target.Halves = false
					for j, v := range p.run(t, phase, 0, rows) {
						if math.Float32bits(v) != math.Float32bits(halves[j]) {
							t.Fatalf("%s, %d rows of %d, %d columns, values around %g, encoding %d: output %d is %v through halves, %v bit by bit", phase, rows, n, k, size, i, j, halves[j], v)
						}
					}
				}
			}
		})
	}
}
