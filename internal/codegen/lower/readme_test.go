package lower

import (
	"os"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir/text"
)

// TestReadme lowers the region of README.md: its kernel is the page's, and the
// page's Metal is part of the kernel's. The page's Go is part of the family's.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for i, part := range strings.Split(string(page), "```") {
		if i%2 == 1 {
			language, block, _ := strings.Cut(part, "\n")
			blocks[language] = block
		}
	}
	m, err := text.Parse("README.md", blocks["ir"])
	if err != nil {
		t.Fatal(err)
	}
	norm := m.Params[0].Name
	launches, err := Lower(&Input{
		Module: m, Region: m.Regions[0], Phase: program.Decode, Caches: caches(t, m), Step: program.NewStep(m, program.MaxDecodeRows), Target: target.GPU,
		Params: storage.Parameters{norm: {Name: norm, Rows: 1, Cols: 8, Lead: 1, Encoding: encoding.Plain{DType: encoding.BF16}, Pieces: []storage.Piece{{}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(launches) != 1 {
		t.Fatalf("%d launches, the page has one", len(launches))
	}
	k := launches[0].Kernel
	if got := kernel.Print(k); got != blocks["kernel"] {
		t.Errorf("the kernel is\n%s\nthe page has\n%s", got, blocks["kernel"])
	}
	metal, err := msl.Print(k)
	if err != nil {
		t.Fatal(err)
	}
	family, err := os.ReadFile("cache.go")
	if err != nil {
		t.Fatal(err)
	}
	for language, whole := range map[string]string{"metal": metal, "go": string(family)} {
		if block := blocks[language]; block == "" || !strings.Contains(whole, block) {
			t.Errorf("this has no\n%s\nas the page does:\n%s", block, whole)
		}
	}
}
