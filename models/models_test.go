package models

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/models/checkpoint"
)

const fixture = "../internal/models/deepseekv4/testdata/fixtures/a-bf16"

// withConfig is a copy of the fixture's folder with another config.json.
func withConfig(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fixtureConfig(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixture, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestOpen: the facts are those of config.json, whichever of the two keys names
// the architecture.
func TestOpen(t *testing.T) {
	config := fixtureConfig(t)
	for name, edit := range map[string]func(string) string{
		"as it is": func(s string) string { return s },
		"architectures alone": func(s string) string {
			return strings.Replace(s, `"model_type": "deepseek_v4"`, `"model_type": null`, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Open(withConfig(t, edit(config)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if m.Architecture != "DeepSeek-V4" || m.Layers < 1 || m.VocabSize < 1 || m.Context < 1 || len(m.EOS) == 0 || m.Chat == nil || len(m.Lines) == 0 || len(m.Trace) == 0 {
				t.Errorf("facts: %+v", m.Facts)
			}
			if len(m.Binding.Params) != len(m.Graph.Params) || m.Weights(m.Graph.Params[0].Name) == nil {
				t.Error("the graph's parameters are not bound")
			}
		})
	}
}

// TestUnknown: a configuration of another architecture is refused with its path,
// what it says and what is known.
func TestUnknown(t *testing.T) {
	for _, x := range []struct {
		name, config string
		want         []string
	}{
		{"another model", `{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}`,
			[]string{`found model_type "llama" and architectures ["LlamaForCausalLM"]`, `DeepSeek-V4 (model_type "deepseek_v4", architectures "DeepseekV4ForCausalLM")`}},
		{"no names", `{"hidden_size": 3}`, []string{"found neither model_type nor architectures"}},
		{"numbers", `{"model_type": 7, "architectures": {}}`, []string{"found model_type 7 and architectures {}"}},
		{"twice", `{"model_type": "llama", "model_type": "deepseek_v4"}`, []string{"model_type: found the key twice"}},
		{"long", `{"model_type": "` + strings.Repeat("x", 5000) + `"}`, []string{"found model_type"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := withConfig(t, x.config)
			_, err := Open(dir, Options{})
			var unknown *UnknownError
			if !errors.As(err, &unknown) {
				t.Fatalf("got %v, want an *UnknownError", err)
			}
			for _, w := range append(x.want, filepath.Join(dir, "config.json"), "that smelt knows", "deepseek_v4") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error lacks %q:\n%v", w, err)
				}
			}
			if len(err.Error()) > 1500 || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is no single line of a readable length:\n%v", err)
			}
		})
	}
	dir := withConfig(t, `{"model_type": `)
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "config.json")) {
		t.Errorf("broken JSON: %v", err)
	}
}

// TestArchitectures: one row makes smelt open what it did not know.
func TestArchitectures(t *testing.T) {
	trial := Architectures()[0]
	describe := trial.Describe
	trial.Name, trial.ModelTypes, trial.Classes = "Trial", []string{"trial"}, nil
	config := fixtureConfig(t)
	trial.Describe = func(ck *checkpoint.Checkpoint) (*arch.Description, error) {
		renamed, err := checkpoint.FromFiles(ck.Dir, []byte(config), ck.Files) // V4's parser insists on its name
		if err != nil {
			return nil, err
		}
		return describe(renamed)
	}
	dir := withConfig(t, `{"model_type": "trial"}`)
	if _, err := Open(dir, Options{}); !errors.As(err, new(*UnknownError)) {
		t.Fatalf("without the row: %v", err)
	}
	m, err := Open(dir, Options{Architectures: []arch.Architecture{trial}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Architecture != "Trial" || m.Graph == nil || len(m.Binding.Params) != len(m.Graph.Params) {
		t.Errorf("opened %+v", m.Facts)
	}
}

// TestTable: no two rows answer to one name.
func TestTable(t *testing.T) {
	var types, classes []string
	for _, a := range Architectures() {
		if a.Name == "" || a.Describe == nil || len(a.ModelTypes)+len(a.Classes) == 0 {
			t.Errorf("row %+v is incomplete", a)
		}
		types, classes = append(types, a.ModelTypes...), append(classes, a.Classes...)
	}
	for _, list := range [][]string{types, classes} {
		slices.Sort(list)
		if len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("a name is listed twice in %q", list)
		}
	}
}
