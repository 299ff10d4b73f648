package safetensors

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const smallHeader = `{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[4],"data_offsets":[16,20]}}`

// fileOf is a file of a header and 20 bytes of data.
func fileOf(header string) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, 20)...)
}

// TestMessages: a file that is cut or changed anywhere is refused in a few short
// lines that name it, the tensor, and what to do, and speak of no Go.
func TestMessages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	refused := func(what string, file []byte, mustFail bool) {
		t.Helper()
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err == nil {
			if mustFail {
				t.Errorf("%s: it is opened", what)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			return
		}
		text := err.Error()
		if !strings.HasPrefix(text, path+": ") || !strings.Contains(text, "download the file again") || len(text) > 3000 || strings.ContainsAny(text, "\x00\x1b") ||
			regexp.MustCompile(`jsontext|unmarshal|Go |EOF|strconv`).MatchString(text) {
			t.Errorf("%s: %.500s", what, text)
		}
	}
	whole := fileOf(smallHeader)
	refused("whole", whole, false)
	for n := range whole {
		refused("the first bytes of a file", whole[:n], true)
	}
	for n := range smallHeader {
		refused(smallHeader[:n], fileOf(smallHeader[:n]), true)
	}
	long := strings.Repeat("y", 100_000)
	values := []string{"null", `"x"`, "5", "-1", "1e999", "[]", "{}", "true", "[[[]]]", "[1.5,2]", "[99999999999999999999,1]", `{"dtype":5}`, `{"x":1,"x":2}`, `"\u0000\u001b"`,
		strings.Repeat("[", 20_000), `"` + long + `"`, `{"` + long + `":1}`, `["` + long + `"]`, "[" + strings.Repeat("1,", 5000) + "1]", "\"\xff\"", "NaN"}
	for _, pattern := range []string{`"[\w.]+":\{[^{}]*\}`, `"\w+":(\[[^\]]*\]|"[^"]*")`} {
		for _, m := range regexp.MustCompile(pattern).FindAllStringIndex(smallHeader, -1) {
			before, member, after := smallHeader[:m[0]], smallHeader[m[0]:m[1]], smallHeader[m[1]:]
			name, _, _ := strings.Cut(member, ":")
			for _, v := range values {
				refused(name+v[:min(len(v), 30)], fileOf(before+name+":"+v+after), strings.Contains(v, "[[") || strings.Contains(v, "99"))
			}
			refused(name+" twice", fileOf(before+member+","+member+after), true)
		}
	}
}
