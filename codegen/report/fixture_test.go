package report

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"smelt/codegen/bundle"
	"smelt/models/deepseekv4"
)

func TestScratch(t *testing.T) {
	m, err := deepseekv4.Open(os.Getenv("DIR"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := 8192
	if os.Getenv("CTX") != "" {
		json.Unmarshal([]byte(os.Getenv("CTX")), &ctx)
	}
	b, stages, err := bundle.Compile(bundle.Source{Name: os.Getenv("NAME"), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: ctx})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var out bytes.Buffer
	if err := Write(&out, b, stages); err != nil {
		t.Fatal(err)
	}
	doc, _ := describe(b, stages)
	data, _ := json.Marshal(doc)
	t.Log("write", time.Since(start), out.Len(), "data", len(data))
	size := func(name string, v any) { d, _ := json.Marshal(v); t.Log(name, len(d)) }
	size("ir", doc.IR); size("source", doc.Source); size("stages", doc.Stages); size("kernels", doc.Kernels); size("steps", doc.Steps); size("weights", doc.Weights); size("caches", doc.Caches); size("exprs", doc.Exprs); size("regions", doc.Regions)
	for _, s := range doc.Stages { t.Log(s.Name, len(s.Lines)/2, s.Rules) }
	os.WriteFile(os.Getenv("OUT")+".json", data, 0o644)
	os.WriteFile(os.Getenv("OUT"), out.Bytes(), 0o644)
}
