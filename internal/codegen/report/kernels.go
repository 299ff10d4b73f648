package report

import (
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/printer"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/progress"
)

// kernelDoc is a kernel. Text and IR are runs of the table of source lines.
type kernelDoc struct {
	Name     string       `json:"name"`
	Summary  string       `json:"summary"` // the first line of its description
	Threads  int          `json:"threads"` // of a threadgroup
	Simd     int          `json:"simd"`
	Shared   int          `json:"shared"` // bytes of threadgroup memory
	Settings []settingDoc `json:"settings"`
	Params   []paramDoc   `json:"params"`
	Text     []int        `json:"text"`
	IR       []int        `json:"ir"`
}

type settingDoc struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Why   string `json:"why"`
}

type paramDoc struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Access string `json:"access"` // empty for scalars
}

// describeKernels returns the kernels and the table of their lines.
func describeKernels(kernels []*kernel.Kernel, t target.Target, begin progress.Begin) ([]kernelDoc, []string, error) {
	done, end := begin.Phase("printing kernels", int64(len(kernels)), "kernels")
	defer end()
	lines := newTable()
	var out []kernelDoc
	for _, k := range kernels {
		text, err := printer.Print(k, t)
		if err != nil {
			return nil, nil, err
		}
		d := kernelDoc{Name: k.Name, Threads: k.Schedule.Threads, Simd: k.Schedule.SimdWidth, Shared: k.SharedBytes(),
			Text: lines.addAll(split(text)), IR: lines.addAll(split(kernel.Print(k)))}
		if len(k.Doc) > 0 {
			d.Summary = k.Doc[0]
		}
		for _, s := range k.Schedule.Settings {
			d.Settings = append(d.Settings, settingDoc{s.Name, s.Value, s.Why})
		}
		for _, p := range k.Params {
			q := paramDoc{Name: p.Name, Type: p.Elem.String()}
			if p.Pointer {
				q.Access = p.Access.String()
			}
			d.Params = append(d.Params, q)
		}
		out = append(out, d)
		done(1)
	}
	return out, lines.lines, nil
}

func split(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }
