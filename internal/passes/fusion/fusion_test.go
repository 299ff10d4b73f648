package fusion

import "testing"

// TestNames: a kind is known by its name.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		name := k.About().Name
		if name == "" || seen[name] {
			t.Errorf("kind %q has no name, or another one's", name)
		}
		seen[name] = true
	}
}
