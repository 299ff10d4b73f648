package deepseekv4

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/indices"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// TestIndexedParams: of every fixture's graph the tables of experts, and nothing
// else, are numbers that choose.
func TestIndexedParams(t *testing.T) {
	for _, dir := range fixtures(t) {
		m := open(t, dir)
		got, err := indices.Params(m.Graph)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Graph.Params {
			want := indices.Use{}
			if strings.HasSuffix(p.Name, ".ffn.gate.tid2eid") {
				want = indices.Use{Limit: int64(m.Config.Experts), By: "token"}
			}
			if got[p.Name] != want {
				t.Errorf("%s: %s: %+v, want %+v", dir, p.Name, got[p.Name], want)
			}
		}
		if err := m.Checkpoint.Ready(); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// tableOf puts a table of another integer type in the place of layer 0's: the same
// numbers, but for those given by their place in the table.
func (s *stored) tableOf(t *testing.T, dt encoding.DType, others map[int]uint64) {
	t.Helper()
	size, _ := dt.Size()
	s.change(t, "layers.0.ffn.gate.tid2eid", func(x *storedTensor) {
		var data []byte
		for i := 0; i < len(x.Data)/8; i++ {
			n := binary.LittleEndian.Uint64(x.Data[8*i:])
			if other, ok := others[i]; ok {
				n = other
			}
			data = append(data, binary.LittleEndian.AppendUint64(nil, n)[:size]...)
		}
		x.DType, x.Data = safetensors.DType(dt), data
	})
}

// TestBadTables: numbers of a table that are no experts are told before anything
// runs, with file, tensor, layer, token, number and range. The model has experts 0
// to 4, and two for each of 256 tokens.
func TestBadTables(t *testing.T) {
	const minus1, minus5 = math.MaxUint64, math.MaxUint64 - 4
	for _, c := range []struct {
		dt     encoding.DType
		others map[int]uint64
		want   string // "": none is bad
	}{
		{encoding.I64, map[int]uint64{0: 4, 1: 0, 511: 4}, ""},
		{encoding.U8, map[int]uint64{9: 4}, ""},
		{encoding.I64, map[int]uint64{35: 2_000_000_000}, "1 stored number: token 17 has 2000000000 at [1], "},
		{encoding.I32, map[int]uint64{0: 5}, "1 stored number: token 0 has 5 at [0], "},
		{encoding.U8, map[int]uint64{511: 255}, "1 stored number: token 255 has 255 at [1], "},
		{encoding.I8, map[int]uint64{511: 255}, "1 stored number: token 255 has -1 at [1], "},
		{encoding.I16, map[int]uint64{4: minus5}, "1 stored number: token 2 has -5 at [0], "},
		{encoding.U16, map[int]uint64{4: minus5}, "1 stored number: token 2 has 65531 at [0], "},
		{encoding.U32, map[int]uint64{5: 1 << 31}, "1 stored number: token 2 has 2147483648 at [1], "},
		{encoding.I64, map[int]uint64{6: 1<<40 + 3}, "1 stored number: token 3 has 1099511627779 at [0], "},
		{encoding.U64, map[int]uint64{7: minus1, 8: 1 << 32}, "2 stored numbers: token 3 has 18446744073709551615 at [1], token 4 has 4294967296 at [0], "},
		{encoding.I64, map[int]uint64{1: 7, 3: minus1, 9: 1 << 40, 10: 8, 500: 9}, "5 stored numbers: token 0 has 7 at [1], token 1 has -1 at [1], token 4 has 1099511627776 at [1], and 2 more, "},
	} {
		t.Run(fmt.Sprint(c.dt, c.others), func(t *testing.T) {
			for form, write := range map[string]func(*stored, testing.TB) string{"official": (*stored).write, "MLX": (*stored).writeMLX} {
				s := smallCheckpoint(t)
				s.tableOf(t, c.dt, c.others)
				m := open(t, write(s, t))
				err := m.Checkpoint.Ready()
				if c.want == "" {
					if err != nil {
						t.Errorf("%s: %v", form, err)
					}
					continue
				}
				count, items, _ := strings.Cut(c.want, ": ")
				for _, want := range []string{m.Checkpoint.Dir, count + " outside the range", "download it again, or convert it again",
					fmt.Sprintf("layers.0.ffn.gate.tid2eid %s[256 2] (model.safetensors), layer 0: %sexpected 0 to 4", c.dt, items)} {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v\nlacks %s", form, err, want)
					}
				}
				if _, running := eval.New[float32](m.Graph, m.Weights); running == nil || running.Error() != err.Error() {
					t.Errorf("%s: the evaluator opens with %v", form, running)
				}
			}
		})
	}
}
