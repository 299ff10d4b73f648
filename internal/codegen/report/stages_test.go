package report

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/passes"
)

// unroll is the text of a stage as the page prints it: definitions are counted
// to number values again, and what is in a region is indented.
func unroll(doc *document, stage stageDoc) string {
	var lines []string
	for i := 0; i < len(stage.Lines); i += 2 {
		lines = append(lines, doc.IR[stage.Lines[i]:stage.Lines[i]+stage.Lines[i+1]]...)
	}
	number := map[string]string{}
	defined := 0
	for _, line := range lines {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "input "), " ")
		if strings.HasPrefix(name, "%") && (rest[0] == '=' || rest[0] == ':') {
			number[name] = "%" + strconv.Itoa(defined)
			defined++
		}
	}
	var out strings.Builder
	inside := false
	for _, line := range lines {
		inside = inside && !strings.HasPrefix(line, "}")
		if inside {
			out.WriteString("  ")
		}
		inside = inside || strings.HasPrefix(line, "region ")
		out.WriteString(numbered.ReplaceAllStringFunc(line, func(ref string) string { return number[ref] }) + "\n")
	}
	return out.String()
}

// checkStages: every stage comes out of the data as it is printed.
func checkStages(t *testing.T, doc *document, r *passes.Result) {
	t.Helper()
	if len(doc.Stages) != len(r.Stages) {
		t.Fatalf("%d stages, want %d", len(doc.Stages), len(r.Stages))
	}
	for i, s := range r.Stages {
		got, want := strings.Split(unroll(doc, doc.Stages[i]), "\n"), strings.Split(s.Text(), "\n")
		for n := range min(len(got), len(want)) {
			if got[n] != want[n] {
				t.Fatalf("stage %s, line %d: %q, want %q", s.Name, n+1, got[n], want[n])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("stage %s: %d lines, want %d", s.Name, len(got), len(want))
		}
	}
}

func TestStagesPrint(t *testing.T) {
	_, stages := fixture()
	checkStages(t, dataOf(t, fixturePage()), stages)
}

// result makes stages of printed modules.
func result(t *testing.T, modules ...string) *passes.Result {
	t.Helper()
	r := &passes.Result{}
	for i, src := range modules {
		m, err := text.Parse(fmt.Sprintf("stage %d", i), src)
		if err != nil {
			t.Fatal(err)
		}
		r.Module = m
		r.Stages = append(r.Stages, passes.Stage{Name: fmt.Sprint("stage", i), Module: m})
	}
	return r
}

const head = `module @m
symbol T = rows
input %x : tensor<T x 8 x f32>
param @w : tensor<8 x 8 x f32>
param @n : tensor<8 x f32>
`

// TestIdentities: a value keeps its number when operations before it come, go
// and move, so that the only new lines are those a reader should see.
func TestIdentities(t *testing.T) {
	r := result(t,
		head+`%1 = rms_norm(%x) {eps = 1e-06} : tensor<T x 8 x f32>
%2 = dequantize @n : tensor<8 x f32>
%3 = mul(%1, %2) : tensor<T x 8 x f32>
%4 = dequantize @w : tensor<8 x 8 x f32>
%5 = matmul(%3, %4) : tensor<T x 8 x f32>
%6 = add(%5, %x) : tensor<T x 8 x f32>
return %6
`,
		// A rounding before the product: one new line, one changed.
		head+`%1 = rms_norm(%x) {eps = 1e-06} : tensor<T x 8 x f32>
%2 = dequantize @n : tensor<8 x f32>
%3 = mul(%1, %2) : tensor<T x 8 x f32>
%4 = round_to(%3) {format = "bf16", count = 8} : tensor<T x 8 x f32>
%5 = dequantize @w : tensor<8 x 8 x f32>
%6 = matmul(%4, %5) : tensor<T x 8 x f32>
%7 = add(%6, %x) : tensor<T x 8 x f32>
return %7
`,
		// The weight moves up, a region comes: two new lines.
		head+`%1 = dequantize @w : tensor<8 x 8 x f32>
region linear @r {
  %2 = rms_norm(%x) {eps = 1e-06} : tensor<T x 8 x f32>
  %3 = dequantize @n : tensor<8 x f32>
  %4 = mul(%2, %3) : tensor<T x 8 x f32>
  %5 = round_to(%4) {format = "bf16", count = 8} : tensor<T x 8 x f32>
  %6 = matmul(%5, %1) : tensor<T x 8 x f32>
  %7 = add(%6, %x) : tensor<T x 8 x f32>
} yields %7
return %7
`)
	stages, lines := describeStages(r.Module, r, nil)
	first := stages[0].Lines[1]
	want := []string{
		`%7 = round_to(%3) {format = "bf16", count = 8} : tensor<T x 8 x f32>`,
		`%5 = matmul(%7, %4) : tensor<T x 8 x f32>`,
		`region linear @r {`,
		`} yields %6`,
	}
	if !slices.Equal(lines[first:], want) {
		t.Errorf("lines that the first stage lacks:\n%s\nwant\n%s", strings.Join(lines[first:], "\n"), strings.Join(want, "\n"))
	}
	checkStages(t, &document{IR: lines, Stages: stages}, r)
}

// TestStagesShareLines: the stages of a graph take little more than one of them.
func TestStagesShareLines(t *testing.T) {
	path := "../../models/deepseekv4/testdata/configs/storyteller-official-fp8fp4.json"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := deepseekv4.ParseConfig(raw, path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := deepseekv4.Graph(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := passes.Run(m, passes.Options{Formats: passes.Formats{Rows: "fp8", Keys: "fp4"}})
	if err != nil {
		t.Fatal(err)
	}
	stages, lines := describeStages(r.Module, r, nil)
	once := len(strings.Split(r.Stages[len(r.Stages)-1].Text(), "\n"))
	if len(lines) > once*6/5 {
		t.Errorf("%d distinct lines for %d stages, where one has %d", len(lines), len(stages), once)
	}
	checkStages(t, &document{IR: lines, Stages: stages}, r)
}
