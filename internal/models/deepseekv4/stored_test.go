package deepseekv4

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/models/checkpoint"
)

// stored is a checkpoint in memory: read from a fixture, changed, written.
type stored struct {
	config  map[string]any
	tensors map[string]storedTensor
	// want is what the rows of each official tensor decode to once encode ran.
	want map[string][]float32
}

// A storedTensor knows which official tensors' rows it holds, in order. It has
// none if it is scales or biases.
type storedTensor struct {
	safetensors.Out
	of []string
}

// smallCheckpoint reads config a in BF16 under official names.
func smallCheckpoint(t testing.TB) *stored {
	t.Helper()
	ck, err := checkpoint.Open("testdata/fixtures/a-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	s := &stored{tensors: map[string]storedTensor{}, want: map[string][]float32{}}
	if err := json.Unmarshal(ck.ConfigJSON(), &s.config); err != nil {
		t.Fatal(err)
	}
	for _, x := range ck.Tensors() {
		s.tensors[x.Name] = storedTensor{safetensors.Out{Name: x.Name, DType: x.DType, Shape: x.Shape, Data: bytes.Clone(x.Data())}, []string{x.Name}}
	}
	return s
}

func (s *stored) names() []string { return slices.Sorted(maps.Keys(s.tensors)) }

func (s *stored) add(x storedTensor) { s.tensors[x.Name] = x }

func (s *stored) drop(name string) { delete(s.tensors, name) }

// dropPrefix removes all tensors whose names start so.
func (s *stored) dropPrefix(prefix string) {
	maps.DeleteFunc(s.tensors, func(name string, _ storedTensor) bool { return strings.HasPrefix(name, prefix) })
}

// change edits one tensor, which must exist.
func (s *stored) change(t testing.TB, name string, f func(x *storedTensor)) {
	t.Helper()
	x, ok := s.tensors[name]
	if !ok {
		t.Fatalf("the test changes %s, which does not exist", name)
	}
	f(&x)
	delete(s.tensors, name)
	s.add(x)
}

// rename applies pairs of pattern and replacement, in order, to every name.
func (s *stored) rename(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		re := regexp.MustCompile(pairs[i])
		for _, name := range s.names() {
			if to := re.ReplaceAllString(name, pairs[i+1]); to != name {
				x := s.tensors[name]
				x.Name = to
				delete(s.tensors, name)
				s.add(x)
			}
		}
	}
}

// join puts tensors of one type and width one after the other, first in name's
// place, and gives the whole the shape.
func (s *stored) join(name string, shape []int64, parts ...string) {
	whole := storedTensor{Out: safetensors.Out{Name: name, DType: s.tensors[parts[0]].DType, Shape: shape}}
	for _, p := range parts {
		x := s.tensors[p]
		whole.Data = append(whole.Data, x.Data...)
		whole.of = append(whole.of, x.of...)
		delete(s.tensors, p)
	}
	s.add(whole)
}

// fuse joins the rows of first and second (suffixes) wherever both exist.
func (s *stored) fuse(first, second, into string) {
	for _, name := range s.names() {
		if stem, ok := strings.CutSuffix(name, first); ok {
			a, b := s.tensors[name], s.tensors[stem+second]
			s.join(stem+into, []int64{a.Shape[0] + b.Shape[0], a.Shape[1]}, name, stem+second)
		}
	}
}

// stack joins per-expert tensors {stem}.0.{p}..., of several projections if
// given, expert by expert.
func (s *stored) stack(into string, projections ...string) {
	for _, name := range s.names() {
		stem, ok := strings.CutSuffix(name, ".experts.0."+projections[0]+".weight")
		if !ok {
			continue
		}
		var parts []string
		var rows, n int64
		for ; s.tensors[fmt.Sprintf("%s.experts.%d.%s.weight", stem, n, projections[0])].Name != ""; n++ {
			rows = 0
			for _, p := range projections {
				part := fmt.Sprintf("%s.experts.%d.%s.weight", stem, n, p)
				parts = append(parts, part)
				rows += s.tensors[part].Shape[0]
			}
		}
		s.join(stem+into, []int64{n, rows, s.tensors[name].Shape[1]}, parts...)
	}
}

