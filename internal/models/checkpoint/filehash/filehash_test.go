package filehash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHubHash: of links alone, and only to blobs that are named by a SHA-256.
func TestHubHash(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 4)
	link := func(to string) string {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if sum, ok := hubHash(link(filepath.Join("..", "..", "blobs", hash))); !ok || sum != hash {
		t.Errorf("a blob: %q, %v", sum, ok)
	}
	for _, to := range []string{
		filepath.Join("..", "blobs", hash[:40]), filepath.Join("..", "others", hash), filepath.Join("blobs", strings.ToUpper(hash)), filepath.Join("blobs", hash+"0"), filepath.Join("blobs", hash, "x"),
	} {
		if sum, ok := hubHash(link(to)); ok {
			t.Errorf("%s: taken for %s", to, sum)
		}
	}
	blobs := filepath.Join(t.TempDir(), "blobs")
	if err := os.Mkdir(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(blobs, hash)
	if err := os.WriteFile(file, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, ok := hubHash(file); ok {
		t.Error("a file that is no link is taken for a hash")
	}
}
