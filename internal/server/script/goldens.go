package script

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Goldens reads the shared examples of the chat format. The test is skipped where there are
// none.
func Goldens(t testing.TB, into any) {
	t.Helper()
	dir := os.Getenv("SMELT_SHARED")
	if dir == "" {
		t.Skip("SMELT_SHARED is unset: it names the folder of shared fixtures")
	}
	data, err := os.ReadFile(filepath.Join(dir, "chat", "goldens.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