// splitWoA cuts every wo_a into its groups' pieces; cubeWoA makes it [groups, rows, columns].
func (s *stored) splitWoA(groups int) {
	s.eachWoA(func(x storedTensor, stem string) {
		s.drop(x.Name)
		rows, size := x.Shape[0]/int64(groups), len(x.Data)/groups
		for g := range groups {
			s.add(storedTensor{safetensors.Out{Name: fmt.Sprintf("%s.%d.weight", stem, g), DType: x.DType,
				Shape: []int64{rows, x.Shape[1]}, Data: x.Data[g*size : (g+1)*size]}, []string{fmt.Sprintf("%s#%d", x.of[0], g)}})
		}
	})
}

func (s *stored) cubeWoA(groups int64) {
	s.eachWoA(func(x storedTensor, _ string) {
		x.Shape = []int64{groups, x.Shape[0] / groups, x.Shape[1]}
		s.add(x)
	})
}

func (s *stored) eachWoA(f func(x storedTensor, stem string)) {
	for _, name := range s.names() {
		if stem, ok := strings.CutSuffix(name, ".weight"); ok && strings.HasSuffix(stem, ".wo_a") {
			f(s.tensors[name], stem)
		}
	}
}

// isLinear tells which official weights converters quantise.
func isLinear(official string) bool {
	stem, ok := strings.CutSuffix(official, ".weight")
	if stem, _, piece := strings.Cut(official, ".weight#"); piece {
		return isLinear(stem + ".weight")
	}
	leaf := stem[strings.LastIndex(stem, ".")+1:]
	return ok && !strings.Contains(leaf, "norm") && leaf != "gate"
}

// linear encodes what converters quantise alike.
func linear(e encoding.Encoding) func(string) encoding.Encoding {
	return func(official string) encoding.Encoding {
		if isLinear(official) {
			return e
		}
		return nil
	}
}

// encode stores the tensors for which choose, asked with the first official
// name, gives an encoding, and notes what every official tensor now holds.
func (s *stored) encode(t testing.TB, choose func(official string) encoding.Encoding) {
	t.Helper()
	for _, name := range s.names() {
		x := s.tensors[name]
		if len(x.of) == 0 || encoding.IsInteger(encoding.DType(x.DType)) {
			continue
		}
		cols := int(x.Shape[len(x.Shape)-1])
		values := decodeAll(encoding.Plain{DType: x.DType}, encoding.Planes{Weight: x.Data}, cols, len(x.Data)/cols/elementBytes(x.DType))
		rows := len(values) / cols
		decoded := values
		if e := choose(x.of[0]); e != nil {
			planes, err := encoding.Encode(e, wide(values), rows, cols)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			s.putPlanes(t, x, e, planes, rows, cols)
			decoded = decodeAll(e, planes, cols, rows)
		}
		for _, of := range x.of {
			n := len(values) / len(x.of) // all parts of a joined tensor have one size here
			s.want[of], decoded = decoded[:n], decoded[n:]
		}
	}
}

