package indices_test

import (
	"maps"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/indices"
	"smelt.example/smelt/ir/text"
)

const indicesHead = `module @m
symbol T = rows
input %token : tensor<T x i32>
input %slot : tensor<T x i32>
param @e : tensor<6 x 4 x f32>
param @t : tensor<9 x 2 x i32>
param @w : tensor<5 x 3 x 4 x f32>
state @s : tensor<4 x f32> keep 2
%e = dequantize @e : tensor<6 x 4 x f32>
%t = dequantize @t : tensor<9 x 2 x i32>
%w = dequantize @w : tensor<5 x 3 x 4 x f32>
%x = take_rows(%e, %token) : tensor<T x 4 x f32>
`

// TestParams follows a table's integers to whatever they choose.
func TestParams(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      map[string]indices.Use
		err       string
	}{
		{"nothing is chosen", "%r = take_rows(%t, %token) : tensor<T x 2 x i32>\nreturn %r\n", nil, ""},
		{"experts by token", "%i = take_rows(%t, %token) : tensor<T x 2 x i32>\n%j = sort(%i) : tensor<T x 2 x i32>\n" +
			"%r = expert_matmul(%x, %j, %w) : tensor<T x 2 x 3 x f32>\nreturn %r\n", map[string]indices.Use{"t": {Limit: 5, By: "token"}}, ""},
		{"elements of a row, by slot", "%i = take_rows(%t, %slot) : tensor<T x 2 x i32>\n%r = take_along(%x, %i) : tensor<T x 2 x f32>\nreturn %r\n",
			map[string]indices.Use{"t": {Limit: 4, By: "slot"}}, ""},
		{"the least of two", "%i = take_rows(%t, %token) : tensor<T x 2 x i32>\n%a = take_along(%x, %i) : tensor<T x 2 x f32>\n" +
			"%b = expert_matmul(%x, %i, %w) : tensor<T x 2 x 3 x f32>\nreturn %a, %b\n", map[string]indices.Use{"t": {Limit: 4, By: "token"}}, ""},
		{"a whole table, reshaped", "%i = reshape(%t) {shape = [18]} : tensor<18 x i32>\n%r = take_rows(%e, %i) : tensor<18 x 4 x f32>\nreturn %r\n",
			map[string]indices.Use{"t": {Limit: 6}}, ""},
		{"joined", "%i = concat(%t, %t) {axis = 0} : tensor<18 x 2 x i32>\n%r = take_rows(%e, %i) : tensor<18 x 2 x 4 x f32>\nreturn %r\n",
			map[string]indices.Use{"t": {Limit: 6}}, ""},
		{"rows of itself", "%r = take_rows(%t, %t) : tensor<9 x 2 x 2 x i32>\nreturn %r\n", map[string]indices.Use{"t": {Limit: 9}}, ""},
		{"through a formula", "%i = index_map(%t) {to = i*2} : tensor<9 x 2 x i32>\n%r = take_rows(%e, %i) : tensor<9 x 2 x 4 x f32>\nreturn %r\n", nil,
			"index_map: the integers of parameter @t go into arithmetic"},
		{"rows of the step", "%i = reshape(%t) {shape = [18]} : tensor<18 x i32>\n%r = take_rows(%x, %i) : tensor<18 x 4 x f32>\nreturn %r\n", nil,
			"take_rows: the integers of parameter @t index tensor<T x 4 x f32>, whose size only a step knows"},
		{"rows of a state", "%i = take_rows(%t, %token) : tensor<T x 2 x i32>\n%v = state @s : state<4 x f32>\n" +
			"%r = read(%v, %slot, %i) {missing = 0} : tensor<T x 2 x 4 x f32>\nreturn %r\n", nil, "read: the integers of parameter @t index state<4 x f32>"},
	} {
		m, err := text.Parse("m.ir", indicesHead+c.src)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := indices.Params(m)
		switch {
		case c.err == "" && (err != nil || !maps.Equal(got, c.want)):
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %s", c.name, err, c.err)
		}
	}
}