// putPlanes replaces a tensor by its planes, named as the encoding's users do.
func (s *stored) putPlanes(t testing.TB, x storedTensor, e encoding.Encoding, p encoding.Planes, rows, cols int) {
	t.Helper()
	descriptions, err := e.Planes(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	suffix := map[encoding.Role]string{encoding.Scales: ".scales", encoding.Biases: ".biases"}
	switch e.(type) {
	case encoding.FP8Block, encoding.FP4:
		suffix[encoding.Scales] = ".scale"
	}
	for _, d := range descriptions {
		plane := safetensors.Out{Name: x.Name, DType: safetensors.DType(d.DType), Data: p.Of(d.Role)}
		plane.Shape = append(slices.Clone(x.Shape[:len(x.Shape)-1]), int64(d.Cols))
		if d.Rows != rows {
			plane.Shape = []int64{int64(d.Rows), int64(d.Cols)}
		}
		y := storedTensor{Out: plane, of: x.of}
		if d.Role != encoding.Weight {
			y.Name, y.of = strings.TrimSuffix(x.Name, ".weight")+suffix[d.Role], nil
		}
		s.add(y)
	}
}

func decodeAll(e encoding.Encoding, p encoding.Planes, cols, rows int) []float32 {
	out := make([]float32, rows*cols)
	for r := range rows {
		encoding.Decode(e, out[r*cols:(r+1)*cols], p, r)
	}
	return out
}

func wide(values []float32) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// declareMLX writes MLX's quantization block, with entries for single modules.
func (s *stored) declareMLX(e encoding.Encoding, modules map[string]any) {
	q := map[string]any{}
	switch e := e.(type) {
	case encoding.Affine:
		q["bits"], q["group_size"], q["mode"] = e.Bits, e.Group, "affine"
	case encoding.MX:
		q["bits"], q["group_size"], q["mode"] = e.Bits, 32, e.Name()
	}
	maps.Copy(q, modules)
	s.config["quantization"], s.config["quantization_config"] = q, q
}

func (s *stored) outs() []safetensors.Out {
	var outs []safetensors.Out
	for _, name := range s.names() {
		outs = append(outs, s.tensors[name].Out)
	}
	return outs
}

func (s *stored) writeConfig(t testing.TB, dir string) {
	t.Helper()
	text, err := json.Marshal(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o666); err != nil {
		t.Fatal(err)
	}
}

// write writes one file as DeepSeek's tools do.
func (s *stored) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	s.writeConfig(t, dir)
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), s.outs(), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeMLX writes one file as MLX does: names sorted in the header, data in
// hash order, no padding, so that tensors start at any byte.
func (s *stored) writeMLX(t testing.TB) string {
	t.Helper()
	outs := s.outs()
	slices.SortFunc(outs, func(a, b safetensors.Out) int {
		return int(int64(crc32.ChecksumIEEE([]byte(a.Name))) - int64(crc32.ChecksumIEEE([]byte(b.Name))))
	})
	header := map[string]any{"__metadata__": map[string]string{"format": "mlx"}}
	var data []byte
	for _, x := range outs {
		header[x.Name] = entryOf(x, int64(len(data)))
		data = append(data, x.Data...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	if len(text)%2 == 0 { // an odd start for everything
		text = append(text, ' ')
	}
	dir := t.TempDir()
	s.writeConfig(t, dir)
	writeFile(t, filepath.Join(dir, "model.safetensors"), text, data)
	return dir
}

// A headerEntry is a tensor as a header describes it.
type headerEntry struct {
	DType   safetensors.DType `json:"dtype"`
	Shape   []int64           `json:"shape"`
	Offsets [2]int64          `json:"data_offsets"`
}

func entryOf(x safetensors.Out, at int64) headerEntry {
	return headerEntry{x.DType, append([]int64{}, x.Shape...), [2]int64{at, at + int64(len(x.Data))}}
}

// writeFile writes a file with any header, right or wrong.
func writeFile(t testing.TB, path string, header, data []byte) {
	t.Helper()
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	file = append(append(file, header...), data...)
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
}

// officials lists the official tensors whose rows a parameter is.
func (s *stored) officials(p *checkpoint.Param) []string {
	stem, which, each := strings.Cut(p.Name, ".experts.")
	if each {
		var names []string
		for n := range p.Rows / int(s.config["moe_intermediate_size"].(float64)) { // config a: hidden and expert width are equal
			names = append(names, fmt.Sprintf("%s.experts.%d.%s.weight", stem, n, which))
		}
		return names
	}
	if s.want[p.Name] == nil && strings.HasSuffix(p.Name, ".wo_a.weight") {
		return []string{p.Name + "#0", p.Name + "#1"}
	}
	return []string{p.Name}
}

// checkRows compares every row of every parameter, bit for bit, with what was stored.
func (s *stored) checkRows(t *testing.T, m *opened) {
	t.Helper()
	for i := range m.Binding.Params {
		p := &m.Binding.Params[i]
		if p.Integer {
			continue
		}
		var want []float32
		for _, of := range s.officials(p) {
			want = append(want, s.want[of]...)
		}
		if len(want) != p.Rows*p.Cols {
			t.Fatalf("%s: the test has %d values for %d x %d", p.Name, len(want), p.Rows, p.Cols)
		}
		row := make([]float32, p.Cols)
		for r := range p.Rows {
			m.Weights(p.Name).Row32(row, r)
			for j, v := range row {
				if math.Float32bits(v) != math.Float32bits(want[r*p.Cols+j]) {
					t.Fatalf("%s[%d, %d] = %v, stored was %v", p.Name, r, j, v, want[r*p.Cols+j])
				}
			}
		}
	}
}
